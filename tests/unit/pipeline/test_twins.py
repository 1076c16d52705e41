"""Promises of duplicates: upscaled once, written under every key, and told in every row."""

from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from tss_ray.errors import StorageError
from tss_ray.imaging.encode import EncodedImage
from tss_ray.pipeline import upscaler
from tss_ray.pipeline.commit import Commit
from tss_ray.pipeline.promiser import computed_share
from tss_ray.pipeline.rows import PreparedImage
from tss_ray.pipeline.twins import Twins, Upscaled, identity, twin_row
from tss_ray.records import ManifestRow, rows_to_table
from tss_ray.spec import StoreSpec, load_spec
from tss_ray.storage.inputs import read_uri

RGB = np.random.default_rng(0).integers(60, 200, (16, 16, 3), np.uint8)
ROW = ManifestRow(
    image_key="a.png",
    input_uri="in/a.png",
    spec_hash="0",
    input_sha256="f" * 64,
    num_steps=2,
    in_width=16,
    in_height=16,
    out_width=64,
    out_height=64,
)


@pytest.fixture
def make(tmp_path, never_stops, tiny_model_folder):
    """Return a maker of actors without Ray, which count what their engine is asked for."""

    def made(**settings: Any) -> upscaler.Upscaler:
        base = {"input": "in", "output": str(tmp_path / "out"), "model": str(tiny_model_folder)}
        tiles = {"tiles.tile_px": 16, "tiles.overlap_px": 4, "budget.ladder": [0, 2], "budget.thresholds": [0.1]}
        actor = upscaler.Upscaler(load_spec(None, base | tiles | settings), False, 1, None)
        actor.asked, submit = [], actor._submit
        actor._submit = lambda row, rgb: (actor.asked.append(row.image_key), submit(row, rgb))[1]
        return actor

    return made


def images(*keys, **changes):
    return [PreparedImage(replace(ROW, image_key=key, input_uri=f"in/{key}", **changes), RGB) for key in keys]


def test_copies_are_upscaled_once_and_written_under_every_key(make, tmp_path):
    actor = make()
    rows = actor._together(images("a.png", "b.png", "c/d.png")) + actor._together(images("later.png"))
    assert actor.asked == ["a.png"]
    assert [row.duplicate_of for row in rows] == [None, "a.png", "a.png", "a.png"]
    assert [row.nfe for row in rows] == [2, 0, 0, 0]
    assert [row.device_seconds for row in rows[1:]] == [0, 0, 0]
    assert rows[0].device_seconds > 0
    for row in rows:
        assert row.status == "done"
        assert row.output_uri == str(tmp_path / "out" / "images" / row.image_key)
        assert (tmp_path / "out" / "images" / row.image_key).read_bytes() == actor._twins.get(
            identity(row, "png")
        ).file.data


def test_without_dedupe_each_is_upscaled_to_the_same_bytes(make):
    actor = make(dedupe=False)
    rows = actor._together(images("a.png", "b.png"))
    assert actor.asked == ["a.png", "b.png"]
    assert {row.duplicate_of for row in rows} == {None}
    assert len({row.output_sha256 for row in rows}) == 1


def test_a_copy_in_another_format_or_of_other_steps_is_no_duplicate(make):
    actor = make(**{"encode.format": "same"})
    block = images("a.png", "b.jpg") + images("c.png", num_steps=0)
    assert [row.duplicate_of for row in actor._together(block)] == [None, None, None]


def test_where_the_first_fails_the_next_is_tried_like_any_other(make, monkeypatch):
    actor = make()
    write = actor._output.write

    def refuse(key, *rest):
        if key == "images/a.png":
            raise StorageError("no; try again")
        write(key, *rest)

    monkeypatch.setattr(actor._output, "write", refuse)
    rows = actor._together(images("a.png", "b.png", "c.png"))
    assert [row.error_kind for row in rows] == ["upload_failed", None, None]
    assert [row.duplicate_of for row in rows] == [None, None, "b.png"]
    rows = actor._together([*images("a.png"), *images("d.png")])
    assert [row.error_kind for row in rows] == ["upload_failed", None], "a copy that cannot be written is a row"
    assert not actor._twins._held


def test_what_could_not_be_read_has_no_twin():
    assert identity(replace(ROW, input_sha256=None), "png") is None
    assert identity(replace(ROW, in_width=None), "png") is None


def test_a_twin_has_its_own_name_and_times_and_the_others_result():
    original = replace(ROW, status="done", nfe=8, device_seconds=3.0, fetch_s=1.0, output_sha256="e", device="cpu")
    row = twin_row(replace(ROW, image_key="b", input_uri="in/b", fetch_s=2.0, holdout=False), original)
    assert (row.image_key, row.input_uri, row.fetch_s, row.holdout) == ("b", "in/b", 2.0, False)
    assert (row.nfe, row.device_seconds, row.device, row.denoise_s) == (0, 0.0, None, None)
    assert (row.status, row.output_sha256, row.duplicate_of) == ("done", "e", "a.png")


def test_a_budget_hears_which_share_was_computed():
    first = replace(ROW, status="done", num_tiles=3, nfe=6)
    copy, rotten = twin_row(replace(ROW, image_key="b"), first), replace(ROW, num_steps=None)
    assert computed_share(rows_to_table([first, rotten])) == 1
    assert computed_share(rows_to_table([first, copy, copy, rotten])) == pytest.approx(1 / 3)
    assert computed_share(rows_to_table([rotten])) == 1


def test_memory_is_bounded_but_for_what_is_held():
    def upscaled(size):
        return Upscaled(ROW, EncodedImage(bytes(size), "RGB", "image/png"))

    twins = Twins(max_bytes=10)
    twins.hold(("held",))
    for name, size in (("held", 8), ("old", 2), ("new", 2)):
        twins.add((name,), upscaled(size))
    assert [twins.get((name,)) is not None for name in ("held", "old", "new")] == [True, False, True]
    twins.release(("held",))
    twins.add(("last",), upscaled(9))
    assert [twins.get((name,)) is not None for name in ("held", "new", "last")] == [False, False, True]
    twins.add(("huge",), upscaled(11))
    assert twins.get(("last",)) is None


@pytest.mark.parametrize("layout", ["webdataset", "parquet"])
def test_shards_get_the_bytes_that_files_would_and_the_actor_keeps_none(make, tmp_path, monkeypatch, layout):
    monkeypatch.setattr("tss_ray.pipeline.commit.check_lease", lambda *_: None)
    block = [
        *images("a.png", "b.png"),
        *images("c.png", input_sha256="e" * 64),
        PreparedImage(replace(ROW, image_key="d")),
    ]
    found = {}
    for name in ("files", layout):
        actor = make(output=str(tmp_path / name), output_layout=name)
        table = actor._with_files(rows_to_table(actor._together(block)), [image.row.image_key for image in block])
        assert not actor._files
        Commit(str(tmp_path / name), StoreSpec(), "run", name)(table)
        (part,) = (tmp_path / name / "manifest").iterdir()
        found[name] = {row["image_key"]: row for row in pq.read_table(part).to_pylist()}
    assert found[layout].keys() == {"a.png", "b.png", "c.png"}, "what is pending is not committed"
    for key, row in found[layout].items():
        assert read_uri(row["output_uri"], StoreSpec()) == read_uri(found["files"][key]["output_uri"], StoreSpec())
        assert row["duplicate_of"] == found["files"][key]["duplicate_of"] == ("a.png" if key == "b.png" else None)
    assert len(list((tmp_path / layout / "images").iterdir())) == 1
