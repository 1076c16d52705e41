import base64
import io
import re

import numpy as np
import pytest
from PIL import Image
from quality_pictures import Row, write_grids, write_page


@pytest.fixture
def row() -> Row:
    rng = np.random.RandomState(0)
    lr = rng.randint(0, 256, (48, 64, 3)).astype(np.uint8)
    enlarged = np.asarray(Image.fromarray(lr).resize((256, 192), Image.Resampling.NEAREST))
    return Row(("heldout", "a<b", 0, 96), "clean", lr, {"bicubic": enlarged, "original": enlarged})


def test_the_page_needs_no_other_file_and_names_what_it_shows(row: Row, tmp_path, make_value) -> None:
    values = [make_value("bicubic", photo="a<b", left=96, psnry=25.125, niqe=6.5)]
    write_page([row], values, tmp_path / "pictures.html")
    page = (tmp_path / "pictures.html").read_text(encoding="utf-8")
    assert "bicubic · 25.12 dB · 6.50 NIQE" in page
    assert "a&lt;b" in page
    assert "a<b" not in page
    assert all(source.startswith("data:image/png;base64,") for source in re.findall(r'src="([^"]*)', page))
    assert "light dark" in page


def test_input_and_outputs_show_the_same_place_at_the_same_size(row: Row, tmp_path) -> None:
    write_page([row], [], tmp_path / "pictures.html")
    page = (tmp_path / "pictures.html").read_text(encoding="utf-8")
    assert re.findall(r'width="(\d+)" height="(\d+)"', page) == [("320", "320")] * 3
    sources = re.findall(r"base64,([^\"]*)", page)
    first, second, _ = (Image.open(io.BytesIO(base64.b64decode(source))) for source in sources)
    assert first.size == (40, 40)
    assert np.array_equal(np.asarray(first.resize(second.size, Image.Resampling.NEAREST)), np.asarray(second))


def test_grids_hold_six_crops_a_page(row: Row, tmp_path) -> None:
    paths = write_grids([row] * 7, tmp_path)
    sizes = []
    for path in paths:
        with Image.open(path) as sheet:
            sizes.append(sheet.size)
    assert sizes == [(512, 6 * 256), (512, 256)]
