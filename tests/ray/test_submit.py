"""`tss-ray submit` and its siblings, each a process, against a head with a job server, a token, and two nodes."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from loopback_head import Head, loopback_head
from photos import photo_bytes

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(1200)]

_LIMIT_S = 500
SMALL = ["--set", "tiles.tile_px=16", "--set", "tiles.overlap_px=4", "--set", "compute.threads_per_actor=1"]


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What head and client share: a token of their own, and this Python first on the path."""
    token = tmp_path_factory.mktemp("token") / "token"
    token.write_text("a" * 64)
    kept = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")}
    paths = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    modules = os.pathsep.join([*sys.path[1:], str(Path(__file__).parents[1])])
    ray = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token), "RAY_raylet_start_wait_time_s": "300"}
    ray |= {
        "RAY_health_check_failure_threshold": "60"
    }  # a busy machine is no dead node; a killed raylet is seen at once
    return kept | ray | {"PATH": paths, "PYTHONPATH": modules}


@pytest.fixture(scope="module")
def head(environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Head]:
    with loopback_head(environment, tmp_path_factory.mktemp("head") / "log") as head:
        yield head


@pytest.fixture
def tss_ray(environment: dict[str, str], head: Head) -> Callable[..., tuple[int, str, str]]:
    """Run a command; return (exit code, standard output, standard error)."""

    def run(*arguments: object, **more: str) -> tuple[int, str, str]:
        command = [sys.executable, "-c", "from tss_ray.cli import main; main()", *map(str, arguments)]
        if arguments[0] != "verify":
            command += ["--address", head.address]
        given = environment | more
        done = subprocess.run(command, capture_output=True, text=True, env=given, timeout=_LIMIT_S, check=False)
        return done.returncode, done.stdout, done.stderr

    return run


def job_file(folder: Path, model: Path, num_images: int, side: int, steps: int) -> Path:
    (folder / "in").mkdir()
    for i in range(num_images):
        (folder / "in" / f"{i:03d}.png").write_bytes(photo_bytes(i, side, side))
    lines = [f"input: {folder}/in", f"output: {folder}/out", f"model: {model}"]
    lines += [f"budget: {{policy: fixed, num_steps: {steps}}}", "compute: {actors: 2, block_images: 2, part_rows: 2}"]
    path = folder / "job.yaml"
    path.write_text("\n".join(lines))
    return path


def keys(folder: Path) -> list[str]:
    return sorted(pq.read_table(folder / "out" / "manifest", columns=["image_key"])["image_key"].to_pylist())


def await_images(folder: Path, count: int) -> None:
    limit = time.monotonic() + 240
    while len(list((folder / "out" / "images").glob("*.png"))) < count:
        assert time.monotonic() < limit, "no image was finished"
        time.sleep(0.3)


def submitted(
    tss_ray: Callable[..., tuple[int, str, str]], folder: Path, model: Path, num_images: int
) -> tuple[Path, str]:
    """Submit a job of 40 images, wait until so many are finished, and return its file and id."""
    path = job_file(folder, model, 40, 48, 25)
    code, out, err = tss_ray("submit", path, *SMALL, "--no-wait")
    assert code == 0, err
    await_images(folder, num_images)
    return path, out.strip()


def test_a_job_is_followed_to_its_end_and_its_exit_code_comes_back(
    tss_ray: Callable[..., tuple[int, str, str]], tmp_path: Path, tiny_model_folder: Path
) -> None:
    path = job_file(tmp_path, tiny_model_folder, 3, 24, 2)
    (tmp_path / "in" / "rotten.png").write_bytes(b"rotten")
    code, out, err = tss_ray("submit", path, *SMALL, "--set", "strict=true")
    assert code == 3, out + err
    job_id = out.splitlines()[0]
    assert re.fullmatch(r"raysubmit_\w+", job_id)
    assert "4 inputs" in out
    assert "3 upscaled" in out
    assert keys(tmp_path) == ["000.png", "001.png", "002.png", "rotten.png"]
    code, out, _ = tss_ray("status", job_id)
    assert code == 3
    assert re.search(r"status +failed\b", out)
    code, _, err = tss_ray("status", job_id, RAY_AUTH_TOKEN="b" * 64)
    assert code == 2
    assert "refuses the token" in err
    code, _, err = tss_ray("logs", "raysubmit_nobody")
    assert code == 2
    assert "knows no job" in err


def test_a_job_outlives_a_node_and_ends_on_another_one(
    tss_ray: Callable[..., tuple[int, str, str]], head: Head, tmp_path: Path, tiny_model_folder: Path
) -> None:
    _, job_id = submitted(tss_ray, tmp_path, tiny_model_folder, 3)
    code, out, _ = tss_ray("status", job_id)
    assert code == 0
    assert re.search(r"status +running\b", out), out
    head.lose_node()
    head.add_node()
    assert len(keys(tmp_path)) < 40, "the job had ended before its node was lost"
    code, out, err = tss_ray("logs", job_id, "--follow")
    assert code == 0, out + err
    assert "40 upscaled" in out
    assert keys(tmp_path) == [f"{i:03d}.png" for i in range(40)]
    code, out, err = tss_ray("verify", tmp_path / "out", "--deep")
    assert code == 0, out + err


def test_a_stopped_job_keeps_what_it_has_begun_and_goes_on_when_submitted_again(
    tss_ray: Callable[..., tuple[int, str, str]], tmp_path: Path, tiny_model_folder: Path
) -> None:
    path, job_id = submitted(tss_ray, tmp_path, tiny_model_folder, 1)
    code, _, err = tss_ray("stop", job_id)
    assert (code, err.strip()) == (0, f"{job_id}: stopped")
    assert tss_ray("status", job_id)[0] == 130
    code, out, _ = tss_ray("logs", job_id)
    assert "stopped before the end" in out, "it was killed and not stopped"
    begun = keys(tmp_path)
    assert 0 < len(begun) < 40, "stopped too early or too late to show anything"
    assert {Path(key).stem for key in begun} == {p.stem for p in (tmp_path / "out" / "images").iterdir()}
    code, out, err = tss_ray("submit", path, *SMALL)
    assert code == 0, out + err
    assert f"{len(begun)} of them done before" in out
    assert keys(tmp_path) == [f"{i:03d}.png" for i in range(40)]
    code, out, err = tss_ray("verify", tmp_path / "out", "--deep")
    assert code == 0, out + err
