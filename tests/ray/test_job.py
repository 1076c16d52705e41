"""The main job on a real Ray, from a folder to images and rows."""

import hashlib
import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import ray
from PIL import Image

from tss_ray.errors import InputError, LeaseError, LeaseLostError, SpecError
from tss_ray.pipeline.job import JobResult, Watcher
from tss_ray.records import MANIFEST_SCHEMA, ManifestRow, table_to_rows
from tss_ray.spec import StoreSpec
from tss_ray.storage.layout import LEASE_KEY
from tss_ray.storage.lease import Holder, hold_lease
from tss_ray.storage.stores import open_store

pytestmark = pytest.mark.ray

Upscale = Callable[..., JobResult]


def rows_of(output: Path) -> dict[str, ManifestRow]:
    rows = table_to_rows(pq.read_table(output / "manifest"))
    by_key = {row.image_key: row for row in rows}
    assert len(by_key) == len(rows), "a key has two rows"
    return by_key


def pixels_of(output: Path, key: str) -> np.ndarray:
    with Image.open(output / "images" / key) as image:
        return np.asarray(image)


def test_every_input_gets_one_row_and_every_good_one_an_image(
    upscale: Upscale, photo_folder: Path, photo_set: dict[str, bytes], tmp_path: Path
) -> None:
    result = upscale(photo_folder, tmp_path / "out")
    rows = rows_of(tmp_path / "out")
    assert set(rows) == set(photo_set)
    assert result.complete
    rotten = {key: row.error_kind for key, row in rows.items() if row.status == "quarantined"}
    assert rotten == {"rotten/cut.jpg": "corrupt", "rotten/empty.png": "empty", "rotten/notes.txt": "not_an_image"}
    assert all(rows[key].error_message for key in rotten)
    for key, row in rows.items():
        if row.status != "done":
            continue
        data = Path(str(row.output_uri).removeprefix("file://")).read_bytes()
        assert hashlib.sha256(data).hexdigest() == row.output_sha256
        assert hashlib.sha256(photo_set[key]).hexdigest() == row.input_sha256
        with Image.open(io.BytesIO(photo_set[key])) as before, Image.open(io.BytesIO(data)) as after:
            assert after.size == (4 * before.width, 4 * before.height) == (row.out_width, row.out_height)
        assert row.nfe == (row.num_steps or 0) * (row.num_tiles or 0)
        assert (row.device_seconds or 0) > 0 or row.num_steps == 0
    assert rows["grey.png"].out_mode == "L"
    assert rows["alpha.png"].out_mode == "RGBA"
    assert len({row.num_steps for row in rows.values() if row.status == "done"}) > 1, "one budget for all is no budget"


def test_a_second_run_does_nothing(upscale: Upscale, photo_folder: Path, tmp_path: Path) -> None:
    first = upscale(photo_folder, tmp_path / "out")
    written = {p: p.stat().st_mtime_ns for p in (tmp_path / "out" / "manifest").iterdir()}
    second = upscale(photo_folder, tmp_path / "out")
    assert second.num_done_before == first.num_listed
    assert second.totals.done == 0
    assert second.complete
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "out" / "manifest").iterdir()} == written


def test_new_inputs_are_added_to_an_old_output(
    upscale: Upscale, photo_folder: Path, photo_set: dict[str, bytes], tmp_path: Path
) -> None:
    upscale(photo_folder, tmp_path / "out")
    (photo_folder / "late.png").write_bytes(photo_set["a/00.png"])
    second = upscale(photo_folder, tmp_path / "out")
    assert second.totals.done == 1
    assert set(rows_of(tmp_path / "out")) == {*photo_set, "late.png"}


def test_one_actor_and_two_write_the_same_bytes(upscale: Upscale, photo_folder: Path, tmp_path: Path) -> None:
    upscale(photo_folder, tmp_path / "one", compute__actors=1)
    upscale(photo_folder, tmp_path / "two", compute__actors=2, compute__block_images=2)
    one, two = rows_of(tmp_path / "one"), rows_of(tmp_path / "two")
    assert {k: r.output_sha256 for k, r in one.items()} == {k: r.output_sha256 for k, r in two.items()}


def test_an_image_alone_equals_itself_among_others(
    upscale: Upscale, photo_folder: Path, photo_set: dict[str, bytes], tmp_path: Path
) -> None:
    upscale(photo_folder, tmp_path / "all", budget__policy="fixed", budget__num_steps=3)
    alone = tmp_path / "alone" / "a" / "07.png"
    alone.parent.mkdir(parents=True)
    alone.write_bytes(photo_set["a/07.png"])
    upscale(tmp_path / "alone", tmp_path / "out", budget__policy="fixed", budget__num_steps=3)
    assert np.array_equal(pixels_of(tmp_path / "all", "a/07.png"), pixels_of(tmp_path / "out", "a/07.png"))


def test_no_steps_leave_the_bicubic_enlargement(
    upscale: Upscale, photo_folder: Path, photo_set: dict[str, bytes], tmp_path: Path
) -> None:
    upscale(photo_folder, tmp_path / "out", budget__policy="fixed", budget__num_steps=0)
    with Image.open(io.BytesIO(photo_set["a/07.png"])) as image:
        bicubic = np.asarray(image.resize((4 * image.width, 4 * image.height), Image.Resampling.BICUBIC))
    assert np.abs(pixels_of(tmp_path / "out", "a/07.png").astype(int) - bicubic).max() <= 1


def test_the_manifest_is_read_by_duckdb_pandas_and_ray(upscale: Upscale, photo_folder: Path, tmp_path: Path) -> None:
    upscale(photo_folder, tmp_path / "out", compute__part_rows=5)
    manifest = tmp_path / "out" / "manifest"
    assert len(list(manifest.iterdir())) > 1
    num_rows = len(rows_of(tmp_path / "out"))
    counted = duckdb.sql(f"select count(distinct image_key) from '{manifest}/*.parquet'").fetchall()
    assert counted == [(num_rows,)]
    frame = pd.read_parquet(manifest)
    assert list(frame.columns) == MANIFEST_SCHEMA.names
    assert len(frame) == num_rows
    assert ray.data.read_parquet(str(manifest)).count() == num_rows


def test_other_settings_on_the_same_output_are_refused(upscale: Upscale, photo_folder: Path, tmp_path: Path) -> None:
    upscale(photo_folder, tmp_path / "out")
    with pytest.raises(SpecError, match="choose another output folder"):
        upscale(photo_folder, tmp_path / "out", seed=1)


def test_an_input_without_images_is_an_error_before_work(upscale: Upscale, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "notes.txt").write_text("nothing here")
    with pytest.raises(InputError):
        upscale(tmp_path / "in", tmp_path / "out")


@pytest.mark.parametrize(("image_format", "extension"), [("webp", ".webp"), ("jpeg", ".jpg")])
def test_other_formats(upscale: Upscale, photo_folder: Path, tmp_path: Path, image_format: str, extension: str) -> None:
    (photo_folder / "alpha.png").unlink()
    upscale(photo_folder / "a", tmp_path / "out", encode__format=image_format)
    names = {p.name for p in (tmp_path / "out" / "images").iterdir()}
    assert names == {f"{i:02d}{extension}" for i in range(8)}
    with Image.open(tmp_path / "out" / "images" / f"00{extension}") as image:
        assert image.format == image_format.upper()


def test_a_second_run_on_the_same_output_is_refused(upscale: Upscale, photo_folder: Path, tmp_path: Path) -> None:
    with (
        hold_lease(open_store(str(tmp_path / "out"), StoreSpec())),
        pytest.raises(LeaseError, match="--take-over"),
    ):
        upscale(photo_folder, tmp_path / "out")
    assert not (tmp_path / "out" / "manifest").exists()
    assert upscale(photo_folder / "a", tmp_path / "out").complete


def test_a_run_that_loses_its_lease_stops_committing(upscale: Upscale, photo_folder: Path, tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "out"), StoreSpec())
    taken: list[str] = []

    def take_over(_: object) -> None:
        taken.append(Holder.this_process().run_id)
        store.write(LEASE_KEY, replace(Holder.this_process(), run_id=taken[0]).to_bytes())

    with pytest.raises(LeaseLostError, match="commits nothing more"):
        upscale(photo_folder, tmp_path / "out", watcher=Watcher(listed=take_over))
    assert taken
    assert not list((tmp_path / "out").glob("manifest/*.parquet"))
    assert Holder.parse(store.read(LEASE_KEY)).run_id == taken[0]
