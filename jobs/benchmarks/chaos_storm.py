"""One storm: a data set, a job that is killed again and again, and what is left compared with a calm run."""

import hashlib
import io
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from chaos_cluster import ChaosCluster, Killer
from chaos_proxy import ChaosProxy
from poison_files import kills_the_decoder, kills_the_model
from seaweed import S3Server

from tss_ray.storage import sample_photos

ROOT = Path(__file__).parents[2]
_FORMATS = (("png", "PNG"), ("jpg", "JPEG"), ("webp", "WEBP"))
_SMALL = {
    "tiles.tile_px": 16,
    "tiles.overlap_px": 4,
    "compute.threads_per_actor": 1,
    "compute.block_images": 8,
    "compute.part_rows": 8,
    "store.s3_addressing": "path",
    "store.s3_region": "us-east-1",
}

Objects = dict[str, bytes]


def data_set(num_images: int, chance: random.Random, poison: bool) -> Objects:
    """Return small photographs of mixed sizes and formats; with `poison` also rotten files and such as kill."""
    names = sample_photos.names()
    files: Objects = {}
    for i in range(num_images):
        photo = sample_photos.reference(names[i % len(names)])
        width, height = chance.randrange(8, 33), chance.randrange(8, 33)
        left, top = chance.randrange(photo.width - width), chance.randrange(photo.height - height)
        extension, image_format = _FORMATS[i % 3]
        file = io.BytesIO()
        photo.crop((left, top, left + width, top + height)).save(file, image_format)
        files[f"set {i % 5}/ü+{i:04d}%20.{extension}"] = file.getvalue()
    if poison:
        first, *_ = files.values()
        files |= {"rotten/zero.png": b"", "rotten/cut.png": first[:100], "set 0/text.png": b"no image"}
        files |= {"set 1/decoder.png": kills_the_decoder(first), "set 2/model.png": kills_the_model()}
    return files


EXPECTED_KINDS = {
    "rotten/zero.png": "empty",
    "rotten/cut.png": "corrupt",
    "set 0/text.png": "not_an_image",
    "set 1/decoder.png": "worker_killed",
    "set 2/model.png": "worker_killed",
}


@dataclass(frozen=True)
class Rig:
    """Where storms are made."""

    server: S3Server
    proxy: ChaosProxy
    cluster: ChaosCluster
    limit_s: float
    """A run that takes longer hangs."""

    def bucket(self, name: str, files: Objects | None = None) -> str:
        """Make a bucket and put files under `in/`."""
        admin = self.server.admin()
        admin.create_bucket(Bucket=name)
        for key, data in (files or {}).items():
            admin.put_object(Bucket=name, Key=f"in/{key}", Body=data)
        return name

    def start(self, bucket: str, target: str, *options: str) -> "subprocess.Popen[str]":
        """Start the command; the same one every time but for options."""
        call = [sys.executable, "-c", "from tss_ray.cli import main; main()", "upscale"]
        call += [f"s3://{bucket}/in", f"s3://{bucket}/{target}", "--steps", "1", "--s3-endpoint-url", self.proxy.url]
        call += options
        for name, value in _SMALL.items():
            call += ["--set", f"{name}={value}"]
        environment = {**os.environ, "RAY_ADDRESS": self.cluster.address}
        return subprocess.Popen(
            call, cwd=ROOT, env=environment, text=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )

    def run(self, bucket: str, target: str, *options: str) -> float:
        """Run the command to its end and return its seconds. Anything but an end with code 0 ends the benchmark."""
        began = time.monotonic()
        process = self.start(bucket, target, *options)
        try:
            _, told = process.communicate(timeout=self.limit_s)
        except subprocess.TimeoutExpired:
            process.kill()
            sys.exit(f"the run hangs: no end within {self.limit_s:.0f} s; see Ray's session folder, or raise --limit-s")
        if process.returncode:
            sys.exit(f"the run ended with {process.returncode}:\n{told[-3000:]}")
        return time.monotonic() - began


@dataclass
class Outcome:
    """What a storm left. All but `redone` and the counts of kills must be zero."""

    images: int = 0
    lost: int = 0
    duplicated: int = 0
    mismatched: int = 0
    redone: int = 0
    """Objects of images that were stored again."""
    driver_kills: int = 0
    kills: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)


def storm(rig: Rig, name: str, num_images: int, driver_kills: int, share: float, chance: random.Random) -> Outcome:
    """Run under faults and kills, the driver's too, until nothing is left to do; then compare with a calm run.

    Raises nothing on losses: they are counted.
    """
    files = data_set(num_images, chance, poison=True)
    bucket = rig.bucket(name, files)
    calm = {key: data for key, data in files.items() if EXPECTED_KINDS.get(key) != "worker_killed"}
    calm_bucket = rig.bucket(f"{name}-calm", calm)
    rig.run(calm_bucket, "out")
    rig.proxy.share = share
    killer, killed_drivers = Killer(rig.cluster, chance, (2.0, 8.0)), 0
    while killed_drivers < driver_kills and _is_killed(rig, killer, bucket, chance):
        killed_drivers += 1
    # the last start is killed no more, but its workers are for a while yet
    process = rig.start(bucket, "out")
    killer.rage(process, chance.uniform(5, 20))
    rig.proxy.share = 0.0
    _, told = process.communicate(timeout=rig.limit_s)
    if process.returncode:
        sys.exit(f"the run ended with {process.returncode}:\n{told[-3000:]}")
    outcome = compare(rig.server, bucket, files, calm_bucket)
    outcome.redone, outcome.driver_kills, outcome.kills = _redone(rig.proxy, bucket), killed_drivers, killer.killed
    before = _stored(rig.proxy, bucket)
    rig.run(bucket, "out")
    if _stored(rig.proxy, bucket) != before:
        outcome.complaints.append("a finished run, started again, stored something")
    return outcome


def _stored(proxy: ChaosProxy, bucket: str) -> dict[str, int]:
    """Return how often each image and each part of the manifest was stored."""
    ours = (f"/{bucket}/out/images/", f"/{bucket}/out/manifest/")
    return {path: count for path, count in proxy.stored.items() if path.startswith(ours)}


def _redone(proxy: ChaosProxy, bucket: str) -> int:
    return sum(count - 1 for path, count in _stored(proxy, bucket).items() if "/out/images/" in path)


def _is_killed(rig: Rig, killer: Killer, bucket: str, chance: random.Random) -> bool:
    """Start the run and kill its driver at a moment by chance; False if it ended before."""
    process = rig.start(bucket, "out")
    ended = killer.rage(process, chance.uniform(3, 40))
    if not ended:
        process.send_signal(signal.SIGKILL)
    process.communicate()
    return not ended


def compare(server: S3Server, bucket: str, files: Objects, calm_bucket: str) -> Outcome:
    """Hold rows against inputs, objects against rows, and both against the calm run's."""
    rows, objects = _rows(server, bucket), _objects(server, bucket, "out/images/")
    calm = {row["image_key"]: row for row in _rows(server, calm_bucket)}
    by_key = {row["image_key"]: row for row in rows}
    outcome = Outcome(images=len(files), duplicated=len(rows) - len(by_key), lost=len(files.keys() - by_key.keys()))
    for key, row in by_key.items():
        wrong = _wrong(row, calm.get(key), objects)
        if wrong is not None or key not in files:
            outcome.mismatched += 1
            outcome.complaints.append(f"{key}: {wrong or 'nobody asked for it'}")
    unknown = objects.keys() - {_object_key(row) for row in rows}
    outcome.mismatched += len(unknown)
    outcome.complaints += [f"{name}: no row knows of it" for name in sorted(unknown)]
    strangers = {
        name
        for name in _objects(server, bucket, "")
        if not name.startswith(("in/", "out/images/", "out/manifest/", "out/run/"))
    }
    outcome.complaints += [f"{name}: written outside the output" for name in sorted(strangers)]
    return outcome


def _wrong(row: dict[str, Any], calm: dict[str, Any] | None, objects: dict[str, str]) -> str | None:
    """Return what is wrong with a row, or None."""
    kind = EXPECTED_KINDS.get(row["image_key"])
    if row["error_kind"] != kind:
        return f"{row['error_kind']} ({row['error_message']}) and not {kind}"
    if row["status"] == "quarantined":
        return None
    if calm is None or calm["output_sha256"] != row["output_sha256"]:
        return "other bytes than in a calm run"
    held = objects.get(_object_key(row) or "")
    return None if held == row["output_sha256"] else "its object is missing, or not what the row says"


def _object_key(row: dict[str, Any]) -> str | None:
    uri = row["output_uri"]
    return None if uri is None else uri.removeprefix("s3://").partition("/")[2]


def _rows(server: S3Server, bucket: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    columns = ["image_key", "status", "error_kind", "error_message", "output_uri", "output_sha256"]
    for data in _read(server, bucket, "out/manifest/").values():
        rows += pq.read_table(io.BytesIO(data), columns=columns).to_pylist()
    return rows


def _objects(server: S3Server, bucket: str, prefix: str) -> dict[str, str]:
    """Return sha256 by key of what lies under a prefix."""
    return {key: hashlib.sha256(data).hexdigest() for key, data in _read(server, bucket, prefix).items()}


def _read(server: S3Server, bucket: str, prefix: str) -> Objects:
    admin = server.admin()
    pages = admin.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    keys = [entry["Key"] for page in pages for entry in page.get("Contents", [])]
    return {key: admin.get_object(Bucket=bucket, Key=key)["Body"].read() for key in keys}
