"""The command line as a user meets it: another process, its exit code, its two streams."""

import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import ray
from photos import photo_bytes
from PIL import Image

from tss_ray.pipeline.monitor import GRACE_S

pytestmark = pytest.mark.ray

TINY = ["--set", "tiles.tile_px=16", "--set", "tiles.overlap_px=4", "--set", "compute.threads_per_actor=1"]


def tss_ray(*arguments: object) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", "from tss_ray.cli import main; main()", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ)


@contextmanager
def started(output: Path, num_images: int, *arguments: object) -> "Iterator[subprocess.Popen[str]]":
    """Run a job until it has written so many images; end it with the test, whatever that saw."""
    process = tss_ray(*arguments)
    try:
        deadline = time.monotonic() + 120
        while len(list((output / "images").glob("*.png"))) < num_images and process.poll() is None:
            assert time.monotonic() < deadline, f"not {num_images} images within two minutes"
            time.sleep(0.1)
        yield process
    finally:
        process.kill()
        process.communicate()


def run(*arguments: object) -> tuple[int, str, str]:
    process = tss_ray(*arguments)
    out, err = process.communicate(timeout=200)
    return process.returncode, out, err


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "in"
    folder.mkdir()
    for i in range(4):
        (folder / f"{i}.png").write_bytes(photo_bytes(i, 24, 20))
    return folder


@pytest.mark.parametrize(
    ("arguments", "remedy"),
    [
        (["no-such-folder", "out"], "no-such-folder"),
        (["{in}", "{in}/out"], "output"),
        (["{in}", "out", "--set", "plan.m=3"], "no such setting"),
        (["{in}", "out", "--set", "tiles.overlap_px=60"], "lower tiles.overlap_px"),
        (["{in}", "out", "--model", "no-such-model"], "give a model folder"),
        (["{in}", "out", "--spec", "no-such.yaml"], "correct the file"),
        (
            ["{in}", "s3://bucket/x", "--s3-endpoint-url", "http://127.0.0.1:9", "--set", "store.max_attempts=1"],
            "127.0.0.1:9",
        ),
        (["{in}"], "output: missing"),
    ],
)
def test_a_wrong_call_ends_at_once_with_2_and_a_remedy(
    photos: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], remedy: str
) -> None:
    monkeypatch.chdir(photos.parent)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "nobody")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "nothing")
    code, out, err = run("upscale", *(a.replace("{in}", str(photos)) for a in arguments))
    assert code == 2
    assert remedy in err
    assert "Traceback" not in err
    assert not out
    assert not (photos.parent / "out" / "manifest").exists()


def test_a_pipe_gets_the_closing_table_and_standard_error_stays_quiet(
    photos: Path, tmp_path: Path, tiny_model_folder: Path
) -> None:
    (photos / "rotten.png").write_bytes(b"rotten")
    code, out, err = run("upscale", photos, tmp_path / "out", "--model", tiny_model_folder, *TINY, "--strict")
    assert code == 3, err
    assert "4 upscaled" in out
    assert str(tmp_path / "out" / "manifest") in out.replace("\n", "")
    assert "\x1b" not in out + err
    assert len(err.splitlines()) <= 3, err
    assert "1 inputs were quarantined" in err


def test_a_running_cluster_is_used_and_left_running(
    cluster: None, photos: Path, tmp_path: Path, tiny_model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", ray.get_runtime_context().gcs_address)
    monkeypatch.chdir(tmp_path)
    code, _, err = run("upscale", "in", "out", "--model", tiny_model_folder, *TINY)
    assert code == 0, err
    assert len(list((tmp_path / "out" / "images").iterdir())) == 4
    assert ray.cluster_resources()["CPU"] == 4


def test_a_stopped_run_keeps_what_is_done_and_goes_on_later(tmp_path: Path, tiny_model_folder: Path) -> None:
    photos, output = tmp_path / "in", tmp_path / "out"
    photos.mkdir()
    for i in range(32):
        (photos / f"{i:03d}.png").write_bytes(photo_bytes(i, 64, 64))
    call = ["upscale", photos, output, "--model", tiny_model_folder, "--steps", 25, *TINY]
    call += ["--set", "compute.block_images=4", "--set", "compute.part_rows=4"]
    with started(output, 1, *call) as process:
        process.send_signal(signal.SIGINT)  # SIGTERM stops the next test's run
        asked = time.monotonic()
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert time.monotonic() - asked < 30
    rows = pq.read_table(output / "manifest", columns=["image_key", "status"]).to_pylist()
    assert 0 < len(rows) < 32, "the run was stopped too early or too late to show anything"
    assert {f"{Path(r['image_key']).stem}.png" for r in rows} == {p.name for p in (output / "images").iterdir()}
    code, _, err = run(*call)
    assert code == 0, err
    keys = pq.read_table(output / "manifest", columns=["image_key"])["image_key"].to_pylist()
    assert sorted(keys) == [f"{i:03d}.png" for i in range(32)]


def test_a_stop_waits_half_a_minute_at_most_and_keeps_what_is_finished(tmp_path: Path, tiny_model_folder: Path) -> None:
    photos, output = tmp_path / "in", tmp_path / "out"
    photos.mkdir()
    small = [f"{i}.png" for i in range(6)]
    for i, name in enumerate(small):
        (photos / name).write_bytes(photo_bytes(i, 24, 20))
    with Image.open(io.BytesIO(photo_bytes(1, 200, 200))) as photo:
        photo.resize((1600, 1600)).save(photos / "of-minutes.png")
    call = ["upscale", photos, output, "--model", tiny_model_folder, "--steps", 25, *TINY]
    with started(output, 3, *call, "--set", "compute.actors=1") as process:
        time.sleep(3)  # the large one is read by now, and before the engine
        process.terminate()
        asked = time.monotonic()
        _, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    assert GRACE_S < time.monotonic() - asked < 30, "nothing was waited for, or too long"
    kept = sorted(pq.read_table(output / "manifest", columns=["image_key"])["image_key"].to_pylist())
    assert kept == sorted(path.name for path in (output / "images").iterdir())
    assert len(kept) >= 3
    assert set(kept) <= set(small)
