import hashlib
import io
import logging
import struct
from collections import Counter
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from PIL import Image

from tss_ray.errors import TrainingError
from tss_ray.training import photos as module
from tss_ray.training.photos import Photo, fetch_photos, listed, photos, webp_streams


def _picture(seed: int, kind: str) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (24, 24, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


def _photo(package: str, name: str, data: bytes, split: module.Split = "train") -> Photo:
    return Photo(package, name, hashlib.sha256(data).hexdigest(), 24, 24, split)


JPEG, FIRST_WEBP, SECOND_WEBP = _picture(0, "JPEG"), _picture(1, "WEBP"), _picture(2, "WEBP")
RESOURCES = (
    b"qres" + b"\0" * 60 + FIRST_WEBP + b"RIFF but not one" + SECOND_WEBP + b"RIFF" + struct.pack("<I", 9) + b"WAVE"
)
LIST = (
    _photo("plain", "plain__a.jpg", JPEG),
    _photo("packed", "packed__1.webp", FIRST_WEBP),
    _photo("packed", "packed__2.webp", SECOND_WEBP, "heldout"),
)


class FakeApt:
    """Stands in for apt-get and dpkg-deb: lays down two small package trees; counts the downloads."""

    def __init__(self) -> None:
        self.downloads: list[str] = []
        self.broken: set[str] = set()

    def __call__(self, command: list[str], work: Path) -> None:
        if command[0] == "apt-get":
            self.downloads.append(command[-1])
            if command[-1] in self.broken:
                raise TrainingError(f"{' '.join(command)} failed: no such package; run apt-get update")
            (work / f"{command[-1]}_1.deb").write_text(command[-1])
            return
        package = (work / command[2]).read_text()
        share = work / command[3] / "usr/share"
        (share / "doc" / package).mkdir(parents=True)
        (share / "doc" / package / "copyright").write_text(f"terms of {package}")
        (share / "a.JPG").write_bytes(JPEG if package == "plain" else b"another picture")
        (share / "link.jpg").symlink_to("/nowhere")
        (share / "all.rcc").write_bytes(RESOURCES if package == "packed" else b"")


@pytest.fixture
def apt(monkeypatch: pytest.MonkeyPatch) -> FakeApt:
    fake = FakeApt()
    monkeypatch.setattr(module, "_call", fake)
    monkeypatch.setattr(module, "listed", lambda: LIST)
    return fake


def test_every_webp_is_carved_whole_and_other_riff_is_passed_over() -> None:
    assert list(webp_streams(RESOURCES)) == [FIRST_WEBP, SECOND_WEBP]


def test_a_webp_cut_off_at_the_end_is_not_carved() -> None:
    assert list(webp_streams(RESOURCES[: RESOURCES.index(SECOND_WEBP) + 40])) == [FIRST_WEBP]


def test_plain_and_carved_photographs_arrive_under_their_listed_names_with_their_terms(
    apt: FakeApt, tmp_path: Path
) -> None:
    fetch_photos(tmp_path)
    assert (tmp_path / "plain__a.jpg").read_bytes() == JPEG
    assert (tmp_path / "packed__2.webp").read_bytes() == SECOND_WEBP
    assert (tmp_path / "copyright/packed").read_text() == "terms of packed"
    assert photos(tmp_path, "train") == [tmp_path / "packed__1.webp", tmp_path / "plain__a.jpg"]
    assert photos(tmp_path, "heldout") == [tmp_path / "packed__2.webp"]
    assert not list(tmp_path.glob("*.part"))


def test_a_second_fetch_downloads_nothing_and_a_damaged_file_only_its_package(apt: FakeApt, tmp_path: Path) -> None:
    fetch_photos(tmp_path)
    fetch_photos(tmp_path)
    assert apt.downloads == ["packed", "plain"]
    (tmp_path / "plain__a.jpg").write_bytes(b"damaged")
    fetch_photos(tmp_path)
    assert apt.downloads[2:] == ["plain"]
    assert (tmp_path / "plain__a.jpg").read_bytes() == JPEG


def test_too_many_missing_is_an_error_that_names_packages_and_the_remedy(apt: FakeApt, tmp_path: Path) -> None:
    apt.broken = {"plain"}
    with pytest.raises(TrainingError, match=r"1 of 3 photographs.*\(plain\).*no such package.*apt-get update"):
        fetch_photos(tmp_path)
    assert (tmp_path / "packed__1.webp").exists()


def test_a_few_missing_is_a_warning_that_names_them(
    apt: FakeApt, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    many = tuple(_photo("plain", f"plain__{i}.png", str(i).encode()) for i in range(20))
    for photo in many:
        (tmp_path / photo.name).write_bytes(photo.name[7:-4].encode())
    monkeypatch.setattr(module, "listed", lambda: (*many, _photo("gone", "gone__z.jpg", b"z")))
    with caplog.at_level(logging.WARNING):
        fetch_photos(tmp_path)
    assert "gone__z.jpg" in caplog.text


def test_a_machine_without_apt_is_told_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(module, "listed", lambda: LIST)
    with pytest.raises(TrainingError, match=r"apt-get is not on this machine; fetch on Debian"):
        fetch_photos(tmp_path / "photos")


def test_a_folder_without_photographs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="holds no photograph"):
        photos(tmp_path, "train")


def test_the_list_is_sorted_unique_and_keeps_the_samples_out_of_training() -> None:
    names = [photo.name for photo in listed()]
    assert names == sorted(set(names))
    assert len({photo.sha256 for photo in listed()}) == len(names)
    assert [sum(p.split == s for p in listed()) for s in get_args(module.Split)] == [153, 8, 18]
    assert not [name for name in names if "skimage" in name]


def test_the_terms_count_every_photograph_of_every_split() -> None:
    terms = Path(module.__file__).with_name("LICENCES.md").read_text()
    rows = [[cell.strip(" *") for cell in line.split("|")[1:-1]] for line in terms.splitlines() if line.startswith("|")]
    counted: Counter[tuple[str, str]] = Counter()
    for package, _, *counts in rows[2:]:
        for split, count in zip(get_args(module.Split), counts, strict=True):
            counted[package, split] += int(count)
    listed_too = Counter((photo.package, photo.split) for photo in listed())
    total = Counter(("all", photo.split) for photo in listed())
    assert +counted == listed_too + total
