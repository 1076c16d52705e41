"""From denoised tiles to pixels: stitch, add to the enlargement, quantise; off the engine's thread."""

import numpy as np
import torch
from numpy.typing import NDArray

from tss_ray.engine.state import DenoisedImage
from tss_ray.imaging.resample import upsample
from tss_ray.imaging.stitch import Stitcher


def compose(image: DenoisedImage, scale: int) -> NDArray[np.uint8]:
    """Return the super-resolved image (h·scale, w·scale, 3) uint8."""
    lr = torch.from_numpy(image.request.lr).permute(2, 0, 1)[None].float() / 127.5 - 1
    sr = upsample(lr, scale)[0]
    if image.tiles:
        stitcher = Stitcher(image.grid, scale)
        for index, tile in enumerate(image.tiles):
            stitcher.add(index, tile)
        sr += stitcher.finish()[:, : sr.shape[1], : sr.shape[2]]
    return ((sr.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).permute(1, 2, 0).contiguous().numpy()
