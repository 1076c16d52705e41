"""A job of two models on a real Ray: rung 1 is the second one's, from the plan to the rows."""

from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from targets import make_target
from tiny import write_tiny_model

from tss_ray.errors import SpecError
from tss_ray.models.registry import check_model
from tss_ray.pipeline.job import JobResult
from tss_ray.records import ManifestRow, table_to_rows

pytestmark = pytest.mark.ray

Upscale = Callable[..., JobResult]


def rows_of(output: Path) -> dict[str, ManifestRow]:
    return {row.image_key: row for row in table_to_rows(pq.read_table(output / "manifest")) if row.status == "done"}


@pytest.fixture
def one_step(tmp_path: Path) -> Path:
    """A model that paints otherwise than the tiny one."""
    return write_tiny_model(tmp_path / "one", model_id="tiny-1", num_steps=[1], residual_scale=0.3)


def test_images_of_one_step_are_what_the_second_model_alone_would_make(
    upscale: Upscale, photo_folder: Path, one_step: Path, tmp_path: Path
) -> None:
    large = {"large.from_px": 1200}  # some are streamed
    assert upscale(photo_folder, tmp_path / "both", one_step_model=str(one_step), **large).complete
    upscale(photo_folder, tmp_path / "main", **large)
    fixed = {"budget.policy": "fixed", "budget.num_steps": 1}
    upscale(photo_folder, tmp_path / "one-step", model=str(one_step), **fixed, **large)
    both, main, alone = (rows_of(tmp_path / name) for name in ("both", "main", "one-step"))
    assert both.keys() == main.keys()
    ones = {key for key, row in both.items() if row.num_steps == 1}
    assert 0 < len(ones) < len(both)
    for key, row in both.items():
        same, other = (alone, main) if key in ones else (main, alone)
        assert row.model_id == same[key].model_id == ("tiny-1" if key in ones else "tiny")
        assert row.output_sha256 == same[key].output_sha256
        if row.num_steps == 1:
            assert row.output_sha256 != other[key].output_sha256
    assert {row.spec_hash for row in both.values()} != {row.spec_hash for row in main.values()}


def test_a_plan_measured_with_both_is_run_with_both_alone(
    upscale: Upscale, photo_folder: Path, tiny_model_folder: Path, one_step: Path, tmp_path: Path
) -> None:
    target = make_target(tiny_model_folder)
    measured = target.measured.model_copy(update={"one_step_sha256": check_model(str(one_step)).sha256})
    target = target.model_copy(update={"measured": measured, "cap": 1e6})
    settings = {"budget.policy": "target", "budget.target": target.model_dump()}
    with pytest.raises(SpecError, match="planned with one_step_sha256"):
        upscale(photo_folder, tmp_path / "out", **settings)
    assert upscale(photo_folder, tmp_path / "out", one_step_model=str(one_step), **settings).complete
    for row in rows_of(tmp_path / "out").values():
        assert row.model_id == ("tiny-1" if row.num_steps == 1 else "tiny")
