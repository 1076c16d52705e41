"""Promises of the form in which images cross between operators."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tss_ray.pipeline.rows import PreparedImage, prepared_images, prepared_table
from tss_ray.records import MANIFEST_SCHEMA, ManifestRow


def prepared(key: str, height: int, width: int, channels: int, icc_profile: bytes | None = None) -> PreparedImage:
    rng = np.random.default_rng([*key.encode()])
    pixels = rng.integers(0, 256, (height, width, channels), dtype=np.uint8)
    row = ManifestRow(image_key=key, input_uri=f"in/{key}", spec_hash="0", in_height=height, in_width=width)
    return PreparedImage(row, pixels, icc_profile)


def quarantined(key: str) -> PreparedImage:
    row = ManifestRow(image_key=key, input_uri=f"in/{key}", spec_hash="0", input_bytes=3)
    return PreparedImage(row.quarantined("truncated", "it ends early"))


def assert_same(found: PreparedImage, expected: PreparedImage) -> None:
    assert found.row == expected.row
    assert found.icc_profile == expected.icc_profile
    if expected.pixels is None:
        assert found.pixels is None
    else:
        assert found.pixels is not None
        assert np.array_equal(found.pixels, expected.pixels)


@settings(deadline=None, max_examples=40)
@given(
    st.lists(
        st.builds(
            prepared,
            st.text("abc", min_size=1, max_size=4),
            st.integers(1, 9),
            st.integers(1, 9),
            st.sampled_from([1, 2, 3, 4]),
            st.none() | st.binary(max_size=5),
        )
        | st.builds(quarantined, st.text("abc", max_size=4)),
        max_size=6,
    )
)
def test_grey_colour_alpha_and_quarantined_images_cross_unchanged_and_in_order(images: list[PreparedImage]) -> None:
    found = prepared_images(prepared_table(images))
    assert len(found) == len(images)
    for ours, theirs in zip(found, images, strict=True):
        assert_same(ours, theirs)


def test_a_slice_of_a_block_holds_its_own_pixels() -> None:
    images = [prepared("a", 2, 3, 3), quarantined("b"), prepared("c", 4, 1, 1)]
    found = prepared_images(prepared_table(images).slice(1, 2))
    for ours, theirs in zip(found, images[1:], strict=True):
        assert_same(ours, theirs)


def test_pixels_that_are_not_contiguous_cross_too() -> None:
    image = prepared("a", 6, 6, 3)
    assert image.pixels is not None
    turned = PreparedImage(image.row, image.pixels[::-1, ::-1])
    assert_same(prepared_images(prepared_table([turned]))[0], turned)


def test_an_empty_block_has_the_schema_all_the_same() -> None:
    table = prepared_table([])
    assert table.schema.names[: len(MANIFEST_SCHEMA)] == MANIFEST_SCHEMA.names
    assert table.schema == prepared_table([prepared("a", 1, 1, 1)]).schema
    assert prepared_images(table) == []
