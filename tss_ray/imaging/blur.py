"""How blurred an image is, without a reference: a figure for the manifest, so that a run can be read by it."""

from torch import Tensor
from torch.nn import functional

_TAPS = 9


def blur_score(y: Tensor) -> float | None:
    """Return the blur of luma (1,1,h,w): near 0 is sharp, near 1 blurred; None of an image without any edge.

    Crété-Roffet et al., "The Blur Effect: Perception and Estimation with a New No-Reference Perceptual Blur Metric"
    (SPIE 6492, 2007): blur the image again along an axis, and see which share of the differences between neighbours
    survives. What was blurred before loses little. The larger of the two axes counts. Noise reads as sharpness.
    """
    survived = [share for share in (_survived(y), _survived(y.mT)) if share is not None]
    return max(survived, default=None)


def _survived(y: Tensor) -> float | None:
    again = functional.avg_pool2d(y, (1, _TAPS), stride=1, padding=(0, _TAPS // 2), count_include_pad=False)
    before, after = y.diff(dim=-1).abs(), again.diff(dim=-1).abs()
    total = before.sum().item()
    if not total:
        return None
    return 1 - (before - after).clamp_min(0).sum().item() / total
