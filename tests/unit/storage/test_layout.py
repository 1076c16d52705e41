import pytest

from tss_ray.errors import ImageError
from tss_ray.storage.layout import check_key, keys_key, output_format, output_key, part_key


@pytest.mark.parametrize(
    ("image_key", "image_format", "wanted"),
    [
        ("a/cat.jpg", "png", "images/a/cat.png"),
        ("cat.JPEG", "jpeg", "images/cat.jpg"),
        ("v1.2/cat", "webp", "images/v1.2/cat.webp"),
        ("cat.v2", "png", "images/cat.v2.png"),
        ("cat.tar.tiff", "png", "images/cat.tar.png"),
        ("cat.gif", "tiff", "images/cat.tif"),
        ("cat.png", "avif", "images/cat.avif"),
        ("a/cat.JPEG", "same", "images/a/cat.JPEG"),
        ("cat.TIF", "same", "images/cat.TIF"),
        ("cat.gif", "same", "images/cat.png"),
        ("cat", "same", "images/cat.png"),
        ("cat.v2", "same", "images/cat.v2.png"),
        ("100% #1?.png", "png", "images/100% #1?.png"),
    ],
)
def test_the_output_mirrors_the_input_with_its_own_extension(image_key, image_format, wanted):
    assert output_key(image_key, image_format) == wanted


@pytest.mark.parametrize(
    ("image_key", "image_format", "wanted"),
    [
        *(("a.JPG", "same", "jpeg"), ("a.tiff", "same", "tiff"), ("a.avif", "same", "avif"), ("a.bmp", "same", "png")),
        *(("a", "same", "png"), ("a.jpg", "webp", "webp")),
    ],
)
def test_same_is_told_by_the_extension(image_key, image_format, wanted):
    assert output_format(image_key, image_format) == wanted


def test_a_key_that_is_only_an_extension_keeps_its_stem():
    assert output_key(".png", "webp") == "images/.png.webp"
    assert output_key("a/.png", "webp") == "images/a/.png.webp"


@pytest.mark.parametrize(
    "image_key",
    [
        *("../x.png", "/x.png", "a/../../x.png", "a//b.png", "./a.png", "a/", ""),
        *("a\0.png", "a\nb.png", "\x7f", "a\\b", "\ud800.png"),
        *("x" * 256 + "/a.png", "x" * 252, "é" * 130 + ".png"),
    ],
)
def test_hostile_keys_become_row_faults(image_key):
    for check in (check_key, lambda key: output_key(key, "png")):
        with pytest.raises(ImageError, match="rename the object") as caught:
            check(image_key)
        assert caught.value.kind == "bad_key"
        str(caught.value).encode()  # fit for a row


def test_a_key_of_just_the_allowed_length_passes():
    check_key("x" * 255 + "/" + "y" * 250 + ".jpeg")


def test_names_of_parts_and_key_files():
    assert part_key("0123456789abcdef") == "manifest/part-0123456789abcdef.parquet"
    assert keys_key("abc", 12) == "run/abc/keys-000012.parquet"
