"""A pool of photographs in memory and batches of crops from it, drawn towards texture."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from torch import Tensor

from tss_ray.errors import TrainingError
from tss_ray.training.photos import open_photo
from tss_ray.training.recipe import CropRecipe

_STRIDE_PX = 16


@dataclass(frozen=True)
class CropPool:
    """Reduced photographs and every crop position in them with its sampling probability.

    positions: (N,3) int32 of (image, top, left); cumulative: (N,) float64, the cumulated probabilities.
    """

    images: list[NDArray[np.uint8]]
    positions: NDArray[np.int32]
    cumulative: NDArray[np.float64]
    window_px: int

    def draw(self, num: int, rng: Generator) -> Tensor:
        """Return `num` crops as (num,3,window,window) float32 in [0,1], flipped and turned at random."""
        picks = np.searchsorted(self.cumulative, rng.random(num) * self.cumulative[-1], side="right")
        jitter = rng.integers(0, _STRIDE_PX, (num, 2))
        turns, flips = rng.integers(0, 4, num), rng.integers(0, 2, num)
        out = np.empty((num, self.window_px, self.window_px, 3), np.uint8)
        for i, pick in enumerate(np.minimum(picks, len(self.positions) - 1)):
            image, top, left = self.positions[pick]
            pixels = self.images[image]
            y = min(top + jitter[i, 0], pixels.shape[0] - self.window_px)
            x = min(left + jitter[i, 1], pixels.shape[1] - self.window_px)
            crop = np.rot90(pixels[y : y + self.window_px, x : x + self.window_px], turns[i])
            out[i] = crop[:, ::-1] if flips[i] else crop
        return torch.from_numpy(out).permute(0, 3, 1, 2).contiguous().float() / 255


def build_pool(photos: list[Path], recipe: CropRecipe) -> CropPool:
    """Decode, reduce and index the photographs.

    Raises TrainingError if a photograph cannot be read, or none is large enough.
    """
    window = recipe.crop_px + 2 * recipe.margin_px
    images: list[NDArray[np.uint8]] = []
    positions, weights = [], []
    for path in photos:
        photo = open_photo(path)
        for reduction in recipe.reductions:
            if min(photo.size) // reduction < max(recipe.min_side_px, window):
                continue
            pixels = np.asarray(photo.reduce(reduction))
            tops, lefts, texture = window_texture(pixels, window)
            images.append(pixels)
            positions.append(np.stack([np.full_like(tops, len(images) - 1), tops, lefts], 1))
            weights.append(recipe.texture_floor + np.minimum(texture, recipe.texture_cap))
    if not images:
        raise TrainingError(
            f"none of {len(photos)} photographs is large enough; add photographs or lower crops.min_side_px"
        )
    return CropPool(images, np.concatenate(positions), np.cumsum(np.concatenate(weights)), window)


def window_texture(
    pixels: NDArray[np.uint8], window: int
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.float64]]:
    """Return tops, lefts and the mean 8x8 local std of luma (of a range of 1) of every window on the stride grid."""
    luma = pixels.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32) / 255
    h, w = luma.shape[0] // 8, luma.shape[1] // 8
    std = luma[: h * 8, : w * 8].reshape(h, 8, w, 8).std(axis=(1, 3))
    sums = np.pad(std, ((1, 0), (1, 0))).cumsum(0, dtype=np.float64).cumsum(1)
    k = window // 8
    means = (sums[k:, k:] - sums[:-k, k:] - sums[k:, :-k] + sums[:-k, :-k]) / k**2
    means = means[:: _STRIDE_PX // 8, :: _STRIDE_PX // 8]
    rows, columns = np.indices(means.shape, dtype=np.int32) * _STRIDE_PX
    return rows.ravel(), columns.ravel(), means.ravel()
