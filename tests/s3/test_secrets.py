"""Credentials stay where boto3 finds them: nothing that a run leaves behind holds any."""

import io
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

import pyarrow.parquet as pq
import pytest
from photos import photo_bytes

pytestmark = [pytest.mark.s3, pytest.mark.ray, pytest.mark.timeout(900)]

PLANTED = {"HF_TOKEN": "hf_planted0token", "RAY_PLANTED_SECRET": "planted1ray", "AWS_PLANTED": "planted2aws"}


class Server(Protocol):
    endpoint_url: str
    access_key: str
    secret_key: str

    def admin(self) -> object: ...


def profile(folder: Path, secret: str, access_key: str) -> Path:
    path = folder / "credentials"
    path.write_text(f"[planted]\naws_access_key_id = {access_key}\naws_secret_access_key = {secret}\n")
    return path


def upscale(
    bucket: str, server: Server, environment: dict[str, str], *more: object
) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-c", "from tss_ray.cli import main; main()", "upscale"]
    command += [f"s3://{bucket}/lr", f"s3://{bucket}/sr", "--s3-endpoint-url", server.endpoint_url]
    command += ["--set", "store.s3_addressing=path", "--set", "store.max_attempts=2", *map(str, more)]
    return subprocess.run(command, capture_output=True, text=True, timeout=600, env=environment, check=False)


@pytest.fixture
def session() -> Iterator[Path]:
    """A folder for Ray's session and its logs; below the system's own, since sockets have short names."""
    with tempfile.TemporaryDirectory(prefix="tss-") as folder:
        yield Path(folder)


def environment_of(credentials: Path, session: Path) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if k not in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")}
    kept |= {"AWS_PROFILE": "planted", "AWS_SHARED_CREDENTIALS_FILE": str(credentials)}
    return kept | PLANTED | {"RAY_TMPDIR": str(session)}


def texts(bucket: str, server: Server, session: Path) -> Iterator[tuple[str, str]]:
    """Yield every artefact of a run as text: objects (Parquet as its rows), and the files of Ray's session."""
    client = server.admin()
    for item in client.list_objects_v2(Bucket=bucket)["Contents"]:
        data = client.get_object(Bucket=bucket, Key=item["Key"])["Body"].read()
        if item["Key"].endswith(".parquet"):
            yield item["Key"], str(pq.read_table(io.BytesIO(data)).to_pylist())
        yield item["Key"], data.decode("latin-1")
    for path in session.rglob("*"):
        if path.is_file() and not path.is_symlink():
            yield str(path.relative_to(session)), path.read_bytes().decode("latin-1")


def test_nothing_that_a_run_leaves_behind_holds_a_secret(
    make_bucket: Callable[[], str], s3_server: Server, session: Path, tmp_path: Path, tiny_model_folder: Path
) -> None:
    bucket = make_bucket()
    for i in range(3):
        s3_server.admin().put_object(Bucket=bucket, Key=f"lr/{i}.png", Body=photo_bytes(i, 20, 20))
    s3_server.admin().put_object(Bucket=bucket, Key="lr/rotten.png", Body=b"rotten")
    environment = environment_of(profile(tmp_path, s3_server.secret_key, s3_server.access_key), session)
    settings = ["--model", tiny_model_folder, "--set", "tiles.tile_px=16", "--set", "tiles.overlap_px=4"]
    done = upscale(bucket, s3_server, environment, *settings, "--set", "compute.threads_per_actor=1")
    assert done.returncode == 0, done.stderr
    artefacts = [("stdout", done.stdout), ("stderr", done.stderr), *texts(bucket, s3_server, session)]
    names = " ".join(name for name, _ in artefacts)
    assert all(part in names for part in ("sr/run/spec.json", "sr/manifest/part-", "/keys-", "logs/"))
    for name, text in artefacts:
        for secret in (s3_server.secret_key, *PLANTED.values()):
            assert secret not in text, f"{name} holds {secret}"


def test_refused_credentials_are_not_repeated(
    make_bucket: Callable[[], str], s3_server: Server, session: Path, tmp_path: Path
) -> None:
    environment = environment_of(profile(tmp_path, "wrong-planted-secret", s3_server.access_key), session)
    done = upscale(make_bucket(), s3_server, environment)
    assert done.returncode == 2
    assert "error:" in done.stderr
    assert "planted" not in done.stdout + done.stderr
