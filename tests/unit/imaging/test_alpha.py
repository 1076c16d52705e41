"""Promises of the transparency helpers."""

import numpy as np
import torch
from torch import Tensor

from tss_ray.imaging.alpha import premultiply, unpremultiply
from tss_ray.imaging.resample import upsample


def disc() -> tuple[Tensor, np.ndarray]:
    """Return a red 24 px disc (3,24,24) in [0,1] whose hidden colour is black, and its alpha (24,24) uint8."""
    y, x = np.mgrid[:24, :24] - 11.5
    alpha = np.clip((8 - np.hypot(y, x)) * 255, 0, 255).astype(np.uint8)
    colour = torch.zeros(3, 24, 24)
    colour[0] = torch.from_numpy(alpha > 0).float()
    return colour, alpha


def enlarged(colour: Tensor) -> Tensor:
    return upsample(colour[None], 4)[0]


def enlarge_alpha(alpha: np.ndarray, scale: int) -> np.ndarray:
    plane = torch.from_numpy(alpha.astype(np.float32))[None, None]
    return upsample(plane, scale)[0, 0].clamp(0, 255).round().to(torch.uint8).numpy()


def unit(alpha: np.ndarray) -> Tensor:
    return torch.from_numpy(alpha).float() / 255


def test_a_black_matte_does_not_bleed_into_the_visible_edge() -> None:
    colour, alpha = disc()
    alpha_sr = enlarge_alpha(alpha, 4)
    visible = torch.from_numpy(alpha_sr >= 16)
    sr = unpremultiply(enlarged(premultiply(colour, unit(alpha))), unit(alpha_sr))
    assert sr[0][visible].min() > 0.95
    # What it is for: enlarged straight, the same edge is darkened.
    assert enlarged(colour)[0][visible].min() < 0.5


def test_a_hidden_colour_does_not_bleed_into_the_visible_edge() -> None:
    colour, alpha = disc()
    colour[1] = torch.from_numpy(alpha == 0).float()
    alpha_sr = enlarge_alpha(alpha, 4)
    sr = unpremultiply(enlarged(premultiply(colour, unit(alpha))), unit(alpha_sr))
    assert sr[1][torch.from_numpy(alpha_sr > 0)].max() < 1e-3


def test_unpremultiply_inverts_premultiply_where_anything_is_visible() -> None:
    colour = torch.rand((3, 16, 16), generator=torch.Generator().manual_seed(0))
    alpha = torch.linspace(1 / 255, 1, 256).reshape(16, 16)
    assert torch.allclose(unpremultiply(premultiply(colour, alpha), alpha), colour, atol=1e-5)


def test_nothing_is_invented_under_full_transparency() -> None:
    out = unpremultiply(torch.full((3, 2, 2), 0.3), torch.zeros(2, 2))
    assert torch.equal(out, torch.zeros(3, 2, 2))
