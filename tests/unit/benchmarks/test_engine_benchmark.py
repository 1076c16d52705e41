"""Promises of the engine's benchmark: all ways compute the same images, and the last line is for a machine."""

import importlib.util
import json
from pathlib import Path

import measured
import pyarrow.parquet as pq
import pytest
import torch

from tss_ray.engine.engine import Engine
from tss_ray.models.base import SuperResolutionModel

_FILE = Path(__file__).parents[3] / "jobs" / "benchmarks" / "engine.py"
_spec = importlib.util.spec_from_file_location("engine_benchmark", _FILE)
assert _spec is not None
assert _spec.loader is not None
benchmark = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(benchmark)


def test_every_way_computes_the_same_tiles(tiny_model: SuperResolutionModel) -> None:
    images = benchmark.make_requests(9, 16, 50)
    bench = benchmark.Bench(tiny_model, torch.device("cpu"), 3, 16)
    expected = benchmark.run_engine(Engine(tiny_model, torch.device("cpu"), 3, 16, 4), images)
    assert len(expected) == len(images) == 8  # one of nine has no steps
    for way in (benchmark.run_padded, benchmark.run_bucketed, benchmark.run_plain):
        for one, other in zip(expected, way(bench, images), strict=True):
            assert torch.allclose(one, other, atol=1e-3), way.__name__


def test_the_last_line_holds_the_ratios_and_the_files_the_machine(
    tiny_model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--model", str(tiny_model_folder), "--quick", "--cpu", "--tile-px", "16", "--images", "6"]
    monkeypatch.setattr("sys.argv", ["engine.py", *arguments, "--max-batch", "2", "--out", str(tmp_path)])
    assert benchmark.main() == 0
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])
    ratios = {"continuous_vs_padded", "continuous_vs_bucketed", "continuous_vs_plain", "flop_share"}
    assert figures.keys() == ratios | {"occupancy", "warm_up_s"}
    assert all(figures[name] > 0 for name in ratios)
    assert 0.5 <= figures["occupancy"] <= 1
    rows = pq.read_table(tmp_path / "engine.parquet").to_pylist()
    assert {row["way"] for row in rows} == {"continuous", "padded", "bucketed", "plain", "network", "convolution"}
    assert rows[0]["torch"] == torch.__version__
    assert "continuous_vs_padded" in (tmp_path / "engine.md").read_text()


def test_ways_alternate_and_ratios_are_of_rounds() -> None:
    order: list[str] = []
    ways = {name: lambda name=name: float(len(order.append(name) or order)) for name in "ab"}
    found = measured.alternate(ways, 2)
    assert order == ["a", "b", "b", "a"]
    assert found == {"a": [1, 4], "b": [2, 3]}
    assert measured.ratio([2, 30, 400], [1, 10, 50]) == 3
