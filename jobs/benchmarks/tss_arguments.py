"""What the study can be told on its command line."""

import argparse
import sys
from pathlib import Path

from tss_variants import STANDARD

from tss_ray.spec import JobSpec

_STEPS = (1, 2, 3, 4, 5, 7, 10, 14, 15, 20, 25)
_QUICK = {
    "steps": (7, 14),
    "variants": "uniform,tds,tds+sds",
    "limit": 2,
    "crops": 1,
    "band_crops": 1,
    "band_steps": 20,
}


def parse_arguments(description: str | None) -> argparse.Namespace:
    """Read the command line; argparse ends the process where it is wrong."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="the small protocol; what is given beside it still counts")
    parser.add_argument("--photos", type=Path, help="folder of the photographs (fetched by jobs/train_x4.py)")
    parser.add_argument("--folder", type=Path, help="folder of originals of your own")
    parser.add_argument("--tuning", action="store_true", help="the split validation of --photos, and nothing else")
    parser.add_argument("--without-sample", action="store_true", help="not the photographs of sample://photos too")
    parser.add_argument("--inputs", choices=("clean", "degraded"), default="clean", help="(%(default)s)")
    parser.add_argument("--steps", type=_steps, default=_STEPS, help="comma-separated")
    parser.add_argument("--variants", default=",".join(STANDARD), help="comma-separated (%(default)s)")
    parser.add_argument("--tss", help="the variant that is TSS")
    parser.add_argument("--model", default=JobSpec.model_fields["model"].default, help="embedded name or model folder")
    parser.add_argument("--out", type=Path, help="folder for the Parquet files and the page")
    parser.add_argument("--resume", action="store_true", help="take finished crops from --out")
    parser.add_argument("--crops", type=_count, default=2, help="crops of each photograph, at most (%(default)s)")
    parser.add_argument("--limit", type=_count, help="photographs of each set, at most")
    parser.add_argument("--band-crops", type=_count, default=9, help="crops whose bands are watched (%(default)s)")
    parser.add_argument(
        "--band-steps", type=_count, default=100, help="uniform steps of the watched plan (%(default)s)"
    )
    if "--quick" in sys.argv:
        parser.set_defaults(**_QUICK)
    return parser.parse_args()


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r}: need a whole number from 1 up")
    return int(text)


def _steps(text: str) -> tuple[int, ...]:
    return tuple(sorted({_count(part.strip()) for part in text.split(",")}))
