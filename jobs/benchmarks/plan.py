"""How long `tss-ray plan` takes on a bucket of many small objects, and in what memory.

    python jobs/benchmarks/plan.py [--sizes 10000,100000] [--sample 200] [--scan 2000] [--out out/bench] [--quick]

The protocol
- A real S3 server (SeaweedFS) on loopback holds JPEG files of 32 to 96 px, all of them different crops of the sample
  photographs, 1000 to a prefix. For the next size more are put to those that are there.
- `tss-ray plan s3://…` runs as a process of its own, from its start to its end: listing, scan, ladder, plan, page. It
  starts no others. The server shares the machine with it.
- `seconds_<n>`, `peak_mib_<n>`: wall clock, and the most memory that the process held (ru_maxrss), by number of
  objects. `listing_s_<n>`: of the same listing alone, in this process.
- `quality_<n>`, `device_s_<n>`: half the 95% interval of the predicted score, and of the device-seconds as a share of
  them: what a larger sample buys.

The last line of stdout is one JSON object.
"""

import argparse
import io
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from measured import Row, report
from seaweed import S3Server, seaweed

from tss_ray.spec import StoreSpec
from tss_ray.storage import sample_photos
from tss_ray.storage.inputs import list_inputs

_SIDES_PX = (32, 96)
_PER_PREFIX = 1000
_THREADS = 16
_BUCKET = "many"


def main() -> int:
    """Fill, plan, report, and return the exit code."""
    arguments = _arguments()
    with tempfile.TemporaryDirectory() as name, seaweed(Path(name)) as server:
        server.admin().create_bucket(Bucket=_BUCKET)
        os.environ.update(server.environment())
        filled, rows = 0, []
        for size in arguments.sizes:
            began = time.perf_counter()
            fill(server, range(filled, size))
            filled = size
            print(f"{size} objects, {time.perf_counter() - began:.0f} s to put them", file=sys.stderr)
            rows.append(plan(server, size, arguments, Path(name) / f"plan-{size}"))
            print(rows[-1], file=sys.stderr)
    names = ("seconds", "peak_mib", "listing_s", "quality", "device_s")
    figures = {f"{name}_{row['objects']}": row[name] for row in rows for name in names}
    print(report(arguments.out, "plan", rows, {"sample": arguments.sample} | figures))
    return 0


def fill(server: S3Server, numbers: range) -> None:
    """Put the objects of these numbers."""
    pictures = [sample_photos.reference(name) for name in sample_photos.names()]
    client = server.admin(max_pool_connections=_THREADS)

    def put(number: int) -> None:
        chance = random.Random(number)
        picture = chance.choice(pictures)
        width, height = (chance.randint(*_SIDES_PX) for _ in range(2))
        left, top = chance.randint(0, picture.width - width), chance.randint(0, picture.height - height)
        out = io.BytesIO()
        picture.crop((left, top, left + width, top + height)).save(out, "JPEG", quality=90)
        key = f"{number // _PER_PREFIX:04d}/{number:07d}.jpg"
        client.put_object(Bucket=_BUCKET, Key=key, Body=out.getvalue())

    with ThreadPoolExecutor(_THREADS) as pool:
        for _ in pool.map(put, numbers):
            pass


def plan(server: S3Server, size: int, arguments: argparse.Namespace, out: Path) -> Row:
    """Run the command on everything that is there."""
    began = time.perf_counter()
    num = sum(1 for _ in list_inputs(f"s3://{_BUCKET}", StoreSpec(s3_endpoint_url=server.endpoint_url)))
    listing_s = time.perf_counter() - began
    call = [sys.executable, "-c", "from tss_ray.cli import main; main()", "plan", f"s3://{_BUCKET}"]
    call += ["--s3-endpoint-url", server.endpoint_url, "--out", str(out), "--max-mean-steps", "3"]
    call += ["--scan", str(arguments.scan), "--sample", str(arguments.sample)]
    began = time.perf_counter()
    process = subprocess.Popen(call, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"plan ended with {process.returncode}")
    made = json.loads((out / "plan.json").read_text())
    if not num == size == made["facts"]["num_listed"]:
        sys.exit(f"{size} objects were put, {num} listed, {made['facts']['num_listed']} planned")
    quality, device_s = (made["predicted"][name] for name in ("quality", "device_s"))
    return {
        "objects": size,
        "seconds": seconds,
        "peak_mib": used.ru_maxrss / 1024,
        "listing_s": listing_s,
        "cpu_s": used.ru_utime + used.ru_stime,
        "scan": made["dataset"]["scanned"],
        "sample": made["dataset"]["ran_the_ladder"],
        "quality": (quality["high"] - quality["low"]) / 2,
        "device_s": (device_s["high"] - device_s["low"]) / 2 / device_s["value"],
    }


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Seconds and memory of tss-ray plan on a large bucket.")
    parser.add_argument("--sizes", help="numbers of objects, ascending; default: 10000,100000, quick: 100")
    parser.add_argument("--scan", type=int, default=2000, help="as for tss-ray plan")
    parser.add_argument("--sample", type=int, help="as for tss-ray plan; default: its own, quick: 8")
    parser.add_argument("--out", type=Path, help="folder for plan.parquet and plan.md")
    parser.add_argument("--quick", action="store_true", help="a small run, to see that it works")
    arguments = parser.parse_args()
    arguments.sizes = [int(n) for n in (arguments.sizes or ("100" if arguments.quick else "10000,100000")).split(",")]
    arguments.sample = arguments.sample or (8 if arguments.quick else 200)
    return arguments


if __name__ == "__main__":
    sys.exit(main())
