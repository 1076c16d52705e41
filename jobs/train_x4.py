"""Make the embedded weights: python jobs/train_x4.py --photos DIR --out DIR."""

import argparse
import sys
from pathlib import Path

from tss_ray.errors import TssRayError
from tss_ray.training.job import run


def main() -> int:
    """Read the arguments, train, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=Path, required=True, help="folder of the photographs; fetched where missing")
    parser.add_argument(
        "--out", type=Path, required=True, help="folder for checkpoint.pt, model.safetensors, log.jsonl"
    )
    parser.add_argument("--recipe", type=Path, default=Path(__file__).with_suffix(".yaml"))
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1")
    parser.add_argument("--stop-at", type=int, metavar="ITERATION", help="end early; the same command goes on later")
    arguments = parser.parse_args()
    try:
        run(arguments.photos, arguments.out, arguments.recipe, arguments.device, arguments.stop_at)
    except TssRayError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
