"""What everything but the model costs: list, fetch, decode, score, enlarge, encode, upload, rows; and its memory.

    python jobs/benchmarks/dataplane.py [--quick] [--out out/bench] [--sizes 1000,10000,100000] [--list-keys 1000000]

The protocol
- The product's job with 0 steps for every image: the model is loaded and never run, so an image is listed, fetched,
  decoded, scored, enlarged by bicubic, encoded as PNG and written, and gets its row.
- Inputs are PNG files of 32×32 px in a local folder, crops of the sample photographs under many names.
- `images_per_s_per_core`: images / seconds / cores of the largest size, from the first image begun to the last ended:
  starting Ray and its workers is not in it (`with_start_s` is).
- `peak_mib_*`: the most that the driver and every process of Ray held together, pages that they share counted once;
  the object store is part of it. Looked at once a second.
- `list_keys_per_s`, `list_peak_mib` (--list-keys): writing a key list of so many made-up keys, without Ray; 0: not.

By default 1k and 3k images and 100k keys; larger sizes by option. The last line of stdout is one JSON object:
images_per_s_per_core, peak_mib_1k, peak_mib_10k, peak_mib_100k, peak_mib_growth (of the largest size against the
smallest), list_keys_per_s, list_peak_mib; null is what was not measured.
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pyarrow.parquet as pq
from measured import Peak, Row, machine, own_ray, report

from tss_ray.spec import StoreSpec, load_spec
from tss_ray.storage import sample_photos
from tss_ray.storage.inputs import InputItem
from tss_ray.storage.key_list import write_key_list
from tss_ray.storage.stores import open_store

_PX, _DISTINCT, _PER_FOLDER = 32, 64, 1000
_NO_STEPS: Mapping[str, object] = {"budget.policy": "fixed", "budget.num_steps": 0}


def main() -> int:
    """Measure, report, and return the exit code."""
    arguments = _arguments()
    rows = [run_images(size, arguments.model, arguments.cpus) for size in arguments.sizes]
    listing = list_keys(arguments.list_keys) if arguments.list_keys else None
    peaks = {row["images"]: row["peak_mib"] for row in rows}
    largest = max(rows, key=lambda row: int(row["images"]))
    figures: Row = {
        "images_per_s_per_core": largest["images_per_s"] / machine()["cores"],
        **{f"peak_mib_{size // 1000}k": peaks.get(size) for size in (1000, 10_000, 100_000)},
        "peak_mib_growth": peaks[max(peaks)] / peaks[min(peaks)],
        "list_keys_per_s": listing and listing["images_per_s"],
        "list_peak_mib": listing and listing["peak_mib"],
    }
    print(report(arguments.out, "dataplane", rows + ([listing] if listing else []), figures))
    return 0


def run_images(
    num_images: int,
    model: str,
    cpus: int | None,
    write: Callable[[Path, int], None] | None = None,
    budget: Mapping[str, object] = _NO_STEPS,
) -> Row:
    """Run the product's job over so many images, of no steps and as `write_images` writes them if not told."""
    from tss_ray.pipeline.job import run_job

    with tempfile.TemporaryDirectory() as folder:
        (write or write_images)(Path(folder) / "in", num_images)
        settings = {"model": model, "dedupe": False, **budget}  # links are copies
        spec = load_spec(None, {"input": f"{folder}/in", "output": f"{folder}/out"} | settings)
        began = time.perf_counter()
        with Peak() as peak, own_ray(cpus, 200_000_000):
            result = run_job(spec)
        wall_s = time.perf_counter() - began
        assert result.complete, f"{num_images} images, of which {result.totals.done} done"
        times = pq.read_table(f"{folder}/out/manifest", columns=["started_at", "finished_at"])
    taken_s = (max(times["finished_at"].to_pylist()) - min(times["started_at"].to_pylist())).total_seconds()
    row: Row = {"what": "images", "images": num_images, "seconds": taken_s, "with_start_s": wall_s}
    row |= {"images_per_s": num_images / taken_s, "peak_mib": peak.most}
    print(row, file=sys.stderr)
    return row


def write_images(folder: Path, num_images: int) -> None:
    """Write PNG files under many names: a few are distinct, the others are links to them."""
    names = sample_photos.names()
    for number in range(num_images):
        path = folder / f"{number // _PER_FOLDER:04d}" / f"{number:07d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        if number < _DISTINCT:
            photo = sample_photos.reference(names[number % len(names)])
            left, top = (13 * number) % (photo.width - _PX), (7 * number) % (photo.height - _PX)
            photo.crop((left, top, left + _PX, top + _PX)).save(path)
        else:
            os.link(folder / "0000" / f"{number % _DISTINCT:07d}.png", path)


def list_keys(num_keys: int) -> Row:
    """Write a key list of so many made-up keys."""

    def items() -> Iterator[InputItem]:
        for number in range(num_keys):
            key = f"{number // 10_000:06d}/{number:010d}.png"
            yield InputItem(key, f"s3://bucket/prefix/{key}", 50_000)

    with tempfile.TemporaryDirectory() as folder, Peak(every_s=0.2) as peak:
        began = time.perf_counter()
        found = write_key_list(open_store(folder, StoreSpec()), "0", "png", items, lambda key: False, together=True)
        taken_s = time.perf_counter() - began
    assert found.num_todo == num_keys
    about: Row = {"what": "listing", "images": num_keys, "seconds": taken_s, "with_start_s": taken_s}
    return about | {"images_per_s": num_keys / taken_s, "peak_mib": peak.most}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Images per second and memory without a model.")
    parser.add_argument("--sizes", help="numbers of images; default: 1000,3000, quick: 50")
    parser.add_argument("--list-keys", type=int, help="default: 100000, quick: 5000")
    parser.add_argument("--model", default="tss-x4-small", help="loaded, not run")
    parser.add_argument("--cpus", type=int, help="logical CPUs of Ray; default: the machine's cores")
    parser.add_argument("--out", type=Path, help="folder for dataplane.parquet and dataplane.md")
    parser.add_argument("--quick", action="store_true", help="a small run, to see that it works")
    arguments = parser.parse_args()
    arguments.sizes = [int(n) for n in (arguments.sizes or ("50" if arguments.quick else "1000,3000")).split(",")]
    if arguments.list_keys is None:
        arguments.list_keys = 5000 if arguments.quick else 100_000
    return arguments


if __name__ == "__main__":
    sys.exit(main())
