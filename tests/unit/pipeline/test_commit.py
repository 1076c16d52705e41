"""Promises of the totals."""

from dataclasses import replace

from tss_ray.pipeline.commit import Totals, total
from tss_ray.records import ManifestRow

ROW = ManifestRow(image_key="a", input_uri="in/a", spec_hash="0")
DONE = replace(
    ROW,
    status="done",
    in_width=10,
    in_height=20,
    out_width=40,
    out_height=80,
    num_steps=4,
    num_tiles=3,
    nfe=12,
    tile_px=32,
    num_steps_top_rung=15,
    output_bytes=100,
    device_seconds=0.5,
)


def test_rows_add_up() -> None:
    resampled = replace(DONE, num_steps=0, nfe=0, device_seconds=0.0)
    copy = replace(DONE, nfe=0, device_seconds=0.0, duplicate_of="a")
    assert total([copy, replace(copy, status="pending")]).duplicates == 1
    assert total([DONE, resampled, ROW.quarantined("truncated", "")]) == Totals(
        done=2,
        quarantined=1,
        resampled=1,
        steps=4,
        nfe=12,
        run_px=12 * 32**2,
        run_px_top_rung=90 * 32**2,
        in_px=400,
        out_px=6400,
        output_bytes=200,
        device_seconds=0.5,
    )


def test_pending_rows_do_not_count_and_neither_does_what_a_quarantined_one_got() -> None:
    assert total([replace(DONE, status="pending")]) == Totals()
    assert total([DONE.quarantined("upload_failed", "")]) == Totals(quarantined=1)


def test_none_is_nothing() -> None:
    assert total([replace(ROW, status="done")]) == Totals(done=1, resampled=1)
    assert total([]) == Totals()


def test_totals_of_parts_add_up_to_the_total_of_all() -> None:
    rows = [DONE, ROW.quarantined("truncated", ""), replace(DONE, nfe=7)]
    assert total(rows[:1]) + total(rows[1:]) == total(rows)
