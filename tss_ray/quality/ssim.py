"""Structural similarity on luma, by scikit-image."""

from torch import Tensor

from tss_ray.quality.psnr import luma

_WINDOW_PX = 11


def ssim(sr: Tensor, hr: Tensor) -> float:
    """Return the SSIM of the luma of two pictures (3,H,W) in [0,1]; of ones below 11 px a side, of them mirrored.

    Wang, Bovik, Sheikh & Simoncelli, "Image Quality Assessment: From Error Visibility to Structural Similarity" (IEEE
    TIP 13(4), 2004): Gaussian weights of σ 1.5, population covariances.
    """
    import numpy as np
    from skimage.metrics import structural_similarity  # here: 0.3 s that only those who ask should pay

    pictures = [luma(picture)[0].numpy() for picture in (sr, hr)]
    short = [max(0, _WINDOW_PX - side) for side in pictures[0].shape]
    padded = [np.pad(picture, [(0, short[0]), (0, short[1])], mode="symmetric") for picture in pictures]
    return float(
        structural_similarity(*padded, data_range=1.0, gaussian_weights=True, sigma=1.5, use_sample_covariance=False)
    )
