"""What each output of the quality benchmark scores, against its original, against its input and alone."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from quality_crops import SCALE, Crop
from quality_edges import edge_contrast, grain
from quality_values import Value
from torch import Tensor

from tss_ray.quality.lr_consistency import lr_consistency_psnr
from tss_ray.quality.metrics import NO_REFERENCE, metric
from tss_ray.quality.psnr import psnry

ORIGINAL = "original"
_ALWAYS = ("ssim", "fsim", "gmsd", "niqe", "piqe")
"""The columns that a value always has."""


@dataclass(frozen=True)
class Output:
    """A crop enlarged: (H,W,3) uint8, the steps of our model that it took (else 0), and seconds of wall clock."""

    pixels: NDArray[np.uint8]
    num_steps: int
    seconds: float


class Judge:
    """The metrics of one run."""

    def __init__(self, names: Iterable[str]) -> None:
        """Make pyiqa's metrics of these names; what is unavailable is left out, with a warning."""
        self._metrics = {name: made for name in names if (made := metric(name)) is not None}

    @property
    def names(self) -> tuple[str, ...]:
        """The metrics that were made."""
        return tuple(self._metrics)

    def values(self, crop: Crop, outputs: dict[str, Output]) -> list[Value]:
        """Return a value for each output, and last that of the original."""
        judged = outputs | {ORIGINAL: Output(crop.hr, 0, 0.0)}
        scores = {name: self.scores(crop, output.pixels, name == ORIGINAL) for name, output in judged.items()}
        for score in scores.values():
            score["piqe_distance"] = distance(score["piqe"], scores[ORIGINAL]["piqe"])
        return [
            Value(
                **crop.columns,
                method=name,
                num_steps=output.num_steps,
                seconds=output.seconds,
                **scores[name],
            )
            for name, output in judged.items()
        ]

    def scores(self, crop: Crop, pixels: NDArray[np.uint8], is_original: bool = False) -> dict[str, float | None]:
        """Return what pixels (H,W,3) uint8 score by name; None where that is missing or not finite."""
        picture, hr, lr = (_unit(each) for each in (pixels, crop.hr, crop.lr))

        def ask(name: str) -> float | None:
            asked = self._metrics.get(name)
            if asked is None or (is_original and name not in NO_REFERENCE):
                return None
            value = asked(picture, hr)
            return value if math.isfinite(value) else None

        return {name: ask(name) for name in dict.fromkeys((*_ALWAYS, *self._metrics))} | {
            "psnry": None if is_original else psnry(picture, hr),
            "edges": edge_contrast(picture, hr),
            "grain": grain(picture, hr),
            "lr_psnr": lr_consistency_psnr(picture, lr, SCALE),
        }


def distance(first: float | None, second: float | None) -> float | None:
    """Return how far two scores are apart; None where one is missing."""
    return None if first is None or second is None else abs(first - second)


def _unit(pixels: NDArray[np.uint8]) -> Tensor:
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1).float() / 255
