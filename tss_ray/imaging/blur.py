"""How blurred an image is, without a reference: a figure for the manifest, so that a run can be read by it."""

from collections.abc import Sequence

from torch import Tensor
from torch.nn import functional

_TAPS = 9
BLUR_REACH = _TAPS // 2 + 1
"""Rows around a row that its differences look at."""


def blur_score(y: Tensor) -> float | None:
    """Return the blur of luma (1,1,h,w): near 0 is sharp, near 1 blurred; None of an image without any edge.

    Crété-Roffet et al., "The Blur Effect: Perception and Estimation with a New No-Reference Perceptual Blur Metric"
    (SPIE 6492, 2007): blur the image again along an axis, and see which share of the differences between neighbours
    survives. What was blurred before loses little. The larger of the two axes counts. Noise reads as sharpness.
    """
    return blur_of([_differences(y), _differences(y.mT)])


def blur_sums(y: Tensor, skipped: int, num_rows: int) -> list[tuple[float, float]]:
    """Return what `blur_of` adds up, along both axes, of rows [skipped, skipped + num_rows) of luma (1,1,h,w).

    y: those rows with `BLUR_REACH` more on either side, as far as the image has them.
    """
    return [
        _differences(y[:, :, skipped : skipped + num_rows]),
        _differences(y.mT, slice(skipped, skipped + num_rows)),
    ]


def blur_of(sums: Sequence[tuple[float, float]]) -> float | None:
    """Return the blur of (what is lost by another blur, all differences between neighbours) along each axis."""
    return max((1 - lost / total for lost, total in sums if total), default=None)


def _differences(y: Tensor, inside: slice = slice(None)) -> tuple[float, float]:
    again = functional.avg_pool2d(y, (1, _TAPS), stride=1, padding=(0, _TAPS // 2), count_include_pad=False)
    before, after = (each.diff(dim=-1).abs()[..., inside] for each in (y, again))
    return (before - after).clamp_min(0).sum().item(), before.sum().item()
