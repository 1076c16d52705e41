"""What `tss-ray submit` starts on the cluster's head: looks whether the job can run there, then is `tss-ray upscale`.

It travels with the job, so that it also runs where the package is missing and can say so: until the package is known
to be there only the standard library is used. Exit codes are those of `tss-ray upscale`; 2 where the cluster does not
fit.
"""

import importlib
import importlib.metadata
import json
import sys
from pathlib import Path

LEAST_PYTHON = (3, 11)
LEAST_RAY = (2, 60)


def faults(sent_by: str | None) -> list[str]:
    """Return why the job cannot run in this interpreter, each with its remedy; `sent_by` is the submitter's version."""
    found = []
    if sys.version_info[:2] < LEAST_PYTHON:
        least, there = ".".join(map(str, LEAST_PYTHON)), sys.version.split()[0]
        found.append(f"Python {there} on the cluster: need {least} or later; use the image of cluster/image")
    ray = _version("ray")
    if ray is None or tuple(int(part) for part in ray.split(".")[:2]) < LEAST_RAY:
        least = ".".join(map(str, LEAST_RAY))
        found.append(f"Ray {ray} on the cluster: need {least} or later; use the image of cluster/image")
    try:
        importlib.import_module("tss_ray.errors")
    except ImportError as error:
        found.append(
            f"no tss_ray on the cluster ({error}); use the image of cluster/image, or install it on every node"
        )
    else:
        package = _version("tss-ray")
        if package and sent_by and package != sent_by:
            found.append(
                f"tss-ray {package} on the cluster, {sent_by} where it was submitted; install the same on both"
            )
    return found


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def main() -> int:
    """Run the job described by spec.yaml and submitted.json of this file's folder; return its exit code."""
    folder = Path(__file__).parent
    sent_by = json.loads((folder / "submitted.json").read_text(encoding="utf-8"))["tss_ray"]
    found = faults(sent_by)
    if found:
        sys.stderr.write("".join(f"error: {fault}\n" for fault in found))
        return 2
    from tss_ray.cli import main as tss_ray

    sys.argv = ["tss-ray", "upscale", "--spec", str(folder / "spec.yaml")]
    tss_ray()
    return 0


if __name__ == "__main__":
    sys.exit(main())
