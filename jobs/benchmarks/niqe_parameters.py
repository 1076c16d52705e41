"""Write the parameter file that pyiqa's NIQE reads: python jobs/benchmarks/niqe_parameters.py [TORCH_HOME].

pyiqa would fetch the file from a model hub. The same numbers (mean and covariance of pristine photographs' features;
Mittal et al., "Making a Completely Blind Image Quality Analyzer", 2013) lie in the source archive of basicsr 1.4.2
(Apache-2.0), which `pip download` brings without installing or building it.
"""

import argparse
import io
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import numpy as np
import scipy.io
import torch

_SOURCE = "basicsr==1.4.2"
_MEMBER = "niqe_pris_params.npz"
_FEATURES = 36


def main() -> int:
    """Write the file and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("torch_home", type=Path, nargs="?", help="default: where torch keeps its hub folder")
    chosen: Path | None = parser.parse_args().torch_home
    folder = (chosen / "hub" if chosen else Path(torch.hub.get_dir())) / "pyiqa"
    archive = _download()
    if archive is None:
        print(f"pip download {_SOURCE} brought no archive; check pip's index and the network", file=sys.stderr)
        return 2
    mean, covariance = _read(archive)
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / "niqe_modelparameters.mat"
    scipy.io.savemat(target, {"mu_prisparam": mean, "cov_prisparam": covariance})
    print("wrote", target)
    return 0


def _download() -> bytes | None:
    """Return basicsr's source archive. pip's exit code is not asked: reading metadata may fail after the download."""
    with tempfile.TemporaryDirectory() as work:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-build-isolation"]
        subprocess.run([*command, "--no-binary", ":all:", "--dest", work, _SOURCE], check=False, stdout=sys.stderr)
        found = next(Path(work).glob("*.tar.gz"), None)
        return found.read_bytes() if found else None


def _read(archive: bytes) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean (1,36) and the covariance (36,36)."""
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        member = next(m for m in tar.getmembers() if m.name.endswith(_MEMBER))
        stream = tar.extractfile(member)
        if stream is None:
            raise RuntimeError(f"{member.name} is no file; {_SOURCE} has changed, compare by hand")
        numbers = np.load(io.BytesIO(stream.read()))
        mean, covariance = numbers["mu_pris_param"], numbers["cov_pris_param"]
    if mean.size != _FEATURES or covariance.shape != (_FEATURES, _FEATURES):
        raise RuntimeError(f"{mean.shape} and {covariance.shape}: need 36 features; {_SOURCE} has changed")
    return mean.reshape(1, _FEATURES), covariance


if __name__ == "__main__":
    sys.exit(main())
