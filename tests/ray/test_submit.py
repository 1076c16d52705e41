"""`tss-ray submit` and its siblings against a real head with a dashboard and a token, as another process each."""

import os
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from photos import photo_bytes

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(1200)]

_LIMIT_S = 500
SMALL = ["--set", "tiles.tile_px=16", "--set", "tiles.overlap_px=4", "--set", "compute.threads_per_actor=1"]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What head and client share: a token of their own, and this Python first on the path."""
    folder = tmp_path_factory.mktemp("token")
    (folder / "token").write_text("a" * 64)
    kept = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")}
    paths = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(folder / "token")}
    return kept | token | {"PATH": paths, "RAY_raylet_start_wait_time_s": "300"}


HEAD = """
import signal, sys
from ray.cluster_utils import Cluster
dashboard, metrics, listen, environments = map(int, sys.argv[2:])
head = {"num_cpus": 2, "object_store_memory": 100_000_000, "temp_dir": sys.argv[1], "include_dashboard": True}
head |= {"dashboard_host": "127.0.0.1", "dashboard_port": dashboard, "dashboard_agent_listen_port": listen}
head |= {"metrics_agent_port": metrics, "runtime_env_agent_port": environments}
cluster = Cluster(initialize_head=True, head_node_args=head)
print("the head is up", flush=True)
signal.sigwait([signal.SIGTERM])
cluster.shutdown()
"""
"""What `ray start --head` starts, less the server of Ray Client, and ending with its process. The agent's ports are
given: Ray waits 15 s for those that it finds itself, which a busy machine may not have."""


@pytest.fixture(scope="module")
def address(environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The dashboard's address of a head on loopback. Its session has a folder of its own: jobs look there for it."""
    ports = [free_port() for _ in range(4)]
    log = tmp_path_factory.mktemp("head") / "log"
    with tempfile.TemporaryDirectory(prefix="tss-", ignore_cleanup_errors=True) as session, log.open("wb") as out:
        command = [sys.executable, "-c", HEAD, session, *map(str, ports)]
        head = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, env=environment)
        try:
            limit = time.monotonic() + _LIMIT_S
            while (
                head.poll() is None
                and time.monotonic() < limit
                and "the head is up" not in log.read_text(errors="replace")
            ):
                time.sleep(1)
            assert "the head is up" in log.read_text(errors="replace"), log.read_text(errors="replace")[-3000:]
            yield f"http://127.0.0.1:{ports[0]}"
        finally:
            head.terminate()
            head.wait(60)


def tss_ray(environment: dict[str, str], *arguments: object) -> tuple[int, str, str]:
    command = [sys.executable, "-c", "from tss_ray.cli import main; main()", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=_LIMIT_S, check=False)
    return done.returncode, done.stdout, done.stderr


def job_file(folder: Path, model: Path, num_images: int, side: int, steps: int) -> Path:
    (folder / "in").mkdir()
    for i in range(num_images):
        (folder / "in" / f"{i:03d}.png").write_bytes(photo_bytes(i, side, side))
    lines = [f"input: {folder}/in", f"output: {folder}/out", f"model: {model}"]
    lines += [f"budget: {{policy: fixed, num_steps: {steps}}}", "compute: {block_images: 2, part_rows: 2}"]
    path = folder / "job.yaml"
    path.write_text("\n".join(lines))
    return path


def keys(folder: Path) -> list[str]:
    return sorted(pq.read_table(folder / "out" / "manifest", columns=["image_key"])["image_key"].to_pylist())


def test_a_job_is_followed_to_its_end_and_its_exit_code_comes_back(
    environment: dict[str, str], address: str, tmp_path: Path, tiny_model_folder: Path
) -> None:
    path = job_file(tmp_path, tiny_model_folder, 3, 24, 2)
    (tmp_path / "in" / "rotten.png").write_bytes(b"rotten")
    code, out, err = tss_ray(environment, "submit", path, "--address", address, *SMALL, "--set", "strict=true")
    assert code == 3, out + err
    job_id = out.splitlines()[0]
    assert re.fullmatch(r"raysubmit_\w+", job_id)
    assert "4 inputs" in out
    assert "3 upscaled" in out
    assert keys(tmp_path) == ["000.png", "001.png", "002.png", "rotten.png"]
    code, out, _ = tss_ray(environment, "status", job_id, "--address", address)
    assert code == 3
    assert re.search(r"status +failed\b", out)
    refused = environment | {"RAY_AUTH_TOKEN": "b" * 64}
    code, _, err = tss_ray(refused, "status", job_id, "--address", address)
    assert code == 2
    assert "refuses the token" in err
    code, _, err = tss_ray(environment, "logs", "raysubmit_nobody", "--address", address)
    assert code == 2
    assert "knows no job" in err


def test_a_stopped_job_keeps_what_it_has_begun_and_goes_on_when_submitted_again(
    environment: dict[str, str], address: str, tmp_path: Path, tiny_model_folder: Path
) -> None:
    path = job_file(tmp_path, tiny_model_folder, 24, 48, 25)
    code, out, err = tss_ray(environment, "submit", path, "--address", address, *SMALL, "--no-wait")
    assert code == 0, err
    job_id = out.strip()
    limit = time.monotonic() + 400
    while not list((tmp_path / "out" / "images").glob("*.png")) and time.monotonic() < limit:
        time.sleep(0.5)
    code, _, err = tss_ray(environment, "stop", job_id, "--address", address)
    assert (code, err.strip()) == (0, f"{job_id}: stopped")
    assert tss_ray(environment, "status", job_id, "--address", address)[0] == 130
    code, out, _ = tss_ray(environment, "logs", job_id, "--address", address)
    assert "stopped before the end" in out, "it was killed and not stopped"
    begun = keys(tmp_path)
    assert 0 < len(begun) < 24, "stopped too early or too late to show anything"
    assert {Path(key).stem for key in begun} == {p.stem for p in (tmp_path / "out" / "images").iterdir()}
    code, out, err = tss_ray(environment, "submit", path, "--address", address, *SMALL)
    assert code == 0, out + err
    assert f"{len(begun)} of them done before" in out
    assert keys(tmp_path) == [f"{i:03d}.png" for i in range(24)]
