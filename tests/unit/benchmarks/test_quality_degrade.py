import numpy as np
import pytest
from PIL import Image
from quality_degrade import degrade, stages

from tss_ray.storage.sample_photos import reference


@pytest.fixture(scope="module")
def photo() -> Image.Image:
    return reference("chelsea").crop((100, 60, 292, 220))


def test_the_name_alone_decides(photo: Image.Image) -> None:
    first, again, other = (degrade(photo, 4, name).tobytes() for name in ("river", "river", "garden"))
    assert first == again
    assert first != other


def test_the_recipe_does_not_move() -> None:
    before, after = stages("astronaut")
    assert (before.blur_px, before.noise_levels) == pytest.approx((0.733938343, 7.489710318))
    assert (after.blur_px, after.noise_levels) == pytest.approx((0.451212259, 0.659468597))
    assert (before.jpeg_quality, after.jpeg_quality) == (86, 74)


def test_draws_stay_in_their_ranges_and_fill_them() -> None:
    drawn = [stages(f"photo {i}") for i in range(300)]
    for k, (blur, noise, quality) in enumerate((((0.4, 1.6), (1, 8), (75, 95)), ((0, 0.5), (0.5, 4), (60, 95)))):
        for name, (low, high) in (("blur_px", blur), ("noise_levels", noise), ("jpeg_quality", quality)):
            found = [getattr(pair[k], name) for pair in drawn]
            assert low <= min(found) < low + 0.1 * (high - low)
            assert high >= max(found) > high - 0.1 * (high - low)


def test_a_degraded_input_is_a_quarter_as_wide_and_worse_than_the_clean_one_but_recognisable(
    photo: Image.Image,
) -> None:
    clean = photo.resize((48, 40), Image.Resampling.BICUBIC)
    for name in ("river", "garden", "tower"):
        worn = degrade(photo, 4, name)
        assert (worn.size, worn.mode) == ((48, 40), "RGB")
        error = np.asarray(worn, float) - np.asarray(clean, float)
        assert 20 < 10 * np.log10(255**2 / np.square(error).mean()) < 35


def test_a_flat_picture_gets_about_the_noise_that_was_drawn() -> None:
    """Of names that draw a JPEG quality high enough to keep it: the noise of before counts a quarter."""
    flat = Image.new("RGB", (512, 512), (128, 128, 128))
    to_luma = np.array([0.299, 0.587, 0.114])
    for name in ("garden", "a"):
        before, after = stages(name)
        drawn = np.hypot(after.noise_levels, before.noise_levels / 4) * np.linalg.norm(to_luma)
        std = (np.asarray(degrade(flat, 4, name)) @ to_luma).std()
        assert 0.7 * drawn < std < 1.1 * drawn
