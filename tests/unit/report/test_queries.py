"""Promises of the figures: each is what counting by hand gives."""

import hashlib
import statistics
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tss_ray.records import ManifestRow
from tss_ray.report import queries
from tss_ray.report.manifest import Manifest, open_manifest
from tss_ray.spec import StoreSpec


def md5(key: str) -> str:
    return hashlib.md5(key.encode(), usedforsecurity=False).hexdigest()


Opened = Callable[[Sequence[ManifestRow]], Any]


@pytest.fixture
def opened(write_output: Callable[..., Path]) -> Opened:
    @contextmanager
    def open_rows(rows: Sequence[ManifestRow]) -> Iterator[Manifest]:
        with open_manifest(str(write_output(rows)), StoreSpec()) as manifest:
            yield manifest

    return open_rows


def test_totals_count_work_of_done_images_only(opened: Opened, make_row, make_fault) -> None:
    rows = [make_row("a", num_steps=0, nfe=0, device_seconds=0.0), make_row("b"), make_row("c"), make_fault("d")]
    with opened(rows) as manifest:
        totals = queries.ask_totals(manifest)
    assert (totals.images, totals.done, totals.quarantined, totals.resampled) == (4, 3, 1, 1)
    assert (totals.in_megapixels, totals.out_megapixels) == (600 / 1e6, 9600 / 1e6)
    assert totals.output_bytes == 300
    assert totals.mean_steps == pytest.approx(14 / 3)
    assert (totals.nfe, totals.run_px, totals.run_px_top_rung) == (56, 56 * 64**2, 3 * 4 * 15 * 64**2)
    assert totals.nfe_saved == pytest.approx(1 - 56 / 180)
    assert totals.device_seconds == 4.0
    assert totals.started == "2026-01-01 12:00:00 UTC"


def test_what_was_saved_counts_tiles_by_their_area(opened: Opened, make_row) -> None:
    rows = [make_row("large", num_tiles=1, num_steps=15, nfe=15), make_row("small", num_tiles=1, nfe=1, tile_px=32)]
    with opened(rows) as manifest:
        saved = queries.ask_totals(manifest).nfe_saved
    assert saved == pytest.approx(1 - (15 + 1 / 4) / (15 + 15 / 4))


def test_working_time_leaves_pauses_out_and_counts_what_overlaps_once(opened: Opened, make_row) -> None:
    spans = [(0, 10), (5, 2), (0.5, 12), (100, 5), (104, 20), (124, 1), (300, 0)]
    rows = [make_row(f"{k}", at=at, took=took) for k, (at, took) in enumerate(spans)]
    with opened(rows) as manifest:
        assert queries.ask_totals(manifest).working_s == pytest.approx(12.5 + 25)


def test_the_parts_of_image_time_add_up_to_the_whole(opened: Opened, make_row, make_fault) -> None:
    with opened([make_row("a"), make_row("b", upload_s=None), make_fault("c")]) as manifest:
        whole = queries.ask_image_time(manifest)
    assert whole.seconds == pytest.approx(60)
    assert sum(part.seconds for part in whole.parts) == pytest.approx(60)
    seconds = {part.name: part.seconds for part in whole.parts}
    assert seconds == pytest.approx(
        {"fetch": 2, "decode": 4, "probe": 6, "queue": 8, "denoise": 10, "encode": 12, "upload": 7, "waiting": 11}
    )


def test_a_part_of_a_row_without_an_end_is_in_no_sum(opened: Opened, make_row) -> None:
    with opened([make_row("a"), make_row("b", finished_at=None)]) as manifest:
        whole = queries.ask_image_time(manifest)
    assert {part.name: part.seconds for part in whole.parts}["fetch"] == 1
    assert whole.parts[-1].seconds == pytest.approx(2)


def test_idle_time_of_devices_is_known_only_where_their_number_is(opened: Opened, make_row) -> None:
    with opened([make_row("a", at=0, took=30), make_row("b", at=10, took=30)]) as manifest:
        totals = queries.ask_totals(manifest)
        assert queries.ask_device_time(manifest, totals, None, None).seconds is None
        whole = queries.ask_device_time(manifest, totals, 2, None)
    assert whole.seconds == pytest.approx(80)
    seconds = {part.name: part.seconds for part in whole.parts}
    assert (seconds["denoising"], seconds["idle"]) == (4.0, pytest.approx(80 - 4 - 12 - 26))


def test_dollars_need_a_price_and_say_what_they_charge_for(opened: Opened, make_row) -> None:
    with opened([make_row("a", at=0, took=36), make_row("b", at=0, took=36)]) as manifest:
        totals = queries.ask_totals(manifest)
    free = queries.cost(totals, None, None)
    assert (free.usd, free.usd_per_1000_images, free.usd_per_megapixel) == (None, None, None)
    assert free.device_s_per_1000_images == pytest.approx(2000)
    computed = queries.cost(totals, 3.6, None)
    assert (computed.basis, computed.charged_s, computed.usd) == ("computed", 4.0, pytest.approx(0.004))
    held = queries.cost(totals, 3.6, 1)
    assert (held.basis, held.charged_s, held.usd) == ("held", pytest.approx(36), pytest.approx(0.036))
    assert held.usd_per_1000_images == pytest.approx(18)
    assert held.usd_per_megapixel == pytest.approx(0.036 / 0.0064)


def test_steps_and_textures_count_every_done_image_once(opened: Opened, make_row, make_fault) -> None:
    scores = [(0.0, 0), (0.049, 0), (0.051, 2), (0.5, 7), (1.0, 15), (1.0, 7)]
    rows = [make_row(f"{k}", texture_score=score, num_steps=steps) for k, (score, steps) in enumerate(scores)]
    with opened([*rows, make_fault("f")]) as manifest:
        steps, textures = queries.ask_steps(manifest), queries.ask_textures(manifest)
    assert [(entry.num_steps, entry.images) for entry in steps] == [(0, 2), (2, 1), (7, 2), (15, 1)]
    assert [(entry.low, entry.steps) for entry in textures if entry.steps] == [
        (0.0, ((0, 2),)),
        (0.05, ((2, 1),)),
        (0.5, ((7, 1),)),
        (0.95, ((7, 1), (15, 1))),
    ]
    assert len(textures) == queries.NUM_TEXTURE_BINS


def test_percentiles_are_those_of_numpy_and_leave_out_what_is_not_finite(opened: Opened, make_row) -> None:
    values = [*np.random.RandomState(0).normal(40, 4, 200), float("nan"), float("inf")]
    rows = [make_row(f"{k:03}", lr_consistency_psnr=float(value)) for k, value in enumerate(values)]
    with opened(rows) as manifest:
        (spread,) = queries.ask_quality(manifest)
        bins = queries.ask_consistency(manifest)
    assert spread.num == 200
    assert spread.mean == pytest.approx(statistics.mean(values[:200]))
    assert (spread.p1, spread.p5, spread.p50) == pytest.approx(tuple(np.percentile(values[:200], [1, 5, 50])))
    assert sum(entry.images for entry in bins) == 200
    by_hand = np.histogram(values[:200], [*(entry.low for entry in bins), bins[-1].high])[0]
    assert [entry.images for entry in bins] == by_hand.tolist()


@pytest.mark.parametrize("values", [[40.0], [40.0, 40.0], [0.0, 100.0], [39.999, 40.0]])
def test_the_histogram_holds_every_value_at_its_ends_too(values: list[float], opened: Opened, make_row) -> None:
    with opened([make_row(f"{k}", lr_consistency_psnr=value) for k, value in enumerate(values)]) as manifest:
        bins = queries.ask_consistency(manifest)
    assert sum(entry.images for entry in bins) == len(values)
    assert len(bins) <= 40


def test_folders_are_as_deep_as_fifty_allow(opened: Opened, make_row, make_fault) -> None:
    rows = [make_row(f"a/{k}/x.png") for k in range(3)] + [make_row("b/c/d/y.png", num_steps=1), make_row("z.png")]
    with opened([*rows, make_fault("b/c/d/w.png")]) as manifest:
        folders = queries.ask_folders(manifest)
    assert [(f.name, f.images, f.quarantined) for f in folders] == [
        ("b/c/d", 2, 1), ("", 1, 0), ("a/0", 1, 0), ("a/1", 1, 0), ("a/2", 1, 0)
    ]  # fmt: skip
    assert folders[0].mean_steps == 1
    assert folders[0].lr_consistency_p5 == 40


def test_what_is_beyond_fifty_folders_is_told_together(opened: Opened, make_row) -> None:
    rows = [make_row(f"{k:02}/x.png") for k in range(70)] + [make_row("69/y.png")]
    with opened(rows) as manifest:
        folders = queries.ask_folders(manifest)
    assert len(folders) == queries.NUM_FOLDERS + 1
    assert (folders[0].name, folders[0].images) == ("69", 2)
    assert (folders[-1].name, folders[-1].images) == (None, 20)
    assert sum(folder.images for folder in folders) == 71


def test_faults_come_by_kind_with_their_first_examples(opened: Opened, make_fault) -> None:
    rows = [make_fault(f"{k}") for k in (4, 3, 2, 1, 0)] + [make_fault("x", "too_large")]
    with opened(rows) as manifest:
        faults = queries.ask_faults(manifest)
    assert [(fault.kind, fault.images) for fault in faults] == [("corrupt", 5), ("too_large", 1)]
    assert [key for key, _ in faults[0].examples] == ["0", "1", "2"]
    assert faults[0].examples[0][1] == "0 <b>is</b> damaged; replace it"


def test_galleries_hold_the_lowest_first_and_the_same_random_ones_each_time(opened: Opened, make_row) -> None:
    rows = [make_row(f"{k}", lr_consistency_psnr=50.0 - k) for k in range(9)]
    with opened([*rows, make_row("n", lr_consistency_psnr=float("nan"))]) as manifest:
        worst, drawn = queries.ask_examples(manifest, 3)
        again = queries.ask_examples(manifest, 3)[1]
    assert [example.image_key for example in worst] == ["8", "7", "6"]
    assert worst[0].input_uri == "/in/8"
    keys = [example.image_key for example in drawn]
    assert keys == [example.image_key for example in again] == sorted(keys, key=md5)
    assert all(md5(key) <= md5(other) for key in keys for other in {*"012345678n"} - {*keys})


def test_a_run_of_faults_alone_can_be_asked_everything(opened: Opened, make_fault) -> None:
    with opened([make_fault("a")]) as manifest:
        totals = queries.ask_totals(manifest)
        assert (totals.done, totals.mean_steps, totals.nfe_saved, totals.working_s) == (0, None, None, None)
        assert queries.cost(totals, 1.0, 1).usd_per_1000_images is None
        assert queries.ask_image_time(manifest).seconds is None
        assert queries.ask_steps(manifest) == queries.ask_textures(manifest) == queries.ask_consistency(manifest) == ()
        assert queries.ask_quality(manifest)[0].num == 0
        assert queries.ask_examples(manifest, 3) == ((), ())
        assert queries.ask_folders(manifest)[0].lr_consistency_p5 is None
