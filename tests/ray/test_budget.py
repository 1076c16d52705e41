"""A job under a plan on a real Ray: promises are kept, the holdout is marked, and rows say what was in force."""

from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from targets import make_target

from tss_ray.budget.allocation import Choice
from tss_ray.budget.target import assign
from tss_ray.models.registry import check_model
from tss_ray.pipeline.job import JobResult, run_job
from tss_ray.records import ManifestRow, table_to_rows
from tss_ray.spec import BudgetSpec, JobSpec, StoreSpec, load_spec
from tss_ray.storage.promises import PromiseBook, Promised, read_promises
from tss_ray.storage.stores import open_store

pytestmark = pytest.mark.ray

Upscale = Callable[..., JobResult]


def rows_of(output: Path) -> dict[str, ManifestRow]:
    return {row.image_key: row for row in table_to_rows(pq.read_table(output / "manifest"))}


def test_a_controlled_job_keeps_old_promises_and_writes_down_its_own(
    upscale: Upscale, photo_folder: Path, photo_set: dict[str, bytes], tiny_model_folder: Path, tmp_path: Path
) -> None:
    target = make_target(tiny_model_folder)
    output = tmp_path / "out"
    spec = JobSpec(
        input=str(photo_folder),
        output=str(output),
        budget=BudgetSpec(policy="target", target=target, ladder=(0, 1, 2, 4), thresholds=(0.05, 0.2, 0.4)),
        tiles={"tile_px": 16, "overlap_px": 4},
    )
    store = open_store(str(output), StoreSpec())
    spec_hash = spec.spec_hash(check_model(str(tiny_model_folder)).sha256)
    everything = Promised(0.0, 0.0)
    PromiseBook(store, spec_hash).add("before", ["a/00.png", "a/01.png"], [everything, everything])
    settings = {"budget.policy": "target", "budget.target": target.model_dump()}
    result = upscale(photo_folder, output, **settings)
    rows = rows_of(output)
    assert result.complete
    assert set(rows) == set(photo_set)
    assert {row.spec_hash for row in rows.values()} == {spec_hash}
    told = {key: promised for _, key, promised in read_promises(store, spec_hash)}
    done = {key: row for key, row in rows.items() if row.status == "done"}
    assert told.keys() == rows.keys()
    for key, row in done.items():
        assigned = assign(target, Choice(told[key].multiplier, told[key].share), row.texture_score or 0.0, key)
        assert (row.num_steps, row.holdout) == (assigned.num_steps, assigned.is_holdout)
        assert row.budget_lambda == told[key].multiplier
        assert row.num_steps_top_rung == 3
    assert done["a/00.png"].num_steps == done["a/01.png"].num_steps == 3
    free = [row for key, row in done.items() if key not in ("a/00.png", "a/01.png") and not row.holdout]
    assert {row.num_steps for row in free} == {0}, "the cap is spent: nobody else gets steps"
    assert any(row.holdout for row in done.values())


def test_without_a_controller_steps_follow_from_key_and_spec_alone(
    upscale: Upscale, photo_folder: Path, tiny_model_folder: Path, tmp_path: Path
) -> None:
    target = make_target(tiny_model_folder, controller=False)
    upscale(photo_folder, tmp_path / "out", **{"budget.policy": "target", "budget.target": target.model_dump()})
    for key, row in rows_of(tmp_path / "out").items():
        if row.status == "done":
            assigned = assign(target, Choice(0.1, 0.5), row.texture_score or 0.0, key)
            assert (row.num_steps, row.budget_lambda) == (assigned.num_steps, 0.1)
    assert not list((tmp_path / "out" / "run").rglob("promises-*"))


def test_a_plan_of_another_model_is_refused(tiny_model_folder: Path, photo_folder: Path, tmp_path: Path) -> None:
    settings = {
        "input": str(photo_folder),
        "output": str(tmp_path / "out"),
        "budget.policy": "target",
        "budget.target": make_target(tiny_model_folder).model_dump(),
        "tiles.tile_px": 16,
        "tiles.overlap_px": 4,
    }
    from tss_ray.errors import SpecError

    with pytest.raises(SpecError, match="plan again with the job's settings"):
        run_job(load_spec(None, settings))
