"""What is done to an image on its way in, through the model as tiles, and out."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from tss_ray.spec.group import Group


class TileSpec(Group):
    """How an image is cut: px of the low-resolution input."""

    tile_px: int = Field(64, ge=16, le=512, multiple_of=8, description="side of the largest tile")
    overlap_px: int = Field(16, ge=0, description="what neighbouring tiles share, blended by a window")
    sides_px: tuple[Annotated[int, Field(ge=16, multiple_of=8)], ...] | None = Field(
        None, description="smaller tiles that an image may be cut into, by its size; None: every multiple of 8 from 16"
    )

    @model_validator(mode="after")
    def _overlap_fits(self) -> Self:
        if not 2 * self.overlap_px <= self.tile_px:
            raise ValueError(
                f"overlap_px={self.overlap_px}: need 2·overlap_px <= tile_px={self.tile_px}; lower tiles.overlap_px"
            )
        larger = [side for side in self.sides_px or () if side > self.tile_px]
        if larger:
            raise ValueError(f"sides_px {larger}: need at most tile_px={self.tile_px}; remove them from tiles.sides_px")
        return self

    @property
    def sides(self) -> tuple[int, ...]:
        """Every side that a tile may have."""
        smaller = range(16, self.tile_px, 8) if self.sides_px is None else self.sides_px
        return tuple(sorted({*smaller, self.tile_px}))


class EncodeSpec(Group):
    """What the output files are."""

    format: Literal["same", "png", "webp", "jpeg", "tiff", "avif"] = Field(
        "png", description="same: what the input's extension says, PNG where that cannot be written"
    )
    quality: int = Field(95, ge=1, le=100, description="jpeg, avif, and webp when it is lossy")
    lossless: bool = Field(True, description="webp only")
    metadata: Literal["keep", "strip"] = Field("keep", description="EXIF, XMP and resolution; strip for privacy")
    icc: Literal["keep", "srgb", "strip"] = Field(
        "keep", description="srgb: convert the pixels and embed none; strip: leave the pixels and embed none"
    )


class DecodeSpec(Group):
    """How inputs are read."""

    animation: Literal["first", "quarantine"] = Field("first", description="files of several frames or pages")


class ColourSpec(Group):
    """What is done about colours that drift in denoising."""

    correction: Literal["none", "mean", "wavelet"] = Field(
        "wavelet", description="mean: one shift per channel; wavelet: the input's low frequencies"
    )


class SizeSpec(Group):
    """How large results become at most; what is there already is left alone, and nothing is ever reduced."""

    max_side_px: int | None = Field(None, ge=1, description="longer side of a result")
    target_megapixels: float | None = Field(None, gt=0, description="area of a result, in 10⁶ px")
    skip_larger_than_px: int | None = Field(None, ge=1, description="inputs with a longer side are left alone")
    skip_sharper_than: float | None = Field(
        None, gt=0, le=1, description="inputs with a lower blur_score are left alone; those without edges are not"
    )
    skip_sharper_from_px: int = Field(1, ge=1, description="of inputs with at least this longer side")


class LimitSpec(Group):
    """What is refused as a row instead of being tried."""

    max_input_px: int = Field(4_194_304, ge=64, description="width · height of an input: the decompression-bomb guard")
    max_input_bytes: int = Field(268_435_456, ge=1, description="size of an input object")


class LargeSpec(Group):
    """Which images are streamed by rows of tiles; nothing here changes a pixel."""

    from_px: int = Field(
        4_194_305, ge=1, description="width · height of an input from which its tiles are not held until it is complete"
    )
