import hashlib
import io
import logging
import struct
import subprocess
from collections import Counter
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from PIL import Image

from tss_ray.errors import TrainingError
from tss_ray.training import photos as module
from tss_ray.training.photos import Photo, fetch_photos, least_reduction, listed, photos, webp_streams


def _picture(seed: int, kind: str) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (24, 24, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


def _photo(package: str, name: str, data: bytes, split: module.Split = "train") -> Photo:
    return Photo(package, name, hashlib.sha256(data).hexdigest(), 24, 24, split)


JPEG, FIRST_WEBP, SECOND_WEBP = _picture(0, "JPEG"), _picture(1, "WEBP"), _picture(2, "WEBP")
LOSSLESS = _picture(3, "PNG")
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


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One photograph and its terms in a real git repository, which git takes for GitHub's someone/pictures."""
    home = tmp_path / "hub/someone/pictures"
    (home / "png").mkdir(parents=True)
    (home / "png/a.png").write_bytes(LOSSLESS)
    (home / "png/LICENSE").write_text("terms of pictures")
    identity = ("-c", "user.name=t", "-c", "user.email=t@example.com")
    for command in (["init", "--quiet"], ["add", "."], [*identity, "commit", "--quiet", "--message=first"]):
        subprocess.run(["git", *command], cwd=home, check=True)
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=home, check=True, capture_output=True, text=True).stdout
    (home / "png/a.png").write_bytes(b"changed since")
    subprocess.run(["git", *identity, "commit", "--quiet", "--all", "--message=second"], cwd=home, check=True)
    settings = {f"url.{home.parents[1].as_uri()}/.insteadOf": "https://github.com/", "protocol.file.allow": "always"}
    monkeypatch.setenv("GIT_CONFIG_COUNT", str(len(settings)))
    for i, (key, value) in enumerate(settings.items()):
        monkeypatch.setenv(f"GIT_CONFIG_KEY_{i}", key)
        monkeypatch.setenv(f"GIT_CONFIG_VALUE_{i}", value)
    monkeypatch.setattr(module, "COMMITS", {"someone/pictures": head.strip(), "someone/gone": head.strip()})
    monkeypatch.setattr(module, "listed", lambda: (_photo("someone/pictures", "pictures__a.png", LOSSLESS),))


def test_a_photograph_of_a_repository_is_fetched_at_its_commit_with_its_terms(repository: None, tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    fetch_photos(folder)
    assert not list(folder.iterdir())  # Debian's alone, unless asked
    fetch_photos(folder, ("debian", "github"))
    assert (folder / "pictures__a.png").read_bytes() == LOSSLESS
    assert (folder / "copyright/pictures__png__LICENSE").read_text() == "terms of pictures"
    assert photos(folder, "train", ("github",)) == [folder / "pictures__a.png"]
    with pytest.raises(TrainingError, match="holds no photograph"):
        photos(folder, "train")


def test_a_repository_that_cannot_be_had_is_an_error_with_the_remedy(
    repository: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "listed", lambda: (_photo("someone/gone", "gone__a.png", LOSSLESS),))
    with pytest.raises(
        TrainingError, match=r"1 of 1 .*\(someone/gone\).*git fetch.*failed.*or copy a filled folder there"
    ):
        fetch_photos(tmp_path / "photos", ("github",))


def test_lossy_files_are_reduced_before_they_count_as_sharp(apt: FakeApt, tmp_path: Path) -> None:
    module.debian_names.cache_clear()
    assert least_reduction(tmp_path / "plain__a.jpg") == 2
    assert least_reduction(tmp_path / "of one's own.jpg") == 1
    module.debian_names.cache_clear()


def test_every_repository_has_a_commit() -> None:
    assert {photo.package for photo in listed() if photo.collection == "github"} == set(module.COMMITS)
    assert all(len(commit) == 40 for commit in module.COMMITS.values())


def test_the_list_is_sorted_unique_and_keeps_the_samples_out_of_training() -> None:
    names = [photo.name for photo in listed()]
    assert names == sorted(set(names))
    assert len({photo.sha256 for photo in listed()}) == len(names)
    for collection, counts in (("debian", [153, 8, 18]), ("github", [315, 0, 0])):
        of_it = [photo for photo in listed() if photo.collection == collection]
        assert [sum(photo.split == split for photo in of_it) for split in get_args(module.Split)] == counts
    assert not [name for name in names if "skimage" in name]


def test_the_terms_count_every_photograph_of_every_split() -> None:
    terms = Path(module.__file__).with_name("LICENCES.md").read_text()
    rows = [[cell.strip(" *") for cell in line.split("|")[1:-1]] for line in terms.splitlines() if line.startswith("|")]
    counted: Counter[tuple[str, str]] = Counter()
    for package, _, *counts in rows[2:]:
        for split, count in zip(get_args(module.Split), counts, strict=True):
            counted[package.partition(",")[0], split] += int(count)
    listed_too = Counter((photo.package, photo.split) for photo in listed())
    total = Counter(("all", photo.split) for photo in listed())
    assert +counted == listed_too + total
