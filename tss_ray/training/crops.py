"""A pool of photographs in memory and batches of crops from it, drawn towards texture and varied on the way."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from tss_ray.errors import TrainingError
from tss_ray.training.drawings import drawing
from tss_ray.training.photos import least_reduction, open_photo
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
    recipe: CropRecipe

    @property
    def window_px(self) -> int:
        """Side of what `draw` returns: the crop and its margins."""
        return self.recipe.crop_px + 2 * self.recipe.margin_px

    def draw(self, num: int, rng: Generator) -> Tensor:
        """Return `num` crops as (num,3,window,window) float32 in [0,1], flipped, turned and varied at random."""
        picks = np.searchsorted(self.cumulative, rng.random(num) * self.cumulative[-1], side="right")
        jitter = rng.integers(0, _STRIDE_PX, (num, 2))
        turns, flips = rng.integers(0, 4, num), rng.integers(0, 2, num)
        shrunk, recoloured, drawn = rng.random((3, num))
        out = np.empty((num, self.window_px, self.window_px, 3), np.uint8)
        for i, pick in enumerate(np.minimum(picks, len(self.positions) - 1)):
            if drawn[i] < self.recipe.drawn_share:
                out[i] = drawing(self.window_px, rng)
                continue
            shrink = self.recipe.largest_shrink ** rng.random() if shrunk[i] < self.recipe.shrink_share else 1.0
            crop = np.rot90(self._cut(pick, jitter[i], shrink), turns[i])
            crop = crop[:, ::-1] if flips[i] else crop
            out[i] = recolour(crop, rng) if recoloured[i] < self.recipe.recolour_share else crop
        return torch.from_numpy(out).permute(0, 3, 1, 2).contiguous().float() / 255

    def _cut(self, pick: int, jitter: NDArray[np.int64], shrink: float) -> NDArray[np.uint8]:
        """Return the (window,window,3) at a position, cut `shrink` times as large where the image is, and reduced."""
        image, top, left = self.positions[pick]
        pixels: NDArray[np.uint8] = self.images[image]
        side = min(round(self.window_px * shrink), *pixels.shape[:2])
        y = min(top + jitter[0], pixels.shape[0] - side)
        x = min(left + jitter[1], pixels.shape[1] - side)
        crop = pixels[y : y + side, x : x + side]
        if side == self.window_px:
            return crop
        return np.asarray(Image.fromarray(crop).resize((self.window_px, self.window_px), Image.Resampling.LANCZOS))


def recolour(crop: NDArray[np.uint8], rng: Generator) -> NDArray[np.uint8]:
    """Return (H,W,3) uint8 with its channels exchanged and scaled by 0.7 … 1.3, every other one inverted before."""
    mixed = crop[..., rng.permutation(3)].astype(np.float32)
    if rng.random() < 0.5:
        mixed = 255 - mixed
    return (mixed * rng.uniform(0.7, 1.3, 3)).clip(0, 255).round().astype(np.uint8)


def build_pool(photos: list[Path], recipe: CropRecipe) -> CropPool:
    """Decode, reduce and index the photographs.

    Raises TrainingError if a photograph cannot be read, or none is large enough.
    """
    window = recipe.crop_px + 2 * recipe.margin_px
    images: list[NDArray[np.uint8]] = []
    positions, weights = [], []
    for path in photos:
        photo = open_photo(path)
        own: list[NDArray[np.float64]] = []
        for reduction in recipe.reductions:
            if reduction < least_reduction(path) or min(photo.size) // reduction < max(recipe.min_side_px, window):
                continue
            pixels = np.asarray(photo.reduce(reduction))
            tops, lefts, texture = window_texture(pixels, window)
            images.append(pixels)
            positions.append(np.stack([np.full_like(tops, len(images) - 1), tops, lefts], 1))
            own.append(recipe.texture_floor + np.minimum(texture, recipe.texture_cap))
        if own:
            weights.append(np.concatenate(own) * np.concatenate(own).sum() ** -recipe.evenness)
    if not images:
        raise TrainingError(
            f"none of {len(photos)} photographs is large enough; add photographs or lower crops.min_side_px"
        )
    return CropPool(images, np.concatenate(positions), np.cumsum(np.concatenate(weights)), recipe)


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
