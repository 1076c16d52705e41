"""Promises of shards as inputs: every image of theirs is an input, and comes out as it went in."""

import io
import logging
import tarfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tss_ray.errors import ImageError, InputError, ObjectNotFoundError
from tss_ray.spec import StoreSpec
from tss_ray.storage.inputs import InputItem, list_inputs, read_uri
from tss_ray.storage.local import LocalStore

LONG = "d" * 120 + "/photo.JPG"
FILES = {"a.png": b"A" * 700, "./x/b.jpg": b"B" * 3, LONG: b"C" * 5000, "\u732b.webp": b"D", "empty.png": b""}
STORE = StoreSpec()


def write_tar(path: Path, files: dict[str, bytes], mode: str = "w", kind: int = tarfile.PAX_FORMAT) -> None:
    with tarfile.open(path, mode, format=kind) as tar:
        folder = tarfile.TarInfo("folder.png")
        folder.type = tarfile.DIRTYPE
        tar.addfile(folder)
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))


def listed(source: Path, layout: str) -> dict[str, InputItem]:
    return {item.image_key: item for item in list_inputs(str(source), STORE, layout)}


@pytest.mark.parametrize("kind", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_images_of_tars_are_inputs_under_their_shard_s_name(tmp_path: Path, kind: int) -> None:
    (tmp_path / "in").mkdir()
    write_tar(tmp_path / "s-0.tar", FILES, kind=kind)
    write_tar(tmp_path / "in/s-1.TAR", {"a.png": b"other", "a.json": b"{}", "a.cls": b"3"}, kind=kind)
    (tmp_path / "readme.txt").write_text("left out")
    found = listed(tmp_path, "webdataset")
    assert found.keys() == {"in/s-1/a.png"} | {f"s-0/{name.removeprefix('./')}" for name in FILES}
    for name, data in FILES.items():
        item = found[f"s-0/{name.removeprefix('./')}"]
        assert (read_uri(item.uri, STORE), item.size_bytes, item.alike) == (data, len(data), str(len(data)))
    assert read_uri(found["in/s-1/a.png"].uri, STORE) == b"other"
    assert listed(tmp_path / "s-0.tar", "webdataset").keys() == {k for k in found if k.startswith("s-0/")}


def test_what_a_tar_holds_besides_images_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_tar(tmp_path / "s.tar", {"a.png": b"1", "a.json": b"{}", "a.cls": b"3"})
    with caplog.at_level(logging.INFO):
        listed(tmp_path, "webdataset")
    assert "s.tar: 2 files that are not named like images are left out" in caplog.text


def test_large_members_are_jumped_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_tar(tmp_path / "s.tar", {f"{i}.png": b"x" * 5_000_000 for i in range(4)})
    asked, read = [], LocalStore.read_range
    monkeypatch.setattr(
        LocalStore, "read_range", lambda s, key, first, length: (asked.append(length), read(s, key, first, length))[1]
    )
    assert len(listed(tmp_path, "webdataset")) == 4
    assert 4 * 512 < sum(asked) < 8_000_000


def test_a_tar_that_was_written_again_gives_no_wrong_image(tmp_path: Path) -> None:
    write_tar(tmp_path / "s.tar", FILES)
    item = listed(tmp_path, "webdataset")["s/a.png"]
    write_tar(tmp_path / "s.tar", {"b.png": b"b" * 300, "a.png": FILES["a.png"]})
    with pytest.raises(ObjectNotFoundError, match="written again; start the job again"):
        read_uri(item.uri, STORE)
    with pytest.raises(ImageError, match="over the limit of 9"):
        read_uri(item.uri, STORE, 9)


def test_what_is_no_tar_and_a_packed_one_are_refused(tmp_path: Path) -> None:
    write_tar(tmp_path / "s.tar", FILES, "w:gz")
    with pytest.raises(InputError, match=r"s\.tar cannot be read as webdataset.*unpack a compressed tar first"):
        listed(tmp_path, "webdataset")
    (tmp_path / "s.tar").write_bytes(b"")
    with pytest.raises(InputError, match="webdataset"):
        listed(tmp_path, "webdataset")
    with pytest.raises(InputError, match=r"no image found in \.parquet files"):
        listed(tmp_path, "parquet")


IMAGES = [b"1" * 10, b"22", None, b"4", b"5"]
STRUCTS = [{"bytes": data, "path": f"x/{i}.jpg"} for i, data in enumerate(IMAGES)]


@pytest.mark.parametrize(
    ("columns", "names"),
    [
        ({"image": STRUCTS, "label": list(range(5))}, [f"x/{i}.jpg" for i in range(5)]),
        ({"jpg": IMAGES, "__key__": [f"k{i}.png" for i in range(5)]}, [f"k{i}.png" for i in range(5)]),
        ({"thumbnail": IMAGES}, [str(i) for i in range(5)]),
        ({"image": IMAGES, "mask": IMAGES, "id": [7, 8, 9, 10, 11]}, ["7", "8", "9", "10", "11"]),
    ],
)
def test_images_of_parquet_files_are_inputs(tmp_path: Path, columns: dict[str, list], names: list[str]) -> None:
    pq.write_table(pa.table(columns), tmp_path / "p.parquet", row_group_size=2)
    for source in (tmp_path, tmp_path / "p.parquet"):
        found = listed(source, "parquet")
        assert list(found) == [f"p/{name}" for name in names]
        assert [read_uri(item.uri, STORE) for item in found.values()] == [data or b"" for data in IMAGES]
    with pytest.raises(ImageError, match="over the limit of 9"):
        read_uri(found[f"p/{names[0]}"].uri, STORE, 9)


def test_a_row_group_is_read_once_for_its_neighbours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pq.write_table(pa.table({"image": [bytes([i]) * 50 for i in range(40)]}), tmp_path / "p.parquet", row_group_size=20)
    found, opened = listed(tmp_path, "parquet"), []
    read = pq.ParquetFile.read_row_group
    monkeypatch.setattr(pq.ParquetFile, "read_row_group", lambda *a, **k: (opened.append(a[1]), read(*a, **k))[1])
    assert [read_uri(item.uri, STORE)[0] for item in found.values()] == list(range(40))
    assert opened == [0, 1]


@pytest.mark.parametrize(
    ("columns", "told"), [({"a": ["x"]}, "none of the columns"), ({"a": [b"x"], "b": [b"y"]}, "a, b of the columns")]
)
def test_columns_that_do_not_say_where_images_are_end_the_listing(tmp_path: Path, columns: dict, told: str) -> None:
    pq.write_table(pa.table(columns), tmp_path / "p.parquet")
    with pytest.raises(InputError, match=f"{told} hold images; name the one that does 'image'"):
        listed(tmp_path, "parquet")


def test_a_parquet_file_that_is_damaged_is_refused(tmp_path: Path) -> None:
    (tmp_path / "p.parquet").write_bytes(b"PAR1 and nothing more")
    with pytest.raises(InputError, match=r"p\.parquet cannot be read as parquet"):
        listed(tmp_path, "parquet")
