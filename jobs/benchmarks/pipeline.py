"""The whole job on S3 beside the bare engine on the same images in memory: does the device ever wait for the rest?

    python jobs/benchmarks/pipeline.py [--quick] [--out out/bench] [--images 48] [--px 96] [--rounds 2]

The protocol
- Images are PNG crops of the sample photographs, --px square, in a bucket of a SeaweedFS server that this script
  starts on loopback (or, with --s3-endpoint-url and --bucket, in one that is there). Budget, plans and tiles are a
  job's own.
- `job`: the product's job from bucket to bucket, in a Ray of its own. Its clock runs from the first image begun to the
  last one ended, by the rows. The actor is up before (`with_start_s` has its start too); filling the engine at the
  beginning, its warm-up and the tail are in it.
- `engine`: the same images with the same plans, decoded and in memory, all submitted at once to the same engine with
  as many threads; new in every round, so its warm-up is in it too.
- `side_cpu_s`: CPU seconds of one thread for decoding, scoring, composing and encoding the same images. On a CPU
  machine they come out of the engine's own cores, so `job_vs_engine` counts them apart: (engine + side_cpu_s / cores)
  / job. `job_vs_engine_raw` does not: engine / job. With a GPU the two are one: side work is beside the device, and
  nothing is counted apart.
- Rounds alternate in order; a figure is the median over the rounds of the ratio within a round.

Nothing else on the machine should be busy. The last line of stdout is one JSON object: job_vs_engine,
job_vs_engine_raw, job_images_per_s, side_cpu_share (of the job's core seconds), padding_ratio, mean over images.
"""

import argparse
import contextlib
import io
import os
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch
from measured import Row, alternate, machine, own_ray, ratio, report
from ray.data import DataContext
from seaweed import seaweed

from tss_ray.budget.policy import choose_steps
from tss_ray.engine.device import pick_device, pick_dtype
from tss_ray.engine.state import DenoisedImage, ImageRequest
from tss_ray.engine.thread import EngineThread
from tss_ray.errors import TssRayError
from tss_ray.imaging.decode import decode
from tss_ray.models.registry import load_model
from tss_ray.pipeline.finish import finish
from tss_ray.pipeline.job import run_job
from tss_ray.pipeline.plans import image_request
from tss_ray.pipeline.probe import probe
from tss_ray.pipeline.rows import PreparedImage
from tss_ray.pipeline.upscaler import make_engine
from tss_ray.records import ManifestRow
from tss_ray.spec import JobSpec, load_spec
from tss_ray.storage import sample_photos
from tss_ray.storage.stores import open_store
from tss_ray.storage.uris import join_uri


@dataclass(frozen=True)
class Bench:
    """What both ways run: the spec of the job and its inputs as files."""

    spec: JobSpec
    files: dict[str, bytes]
    use_gpu: bool


def main() -> int:
    """Measure, report, and return the exit code."""
    arguments = _arguments()
    try:
        with _bucket(arguments) as (endpoint, bucket):
            return _measure(arguments, endpoint, bucket)
    except TssRayError as error:
        print(error, file=sys.stderr)
        return error.exit_code


def _measure(arguments: argparse.Namespace, endpoint: str, bucket: str) -> int:
    files = crops(arguments.images, arguments.px)
    prefix = f"s3://{bucket}/{uuid.uuid4().hex[:8]}"
    settings = {
        "input": f"{prefix}/in",
        "output": f"{prefix}/out",
        "model": arguments.model,
        "store.s3_endpoint_url": endpoint,
        "store.s3_addressing": "path",
        "dedupe": False,  # crops of many images may repeat
    }
    if arguments.cpu:
        settings |= {"compute.gpus_per_actor": 0}
    bench = Bench(load_spec(None, settings), files, torch.cuda.is_available() and not arguments.cpu)
    inputs = open_store(bench.spec.input, bench.spec.store)
    for key, data in files.items():
        inputs.write(key, data, "image/png")
    rows: list[Row] = []
    side_cpu_s: list[float] = []

    def job() -> float:
        rows.append(run_one_job(bench, len(rows), arguments.cpus))
        print(rows[-1], file=sys.stderr)
        return float(rows[-1]["seconds"])

    def engine() -> float:
        taken_s, cpu_s = run_engine(bench)
        side_cpu_s.append(cpu_s)
        print(f"engine {taken_s:.2f} s, side {cpu_s:.2f} CPU s", file=sys.stderr)
        return taken_s

    found = alternate({"job": job, "engine": engine}, arguments.rounds)
    cores = machine()["cores"]
    apart = [0.0 if bench.use_gpu else cpu_s / cores for cpu_s in side_cpu_s]
    jobs_s = statistics.median(found["job"])
    figures: Row = {
        "job_vs_engine": ratio([a + b for a, b in zip(found["engine"], apart, strict=True)], found["job"]),
        "job_vs_engine_raw": ratio(found["engine"], found["job"]),
        "job_images_per_s": len(files) / jobs_s,
        "side_cpu_share": statistics.median(side_cpu_s) / cores / jobs_s,
        "padding_ratio": rows[-1]["padding_ratio"],
    }
    rows += [
        {"what": "engine", "images": len(files), "seconds": taken_s, "side_cpu_s": cpu_s}
        for taken_s, cpu_s in zip(found["engine"], side_cpu_s, strict=True)
    ]
    print(report(arguments.out, "pipeline", rows, figures))
    return 0


def crops(num_images: int, px: int) -> dict[str, bytes]:
    """Return PNG files by key: crops of the sample photographs, always the same ones."""
    names, files = sample_photos.names(), {}
    for number in range(num_images):
        photo = sample_photos.reference(names[number % len(names)])
        left, top = 31 * number % (photo.width - px), 17 * number % (photo.height - px)
        out = io.BytesIO()
        photo.crop((left, top, left + px, top + px)).save(out, "PNG")
        files[f"{number:05d}.png"] = out.getvalue()
    return files


def run_one_job(bench: Bench, number: int, cpus: int | None) -> Row:
    """Run the job into an output of its own; return its row."""
    spec = bench.spec.model_copy(update={"output": f"{bench.spec.output}-{number}"})
    began = time.perf_counter()
    DataContext.get_current().wait_for_min_actors_s = 600
    with own_ray(cpus, 300_000_000):
        result = run_job(spec)
    wall_s = time.perf_counter() - began
    assert result.totals.done == len(bench.files), f"{result.totals.done} of {len(bench.files)} images were done"
    store = open_store(join_uri(spec.output, "manifest"), spec.store)
    tables = [pq.read_table(io.BytesIO(store.read(part.key))).to_pylist() for part in store.list()]
    rows = [row for table in tables for row in table]
    taken_s = (max(r["finished_at"] for r in rows) - min(r["started_at"] for r in rows)).total_seconds()
    summed = ("nfe", "device_seconds", "decode_s", "probe_s", "encode_s")
    sums = {name: sum(r[name] or 0 for r in rows) for name in summed}
    ratios = [r["padding_ratio"] for r in rows if r["nfe"]]
    about: Row = {"what": "job", "images": len(rows), "seconds": taken_s, "with_start_s": wall_s}
    return about | sums | {"padding_ratio": statistics.mean(ratios) if ratios else None}


def run_engine(bench: Bench) -> tuple[float, float]:
    """Return the engine's seconds for all images at once, and the CPU seconds of what a job does beside it."""
    spec, device = bench.spec, pick_device(bench.use_gpu)
    model = load_model(spec.model, device, pick_dtype(spec.compute.dtype, device))
    threads = torch.get_num_threads()
    total = model.card.num_timesteps
    side_s, decoded = _on_one_thread(lambda: [_prepare(spec, total, *file) for file in bench.files.items()])
    with EngineThread(make_engine(spec, (model,), device), threads) as engine:
        began = time.perf_counter()
        futures: list[Future[DenoisedImage]] = [engine.submit(request) for request in decoded]
        images = [future.result() for future in futures]
        taken_s = time.perf_counter() - began
    after_s, _ = _on_one_thread(lambda: [_finish(spec, image, model.card.scale) for image in images])
    return taken_s, side_s + after_s


def _prepare(spec: JobSpec, num_timesteps: int, key: str, data: bytes) -> ImageRequest:
    pixels = decode(data, spec.limits.max_input_px).pixels
    num_steps = choose_steps(spec.budget, probe(pixels).texture_score, key)
    return image_request(spec.plan, num_timesteps, key, np.ascontiguousarray(pixels), num_steps, spec.seed)


def _finish(spec: JobSpec, image: DenoisedImage, scale: int) -> int:
    height, width = image.request.lr.shape[:2]
    size = {"out_height": scale * height, "out_width": scale * width}
    row = ManifestRow(image_key=image.request.image_key, input_uri="", spec_hash="0", **size)
    return len(finish(spec, PreparedImage(row, image.request.lr), image, scale).file.data)


def _on_one_thread(work: Callable[[], list[Any]]) -> tuple[float, list[Any]]:
    """Return CPU seconds of this process for `work`, and what it returned."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    began = time.process_time()
    found = work()
    taken_s = time.process_time() - began
    torch.set_num_threads(threads)
    return taken_s, found


@contextlib.contextmanager
def _bucket(arguments: argparse.Namespace) -> Iterator[tuple[str, str]]:
    if arguments.s3_endpoint_url:
        yield arguments.s3_endpoint_url, arguments.bucket
        return
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder, seaweed(Path(folder)) as server:
        os.environ |= server.environment()
        server.admin().create_bucket(Bucket=arguments.bucket)
        yield server.endpoint_url, arguments.bucket


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="The whole job on S3 beside the bare engine.")
    parser.add_argument("--model", default="tss-x4-small", help="embedded name or model folder")
    parser.add_argument("--images", type=int, help="default: 48, quick: 4")
    parser.add_argument("--px", type=int, help="side of an image; default: 96, quick: 32")
    parser.add_argument("--rounds", type=int, help="default: 2, quick: 1")
    parser.add_argument("--cpus", type=int, help="logical CPUs of Ray; default: the machine's cores")
    parser.add_argument("--s3-endpoint-url", help="a server that is there; credentials from boto3's own chain")
    parser.add_argument("--bucket", default="bench", help="made if the server is started here")
    parser.add_argument("--out", type=Path, help="folder for pipeline.parquet and pipeline.md")
    parser.add_argument("--cpu", action="store_true", help="even where there is a GPU")
    parser.add_argument("--quick", action="store_true", help="a small run, to see that it works")
    arguments = parser.parse_args()
    for name, usual, quick in (("images", 48, 4), ("px", 96, 32), ("rounds", 2, 1)):
        if getattr(arguments, name) is None:
            setattr(arguments, name, quick if arguments.quick else usual)
    return arguments


if __name__ == "__main__":
    sys.exit(main())
