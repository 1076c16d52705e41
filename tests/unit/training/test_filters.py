import numpy as np
import torch
from torch.nn import functional

from tss_ray.training.filters import convolve, gaussian_kernels, sinc_kernel


def _kernels(*rows: tuple[float, float, float, float], radius: int = 10) -> torch.Tensor:
    along, across, angle, beta = np.array(rows).T
    return gaussian_kernels(np.stack([along, across], 1), angle, beta, radius)


def _moments(kernel: torch.Tensor) -> tuple[float, float, float]:
    """Return the standard deviations along x and y and the covariance."""
    radius = kernel.shape[-1] // 2
    offsets = torch.arange(-radius, radius + 1).double()
    weights = kernel.double()
    xx, yy = (weights * offsets**2).sum(), (weights * offsets[:, None] ** 2).sum()
    return float(xx.sqrt()), float(yy.sqrt()), float((weights * offsets[:, None] * offsets).sum())


def test_a_gaussian_has_its_sigmas_along_and_across_its_angle() -> None:
    flat, upright, oblique = _kernels((2, 1, 0, 1), (2, 1, np.pi / 2, 1), (2, 1, np.pi / 4, 1))
    np.testing.assert_allclose(_moments(flat), (2, 1, 0), atol=0.01)
    np.testing.assert_allclose(_moments(upright), (1, 2, 0), atol=0.01)
    np.testing.assert_allclose(_moments(oblique), (2.5**0.5, 2.5**0.5, 1.5), atol=0.01)


def test_beta_makes_tails_heavier_or_the_inside_flatter() -> None:
    heavy, gaussian, flat = _kernels((1.5, 1.5, 0, 0.5), (1.5, 1.5, 0, 1), (1.5, 1.5, 0, 2))
    assert heavy[10, 16] > gaussian[10, 16] > flat[10, 16]
    assert flat[10, 11] / flat[10, 10] > gaussian[10, 11] / gaussian[10, 10] > heavy[10, 11] / heavy[10, 10]


def test_every_kernel_sums_to_one_and_is_point_symmetric() -> None:
    gaussians = _kernels((0.2, 2.5, 0.3, 0.5), (2.5, 0.4, 1.2, 2))
    for kernel in (*gaussians, sinc_kernel(0.6, 7)[0], sinc_kernel(1.0, 3)[0], sinc_kernel(0.5, 0)[0]):
        torch.testing.assert_close(kernel.sum(), torch.tensor(1.0))
        torch.testing.assert_close(kernel, kernel.flip(0, 1))


def test_the_sinc_filter_lets_low_frequencies_through_and_stops_high_ones() -> None:
    waves = torch.arange(64) * torch.pi * torch.tensor([[0.2], [0.9]])
    images = torch.cos(waves)[:, None, None].expand(2, 1, 64, 64)
    kept = convolve(images, sinc_kernel(0.5, 10).expand(2, -1, -1))[..., 16:48, 16:48].std((1, 2, 3))
    kept = kept / images[..., 16:48, 16:48].std((1, 2, 3))
    assert kept[0] > 0.9
    assert kept[1] < 0.1


def test_convolution_equals_the_sum_with_mirrored_borders() -> None:
    images = torch.rand((2, 3, 23, 31), generator=torch.Generator().manual_seed(0))
    kernels = torch.rand((2, 7, 7), generator=torch.Generator().manual_seed(1))
    padded = functional.pad(images, (3,) * 4, mode="reflect")
    for image, kernel, got in zip(padded, kernels, convolve(images, kernels), strict=True):
        want = functional.conv2d(image[:, None], kernel.flip(0, 1)[None, None])[:, 0]
        torch.testing.assert_close(got, want, rtol=0, atol=1e-5)
