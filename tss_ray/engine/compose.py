"""From denoised tiles to pixels: stitch, add to the enlargement, quantise; off the engine's thread."""

import numpy as np
from numpy.typing import NDArray

from tss_ray.engine.state import DenoisedImage
from tss_ray.imaging.planes import to_pixels, to_planes
from tss_ray.imaging.resample import upsample
from tss_ray.imaging.stitch import Stitcher


def compose(image: DenoisedImage, scale: int) -> NDArray[np.uint8]:
    """Return the super-resolved image (h·scale, w·scale, 3) uint8."""
    sr = upsample(to_planes(image.request.lr)[None] * 2 - 1, scale)[0]
    if image.tiles:
        stitcher = Stitcher(image.grid, scale)
        for index, tile in enumerate(image.tiles):
            stitcher.add(index, tile)
        sr += stitcher.finish()[:, : sr.shape[1], : sr.shape[2]]
    return to_pixels((sr + 1) / 2)
