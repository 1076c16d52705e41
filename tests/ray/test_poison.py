"""Inputs that really kill their workers: each becomes a row, and every other image is what it would have been."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import ray
from photos import photo_bytes
from poison_files import POISON_PATH, kills_the_decoder, kills_the_model

from tss_ray.pipeline.job import JobResult

pytestmark = pytest.mark.ray


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """As the others', with workers that can be poisoned."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", POISON_PATH, prepend=os.pathsep)
        ray.init(
            num_cpus=2,
            object_store_memory=200_000_000,
            include_dashboard=False,
            log_to_driver=False,
            logging_level="ERROR",
        )
        yield
        ray.shutdown()


@pytest.mark.timeout(900)
def test_who_kills_its_worker_is_a_row_and_the_others_never_notice(
    upscale: Callable[..., JobResult], tmp_path: Path
) -> None:
    files = {f"{i}.png": photo_bytes(i, 16, 16) for i in range(6)}
    poison = {
        "2-decoder.png": kills_the_decoder(photo_bytes(0, 24, 20)),
        "3-decoder.png": kills_the_decoder(photo_bytes(1, 24, 20)),
        "5-model.png": kills_the_model(),
    }
    for folder, chosen in (("mixed", files | poison), ("good", files)):
        (tmp_path / folder).mkdir()
        for name, data in chosen.items():
            (tmp_path / folder / name).write_bytes(data)
    settings = {"budget__policy": "fixed", "budget__num_steps": 1}
    mixed = upscale(tmp_path / "mixed", tmp_path / "out", **settings)
    good = upscale(tmp_path / "good", tmp_path / "out-good", **settings)
    assert mixed.complete
    assert (mixed.totals.done, mixed.totals.quarantined) == (6, 3)
    columns = ["image_key", "status", "error_kind", "error_message", "output_sha256"]
    rows = pq.read_table(tmp_path / "out" / "manifest", columns=columns).to_pylist()
    assert len(rows) == 9
    killers = {row["image_key"]: row for row in rows if row["status"] == "quarantined"}
    assert killers.keys() == poison.keys()
    assert {row["error_kind"] for row in killers.values()} == {"worker_killed"}
    assert "signal 9" in killers["2-decoder.png"]["error_message"]
    assert "workers of the model" in killers["5-model.png"]["error_message"]
    expected = pq.read_table(tmp_path / "out-good" / "manifest", columns=columns).to_pylist()
    assert {r["image_key"]: r["output_sha256"] for r in rows if r["status"] == "done"} == {
        r["image_key"]: r["output_sha256"] for r in expected
    }
    assert good.complete
