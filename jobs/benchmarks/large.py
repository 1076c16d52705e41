"""What memory a large image takes: peak by size, and its slope per million px and per px of width.

    python jobs/benchmarks/large.py [--steps 0] [--sizes 1024x8192,1024x16384,4096x4096] [--format png] [--model FOLDER]
    python jobs/benchmarks/large.py --sizes 20000x20000 --steps 0 --format tiff --keep FOLDER

The protocol
- An input is a PNG of a slope in both axes with grain, width×height px. The job's own parts take it without Ray, in a
  process of its own: prepare (fetch, decode, look), then the actor's streaming (read again, decode in a child, engine,
  composition, encoding, a local folder). Everything is streamed, whatever its size.
- With --steps 1 and more the network is run. What an image holds does not depend on which: a small one is quicker
  (--model; --tiny writes one of random weights for it).
- `peak_mib`: the most that the process and its child held together, mapped files included, looked at ten times a
  second; `grown_mib` is it less what the process held before the image (the model loaded, a small image done).
- Up to 4 million px the probe is whole and float, and a PNG of up to 100 MB is deflated at once: for the slope of
  streaming itself take larger inputs, and --format tiff.
- `mib_per_megapixel`, `mib_per_1000_px_width`, `fixed_mib`: least squares over the sizes; null for fewer than three.

With --keep the input and the result of the last size stay in a folder, for another reader to look at.

The last line of stdout is one JSON object: those three, and grown_mib by size.
"""

import argparse
import hashlib
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from measured import Peak, Row, own_mib, report
from PIL import Image
from safetensors.torch import save_file

from tss_ray.engine.device import pick_device
from tss_ray.engine.thread import EngineThread
from tss_ray.imaging.decode import decode
from tss_ray.models.card import CARD_FILE, WEIGHTS_FILE, UNetShape
from tss_ray.models.registry import load_model
from tss_ray.models.residual_unet import build_unet
from tss_ray.pipeline.model import JobCards
from tss_ray.pipeline.prepare import Prepare
from tss_ray.pipeline.streamer import Streamer
from tss_ray.pipeline.upscaler import make_engine
from tss_ray.spec import load_spec
from tss_ray.storage.stores import open_store


class _Never:
    overdue = False

    def __bool__(self) -> bool:
        return False


def main() -> int:
    """Measure, report, and return the exit code."""
    arguments = _arguments()
    if arguments.one:
        print(json.dumps(measure(*_size(arguments.one), arguments)))
        return 0
    rows = []
    for size in arguments.sizes.split(","):
        command = [sys.executable, __file__, "--one", size, "--steps", str(arguments.steps)]
        command += ["--format", arguments.format, "--model", arguments.model, "--scale", str(arguments.scale)]
        command += ["--tiny"] if arguments.tiny else []
        command += ["--keep", str(arguments.keep)] if arguments.keep else []
        rows.append(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
        print(rows[-1], file=sys.stderr)
    print(report(arguments.out, "large", rows, figures(rows)))
    return 0


def measure(width: int, height: int, arguments: argparse.Namespace) -> Row:
    """Take one image through the job's parts; return a row."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as temporary:
        folder = str(arguments.keep or temporary)
        name = str(write_tiny(Path(temporary, "tiny"))) if arguments.tiny else arguments.model
        settings = {"model": name, "encode.format": arguments.format, "large.from_px": 1, "scale": arguments.scale}
        settings |= {"budget.policy": "fixed", "budget.num_steps": arguments.steps}
        settings |= {"limits.max_input_px": max(64, width * height), "compute.max_batch": 4}
        settings |= {"limits.max_input_bytes": 4 * max(64, width * height)}
        spec = load_spec(None, {"input": folder, "output": f"{folder}/out"} | settings)
        device = pick_device(False)
        model = load_model(spec.model, device, torch.float32)
        with EngineThread(make_engine(spec, (model,), device), 1) as engine:
            output = open_store(spec.output, spec.store)
            streamer = Streamer(spec, engine, JobCards(model.card), output, _Never(), lambda row, denoised: row)
            for size in ((64, 64), (width, height)):
                path = Path(folder) / "a.png"
                write_slope(path, *size)
                before, began = own_mib(), time.perf_counter()
                with Peak(every_s=0.1) as peak:
                    image = Prepare(spec, "0", None).prepare({"image_key": "a.png", "uri": str(path)}, decode)
                    row = streamer.upscale(image)
                assert row is not None
                assert row.status == "done", row.error_message
    return {
        "size": f"{width}x{height}",
        "megapixels": width * height / 1e6,
        "width": width,
        "seconds": time.perf_counter() - began,
        "peak_mib": peak.most,
        "grown_mib": peak.most - before,
        "output_mib": (row.output_bytes or 0) / 2**20,
    }


def write_slope(path: Path, width: int, height: int) -> None:
    """Write a PNG of slopes with grain."""
    rng = np.random.default_rng(0)
    image = Image.new("RGB", (width, height))
    across = np.linspace(20, 200, width).astype(np.uint8)
    for top in range(0, height, 256):
        rows = min(256, height - top)
        down = np.linspace(0, 50, height)[top : top + rows].astype(np.uint8)
        band = np.stack(
            [across[None] + down[:, None], across[None] + 0 * down[:, None], 255 - across[None] - down[:, None]], 2
        )
        grain = rng.integers(-3, 4, (rows, width, 3), np.int8)  # within what uint8 leaves free on either side
        image.paste(Image.fromarray((band + grain.view(np.uint8)).astype(np.uint8)), (0, top))
    image.save(path, compress_level=1)


def write_tiny(folder: Path) -> Path:
    """Write a model folder of a small network with random weights."""
    shape = {"block_out_channels": [8, 8], "layers_per_block": 1, "norm_num_groups": 4}
    torch.manual_seed(0)
    network = build_unet(4, UNetShape.model_validate(shape))
    folder.mkdir()
    save_file({name: value.contiguous() for name, value in network.state_dict().items()}, folder / WEIGHTS_FILE)
    card = {"model_id": "tiny", "family": "residual_unet", "scale": 4, "num_timesteps": 50, "schedule": "cosine"}
    card |= {"prediction_type": "v", "residual_scale": 0.1, "unet": shape, "licence": "Apache-2.0"}
    card |= {"sha256": hashlib.sha256((folder / WEIGHTS_FILE).read_bytes()).hexdigest()}
    (folder / CARD_FILE).write_text(json.dumps(card), encoding="utf-8")
    return folder


def figures(rows: list[Row]) -> Row:
    """Return the slopes over rows of several sizes."""
    found: Row = {"mib_per_megapixel": None, "mib_per_1000_px_width": None, "fixed_mib": None}
    if len(rows) > 2:
        sides = np.array([[row["megapixels"], row["width"] / 1000, 1.0] for row in rows])
        solved = np.linalg.lstsq(sides, np.array([float(row["grown_mib"]) for row in rows]), rcond=None)[0]
        found = dict(zip(found, map(float, solved), strict=True))
    return found | {f"grown_mib_{row['size']}": row["grown_mib"] for row in rows}


def _size(told: str) -> tuple[int, int]:
    width, _, height = told.partition("x")
    return int(width), int(height)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Memory of large images.")
    parser.add_argument("--sizes", default="1024x8192,1024x16384,4096x4096", help="width x height of inputs, by commas")
    parser.add_argument("--steps", type=int, default=0, help="of denoising; 0 resamples")
    parser.add_argument("--format", default="png", help="of the result: png or tiff are written as they come")
    parser.add_argument("--model", default="tss-x4-small", help="embedded name or model folder")
    parser.add_argument("--tiny", action="store_true", help="a small network of random weights instead")
    parser.add_argument("--scale", type=float, default=4, help="of the result")
    parser.add_argument("--keep", type=Path, help="folder for the input and the result of the last size")
    parser.add_argument("--out", type=Path, help="folder for large.parquet and large.md")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
