"""Promises of large images in the job's own hands: prepared, streamed and written like the small, without Ray."""

import hashlib
import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tss_ray.imaging.decode import decode
from tss_ray.pipeline import sweep
from tss_ray.pipeline.large import is_streamed
from tss_ray.pipeline.prepare import Prepare
from tss_ray.pipeline.rows import PreparedImage, prepared_images, prepared_table
from tss_ray.pipeline.upscaler import Upscaler
from tss_ray.records import ManifestRow
from tss_ray.spec import JobSpec, load_spec

HEIGHT, WIDTH = 90, 60
TIMES = {"fetch_s", "decode_s", "probe_s", "queue_s", "denoise_s", "encode_s", "upload_s", "device_seconds"}


@pytest.fixture
def job(tmp_path: Path, write_model: Callable[..., Path], never_stops: None) -> Callable[..., Any]:
    """Return a maker of (spec, actor), without Ray; images of 1000 px and more are streamed unless told otherwise."""
    model = write_model()

    def made(**settings: object) -> tuple[JobSpec, Upscaler]:
        base = {
            "input": "in",
            "output": str(tmp_path / "out"),
            "model": str(model),
            "tiles.tile_px": 16,
            "tiles.overlap_px": 4,
            "budget.policy": "fixed",
            "budget.num_steps": 2,
            "large.from_px": 1000,
        }
        spec = load_spec(None, base | settings)
        return spec, Upscaler(spec, False, 1, None)

    return made


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """Write an input with an EXIF orientation; upright it is HEIGHT × WIDTH."""
    pixels = np.random.default_rng(0).integers(60, 200, (WIDTH, HEIGHT, 3), np.uint8)
    exif = Image.Exif()
    exif[274] = 6
    Image.fromarray(pixels).save(tmp_path / "a.png", exif=exif)
    return tmp_path / "a.png"


def prepared(spec: JobSpec, path: Path) -> PreparedImage:
    """Return an input as it comes out of the object store."""
    image = Prepare(spec, "0", None).prepare({"image_key": path.name, "uri": str(path)}, decode)
    return prepared_images(prepared_table([image]))[0]


def done(job: Callable[..., Any], path: Path, **settings: object) -> tuple[ManifestRow, bytes]:
    spec, actor = job(**settings)
    (row,) = actor._together([prepared(spec, path)])
    assert row.status == "done", row.error_message
    return row, Path(row.output_uri).read_bytes()


@pytest.mark.parametrize(("num_steps", "by_tile"), [(0, False), (2, False), (2, True)])
def test_a_streamed_image_has_the_bytes_and_the_row_of_one_that_was_held(
    job: Callable[..., Any], photo: Path, num_steps: int, by_tile: bool
) -> None:
    # so small a result is one band, of which the correction would be the same to rounding only
    settings = {"budget.num_steps": num_steps, "budget.by_tile": by_tile, "colour.correction": "none"}
    streamed, file = done(job, photo, **settings)
    held, expected = done(job, photo, **settings, **{"large.from_px": HEIGHT * WIDTH + 1})
    assert file == expected
    assert hashlib.sha256(file).hexdigest() == streamed.output_sha256
    same = dict.fromkeys(TIMES | {"started_at", "finished_at", "lr_consistency_psnr", "colour_delta_e"})
    assert replace(streamed, **same) == replace(held, **same)
    assert streamed.lr_consistency_psnr == pytest.approx(held.lr_consistency_psnr, abs=1e-4)
    assert streamed.colour_delta_e == pytest.approx(held.colour_delta_e, rel=1e-3)
    assert all(getattr(streamed, name) is not None for name in TIMES)


def test_pixels_of_a_streamed_image_stay_out_of_the_object_store(job: Callable[..., Any], photo: Path) -> None:
    spec, _ = job()
    image = prepared(spec, photo)
    assert (image.pixels, image.streamed, image.row.status) == (None, True, "pending")
    assert prepared_table([image]).nbytes < HEIGHT * WIDTH


def test_a_size_limit_of_the_result_leaves_a_large_image_alone(job: Callable[..., Any], photo: Path) -> None:
    row, file = done(job, photo, **{"size.max_side_px": HEIGHT})
    assert row.left_alone_by == "max_side_px"
    with Image.open(photo) as before, Image.open(io.BytesIO(file)) as after:
        assert np.array_equal(np.asarray(after), np.rot90(np.asarray(before), -1))


def test_small_images_of_a_block_are_finished_before_a_large_one_and_rows_keep_their_order(
    job: Callable[..., Any], photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = tmp_path / "b.png"
    Image.new("RGB", (20, 20), (90, 80, 70)).save(small)
    spec, actor = job()
    finished, finish = [], actor._finish
    monkeypatch.setattr(actor, "_finish", lambda image, f: (finished.append(image.row.image_key), finish(image, f))[1])
    rows = actor._together([prepared(spec, photo), prepared(spec, small)])
    assert [row.image_key for row in rows] == ["a.png", "b.png"]
    assert finished == ["b.png", "a.png"]
    assert {row.status for row in rows} == {"done"}


def test_a_file_that_changed_since_it_was_looked_at_is_a_row(job: Callable[..., Any], photo: Path) -> None:
    spec, actor = job()
    image = prepared(spec, photo)
    photo.write_bytes(photo.read_bytes() + b"\0")
    (row,) = actor._together([image])
    assert (row.status, row.error_kind) == ("quarantined", "input_changed")
    photo.unlink()
    (row,) = actor._together([image])
    assert (row.status, row.error_kind) == ("quarantined", "fetch_failed")


def test_what_is_refused_once_is_streamed_again_and_twice_is_a_row(
    job: Callable[..., Any], photo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"budget.policy": "texture", "budget.ladder": [0, 1, 2], "budget.thresholds": [0, 0]}
    spec, actor = job(**settings)
    verdicts = iter(["output_black", *[None] * 100])
    monkeypatch.setattr(sweep, "off_colour", lambda *_: next(verdicts))
    (row,) = actor._together([prepared(spec, photo)])
    assert (row.status, row.attempt, row.refused_for, row.num_steps) == ("done", 2, "output_black", 1)
    monkeypatch.setattr(sweep, "off_colour", lambda *_: "output_off_colour")
    (row,) = actor._together([prepared(spec, photo)])
    assert (row.status, row.attempt, row.error_kind) == ("quarantined", 2, "output_off_colour")
    assert not actor._engine._open


def test_a_stop_leaves_a_large_image_to_the_next_run(job: Callable[..., Any], photo: Path) -> None:
    spec, actor = job()
    actor._link.stopping = actor._link.overdue = True
    image = prepared(spec, photo)
    assert actor._together([image]) == [image.row]


def test_a_correction_by_the_mean_holds_the_image(job: Callable[..., Any]) -> None:
    row = ManifestRow(image_key="a", input_uri="a", spec_hash="0", in_width=100, in_height=100)
    assert is_streamed(job()[0], row)
    assert not is_streamed(job(**{"colour.correction": "mean"})[0], row)
    assert not is_streamed(job(**{"large.from_px": 10_001})[0], row)
