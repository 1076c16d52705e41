"""Promises of the benchmarks of graph and data plane; `ray`: they run a small job for real."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import measured
import pytest

_FOLDER = Path(__file__).parents[3] / "jobs" / "benchmarks"


def script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"{name}_benchmark", _FOLDER / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def last_line(name: str, *arguments: str) -> dict[str, float | None]:
    command = [sys.executable, str(_FOLDER / f"{name}.py"), "--quick", *arguments]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr[-2000:]
    figures: dict[str, float | None] = json.loads(run.stdout.splitlines()[-1])
    return figures


def test_a_sleeping_actor_s_process_needs_no_torch() -> None:
    needed = "tss_ray.pipeline.rows, tss_ray.pipeline.commit, tss_ray.pipeline.monitor, tss_ray.pipeline.source"
    code = f"import sys, {needed}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_links_make_many_images_of_a_few(tmp_path: Path) -> None:
    script("dataplane").write_images(tmp_path, 70)
    files = sorted(tmp_path.rglob("*.png"))
    assert len(files) == 70
    assert len({file.stat().st_ino for file in files}) == 64


def test_listing_is_measured_without_ray() -> None:
    row = script("dataplane").list_keys(3000)
    assert row["images"] == 3000
    assert row["images_per_s"] > 0
    assert row["peak_mib"] > 1


def test_memory_is_that_of_this_process_and_those_below_it() -> None:
    before = measured.own_mib()
    child = subprocess.Popen(
        [sys.executable, "-c", "held = bytearray(b'1') * (200 * 2**20); print(1, flush=True); input()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with child:
        assert child.stdout is not None
        child.stdout.readline()
        assert measured.own_mib() - before >= 190
        child.communicate(b"\n")


def test_actors_that_do_not_fit_into_memory_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    scaling = script("scaling")
    monkeypatch.setattr(scaling, "available_mib", lambda: 1000)
    assert scaling._that_fit([1, 4, 64], 150) == [1, 4]


@pytest.mark.ray
def test_scaling_ends_with_an_efficiency_for_every_number_of_actors() -> None:
    figures = last_line("scaling", "--actors", "1,2", "--images", "4", "--sleep-ms", "20")
    assert figures.keys() >= {"efficiency_1", "efficiency_2", "tiny_efficiency_16", "compute_speedup_2"}
    assert 0 < (figures["efficiency_2"] or 0) <= 1


@pytest.mark.ray
def test_the_data_plane_ends_with_images_per_second_and_memory(tiny_model_folder: Path) -> None:
    figures = last_line("dataplane", "--sizes", "10,20", "--list-keys", "100", "--model", str(tiny_model_folder))
    assert (figures["images_per_s_per_core"] or 0) > 0
    assert (figures["peak_mib_growth"] or 0) > 0
    assert figures["peak_mib_1k"] is None
