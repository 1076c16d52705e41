import numpy as np
import pytest
from band_snr import BANDS, MAX_DB, band_masks, band_snr
from numpy.typing import NDArray

_SIDE = 96


@pytest.fixture
def picture() -> NDArray[np.float64]:
    return np.random.RandomState(0).normal(0.5, 0.2, (_SIDE, _SIDE))


def _wave(share_of_nyquist: float) -> NDArray[np.float64]:
    """A plane wave along x."""
    return np.tile(np.cos(np.pi * share_of_nyquist * np.arange(_SIDE)), (_SIDE, 1))


@pytest.mark.parametrize(("share_of_nyquist", "hit"), [(0.15, "low"), (0.5, "medium"), (0.85, "high")])
def test_noise_of_one_frequency_lowers_its_own_band_alone(
    picture: NDArray[np.float64], share_of_nyquist: float, hit: str
) -> None:
    snr = dict(zip(BANDS, band_snr((picture + 0.05 * _wave(share_of_nyquist))[None], picture)[0], strict=True))
    others = [snr[name] for name in BANDS if name != hit]
    assert snr[hit] < 25
    assert min(others) > snr[hit] + 40


def test_twice_the_noise_costs_six_decibels(picture: NDArray[np.float64]) -> None:
    noise = np.random.RandomState(1).normal(0, 0.02, picture.shape)
    one, two = band_snr(np.stack([picture + noise, picture + 2 * noise]), picture)
    assert one - two == pytest.approx([20 * np.log10(2)] * 3)


def test_the_same_picture_has_the_highest_snr_and_brightness_does_not_count(picture: NDArray[np.float64]) -> None:
    assert band_snr(np.stack([picture, picture + 0.3]), picture) == pytest.approx(np.full((2, 3), MAX_DB))


def test_flat_pictures_have_a_finite_snr() -> None:
    flat = np.full((_SIDE, _SIDE), 0.5)
    assert np.isfinite(band_snr(np.stack([flat, flat + _wave(0.5)]), flat)).all()


def test_every_frequency_but_the_mean_is_in_one_band() -> None:
    counted = band_masks(8, 10).sum(axis=0)
    assert counted[0, 0] == 0
    assert counted.sum() == 8 * 10 - 1
    assert counted.max() == 1
