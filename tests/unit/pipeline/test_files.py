"""README's table of files, row by row: read as the job reads, written as it writes, opened by libvips and compared.

Between the two stands a denoiser that adds a faint known pattern, so that what is tested is the way of the pixels and
not a network: every other part (decode, probe, rows, composition, colour, encode) is the job's own.
"""

import io
import struct
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
import pyvips
import tifffile
import torch
from PIL import ExifTags, Image

from tss_ray.engine.state import DenoisedImage, ImageRequest
from tss_ray.errors import EncodeError
from tss_ray.imaging.channels import to_model_rgb
from tss_ray.imaging.colour import is_linear
from tss_ray.imaging.decode import decode
from tss_ray.imaging.encode import encode
from tss_ray.imaging.pixels import num_bits
from tss_ray.imaging.tiles import tile_grid
from tss_ray.pipeline import finish as finish_module
from tss_ray.pipeline.finish import Finished, finish
from tss_ray.pipeline.prepare import Prepare
from tss_ray.pipeline.rows import PreparedImage, prepared_images, prepared_table
from tss_ray.records import ManifestRow
from tss_ray.spec import load_spec

TILE, OVERLAP, SCALE = 16, 4, 4


@dataclass
class Result:
    """What libvips finds in the file, and the job's own account."""

    file: pyvips.Image
    row: ManifestRow
    finished: Finished

    @property
    def pixels(self) -> np.ndarray:
        return np.asarray(self.file.numpy()).reshape(self.file.height, self.file.width, -1)

    def has(self, field: str) -> bool:
        return field in self.file.get_fields()


def saved(image: Image.Image, file_format: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, file_format, **options)
    return file.getvalue()


def deep(pixels: np.ndarray, file_format: str = "png", icc_profile: bytes | None = None) -> bytes:
    return encode(pixels, file_format, quality=90, lossless=True, icc_profile=icc_profile).data


def denoised(lr: np.ndarray, strength: float) -> DenoisedImage:
    grid = tile_grid(*lr.shape[:2], TILE, OVERLAP)
    generator = torch.Generator().manual_seed(0)
    side = TILE * SCALE
    tiles = [torch.randn((3, side, side), generator=generator) * strength for _ in range(grid.num_tiles)]
    return DenoisedImage(ImageRequest("a", lr, (9,), 0.0, 0), grid, tiles, 0.0, 0.0, 0.0)


@pytest.fixture
def upscaled(tmp_path) -> Callable[..., Result]:
    def run(data: bytes, name: str = "a.png", strength: float = 0.002, **settings: object) -> Result:
        (tmp_path / name).write_bytes(data)
        dotted = {key.replace("__", "."): value for key, value in settings.items()}
        spec = load_spec(None, {"input": "in", "output": "out"} | dotted)
        prepared = Prepare(spec, "0", None).prepare({"image_key": name, "uri": str(tmp_path / name)}, decode)
        (image,) = prepared_images(prepared_table([prepared]))
        assert image.pixels is not None, image.row.error_message
        lr = to_model_rgb(image.pixels, image.linear)
        finished = finish(spec, image, denoised(lr, strength), SCALE)
        return Result(pyvips.Image.new_from_buffer(finished.file.data, ""), image.row, finished)

    return run


def ramp(height: int, width: int, channels: int, top: int) -> np.ndarray:
    """Return smooth slopes of every channel over the whole range, of uint16 or uint8."""
    y, x = np.mgrid[:height, :width] / max(height, width)
    planes = np.stack([x, y, (x + y) / 2, 0.25 + x / 2][:channels], -1)
    return np.rint(planes * top).astype(np.uint16 if top > 255 else np.uint8)


def bicubic(pixels: np.ndarray) -> np.ndarray:
    planes = torch.from_numpy(pixels.astype(np.float64)).permute(2, 0, 1)[None]
    size = (pixels.shape[0] * SCALE, pixels.shape[1] * SCALE)
    enlarged = torch.nn.functional.interpolate(planes, size=size, mode="bicubic", antialias=True)
    return enlarged[0].permute(1, 2, 0).numpy().clip(0, np.iinfo(pixels.dtype).max)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("image_format", ["png", "tiff"])
def test_sixteen_bits_stay_sixteen_and_slopes_keep_their_levels(
    upscaled: Callable[..., Result], channels: int, image_format: str
) -> None:
    values = ramp(24, 40, channels, 2000)  # 8 levels of an 8-bit file: what banding would look like
    result = upscaled(deep(values, image_format), f"a.{image_format}", 0.0, encode__format="same")
    assert (result.file.format, result.file.bands) == ("ushort", channels)
    assert np.abs(result.pixels - bicubic(values)).max() <= 1
    assert len(np.unique(result.pixels)) > 150
    assert (result.row.in_bits, result.finished.file.bits) == (16, 16)


def test_what_the_denoiser_adds_is_added_at_sixteen_bits(upscaled: Callable[..., Result]) -> None:
    values = ramp(24, 40, 3, 60_000)
    added = upscaled(deep(values), strength=0.05, colour__correction="none").pixels.astype(int) - bicubic(values)
    inner = added[16:-16, 16:-16]
    assert 0.6 < inner.std() / (0.05 / 2 * 65535) < 1.1  # the range of tiles is 2; overlaps average a little out


@pytest.mark.parametrize("channels", [2, 4])
def test_sixteen_bit_alpha_is_enlarged_with_the_image(upscaled: Callable[..., Result], channels: int) -> None:
    values = ramp(24, 40, channels, 60_000)
    values[..., -1] = np.maximum(values[..., -1], 20_000)
    result = upscaled(deep(values), strength=0.0)
    assert (result.file.format, result.file.bands) == ("ushort", channels)
    assert np.abs(result.pixels[..., -1] - bicubic(values)[..., -1]).max() <= 1
    inner = np.s_[8:-8, 8:-8, :-1]
    assert np.abs(result.pixels[inner] - bicubic(values)[inner]).max() < 200


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_float_tiff_of_the_unit_range_becomes_sixteen_bits(upscaled: Callable[..., Result], dtype: type) -> None:
    file = io.BytesIO()
    values = ramp(20, 20, 3, 60_000)
    tifffile.imwrite(file, (values / 65535).astype(dtype), photometric="rgb")
    result = upscaled(file.getvalue(), "a.tif", 0.0, encode__format="same")
    assert result.file.format == "ushort"
    assert np.abs(result.pixels - bicubic(values)).max() <= 1


@pytest.mark.parametrize("image_format", ["webp", "jpeg", "avif"])
def test_formats_of_eight_bits_get_the_nearest_level(upscaled: Callable[..., Result], image_format: str) -> None:
    values = ramp(20, 20, 3, 60_000)
    result = upscaled(deep(values), strength=0.0, encode__format=image_format)
    assert result.file.format == "uchar"
    assert np.abs(result.pixels - bicubic(values) / 257).mean() < (0.3 if image_format == "webp" else 2.5)
    assert result.finished.file.bits == 8


@pytest.mark.parametrize("mode", ["L", "1", "I;16"])
def test_grey_stays_grey(upscaled: Callable[..., Result], mode: str) -> None:
    grey = ramp(20, 20, 1, 255)[..., 0]
    image = Image.fromarray(grey.astype(np.uint16) * 257) if mode == "I;16" else Image.fromarray(grey).convert(mode)
    assert upscaled(saved(image, "PNG")).file.bands == 1


def test_a_palette_becomes_its_colours(upscaled: Callable[..., Result]) -> None:
    colours = np.array([[200, 30, 40], [10, 90, 220]], np.uint8)
    image = Image.fromarray(np.repeat(np.arange(2, dtype=np.uint8), 10)[None].repeat(12, 0), "P")
    image.putpalette(colours.tobytes())
    pixels = upscaled(saved(image, "PNG"), strength=0.0).pixels
    assert np.abs(pixels[:, 8:24].astype(int) - colours[0]).max() <= 1
    assert np.abs(pixels[:, -24:-8].astype(int) - colours[1]).max() <= 1


@pytest.mark.parametrize("mode", ["P", "L", "RGB"])
def test_a_transparent_colour_becomes_alpha_without_a_fringe(upscaled: Callable[..., Result], mode: str) -> None:
    rgb = np.full((16, 20, 3), 255, np.uint8)
    rgb[:, :10] = 1  # the key: nearly black, hidden
    key = {"P": 0, "L": 1, "RGB": (1, 1, 1)}[mode]
    if mode == "P":
        image = Image.fromarray((rgb[..., 0] > 1).astype(np.uint8), "P")
        image.putpalette([1, 1, 1, 255, 255, 255])
    else:
        image = Image.fromarray(rgb).convert(mode)
    pixels = upscaled(saved(image, "PNG", transparency=key), strength=0.0).pixels
    assert pixels.shape[2] == (2 if mode == "L" else 4)
    assert pixels[..., -1].min() == 0
    assert pixels[..., -1].max() == 255
    assert pixels[..., :-1][pixels[..., -1] >= 16].min() >= 240


@pytest.mark.parametrize("matte", [0, 255])
def test_neither_a_black_nor_a_white_matte_bleeds(upscaled: Callable[..., Result], matte: int) -> None:
    y, x = np.mgrid[:24, :24] - 11.5
    alpha = np.clip((8 - np.hypot(y, x)) * 255, 0, 255).astype(np.uint8)
    rgba = np.full((24, 24, 4), matte, np.uint8)
    rgba[..., 3] = alpha
    rgba[alpha > 0, :3] = (200, 100, 50)
    pixels = upscaled(saved(Image.fromarray(rgba), "PNG"), strength=0.0).pixels
    visible = pixels[..., 3] >= 32
    assert np.abs(pixels[visible][:, :3].astype(int) - (200, 100, 50)).max() <= 8


def test_cmyk_comes_out_as_srgb(upscaled: Callable[..., Result]) -> None:
    result = upscaled(saved(Image.new("CMYK", (20, 20), (0, 255, 255, 0)), "TIFF"), "a.tif", 0.0)
    assert (result.file.bands, result.has("icc-profile-data")) == (3, False)
    assert np.abs(result.pixels.astype(int) - (255, 0, 0)).max() <= 1


def wide_gamut() -> bytes:
    return bytes(pyvips.Image.profile_load("p3"))


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("image_format", ["png", "tiff", "jpeg", "webp", "avif"])
def test_a_wide_gamut_profile_goes_with_its_pixels(
    upscaled: Callable[..., Result], image_format: str, bits: int
) -> None:
    data = deep(ramp(20, 20, 3, 2**bits - 1), "png", wide_gamut())
    kept = upscaled(data, encode__format=image_format)
    assert kept.file.get("icc-profile-data") == wide_gamut()
    assert not upscaled(data, encode__format=image_format, encode__icc="strip").has("icc-profile-data")


@pytest.mark.parametrize("bits", [8, 16])
def test_icc_srgb_converts_the_pixels_as_libvips_does(upscaled: Callable[..., Result], bits: int) -> None:
    values = ramp(20, 20, 3, 2**bits - 1) // 2 + 2 ** (bits - 2)
    data = deep(values, "png", wide_gamut())
    result = upscaled(data, strength=0.0, encode__icc="srgb", colour__correction="none")
    assert not result.has("icc-profile-data")
    expected = pyvips.Image.new_from_buffer(data, "").icc_transform("srgb", depth=bits, intent="relative").numpy()
    tolerance = 2 if bits == 8 else 200
    assert np.abs(result.pixels - bicubic(np.ascontiguousarray(expected)))[8:-8, 8:-8].max() <= tolerance
    assert np.abs(result.pixels[8:-8, 8:-8] - bicubic(values)[8:-8, 8:-8]).max() > 4 * tolerance


def linear_profile() -> bytes:
    """Return an ICC version 2 profile of sRGB's primaries whose curves are straight lines (ICC.1:2001-04, 6.3.1.2)."""

    def xyz(*values: float) -> bytes:
        return b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(v * 65536) for v in values))

    tags = {
        b"wtpt": xyz(0.9642, 1, 0.8249),
        b"rXYZ": xyz(0.4361, 0.2225, 0.0139),
        b"gXYZ": xyz(0.3851, 0.7169, 0.0971),
        b"bXYZ": xyz(0.1431, 0.0606, 0.7141),
        **dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), b"curv\x00\x00\x00\x00\x00\x00\x00\x00"),
    }
    offset = 128 + 4 + 12 * len(tags)
    table, body = struct.pack(">I", len(tags)), b""
    for name, value in tags.items():
        table += name + struct.pack(">II", offset + len(body), len(value))
        body += value
    size = offset + len(body)
    header = struct.pack(">I4sI4s4s4s", size, bytes(4), 0x02400000, b"mntr", b"RGB ", b"XYZ ")
    header += bytes(12) + b"acsp" + bytes(28) + struct.pack(">3i", 63190, 65536, 54061)
    return header.ljust(128, b"\0") + table + body


def test_linear_light_is_seen_as_shown_and_written_as_light(upscaled: Callable[..., Result]) -> None:
    values = ramp(24, 40, 3, 50_000) // 2 + 4000
    data = deep(values, "png", linear_profile())
    result = upscaled(data, strength=0.0, colour__correction="none")
    assert is_linear(linear_profile())
    assert not is_linear(wide_gamut())
    assert result.file.get("icc-profile-data") == linear_profile()
    assert np.abs(result.pixels - bicubic(values))[8:-8, 8:-8].max() < 200  # bicubic of curves, not of lines
    decoded = decode(data, 10**6)
    seen = to_model_rgb(decoded.pixels, is_linear(decoded.icc_profile))
    assert seen.mean() > 1.3 * to_model_rgb(decoded.pixels).mean()


def photographed() -> bytes:
    """Return a JPEG of 20×12 px stored lying on its side, with everything a camera and an editor write."""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation], exif[ExifTags.Base.Make] = 6, "Maker"
    inner = exif.get_ifd(ExifTags.IFD.Exif)
    inner[0xA002], inner[0xA003], inner[0x9003] = 20, 12, "2020:01:02 03:04:05"
    exif.get_ifd(ExifTags.IFD.GPSInfo)[1] = "N"
    xmp = b"<x:xmpmeta xmlns:x='adobe:ns:meta/'><r tiff:Orientation='6' exif:PixelXDimension='20'>kept</r></x:xmpmeta>"
    return saved(Image.fromarray(ramp(12, 20, 3, 255)), "JPEG", exif=exif, xmp=xmp, dpi=(300, 300), quality=95)


@pytest.mark.parametrize("image_format", ["jpeg", "png", "webp", "tiff", "avif"])
def test_metadata_is_kept_upright_and_with_the_new_size(upscaled: Callable[..., Result], image_format: str) -> None:
    result = upscaled(photographed(), "a.jpg", encode__format=image_format)
    file = result.file
    assert (file.width, file.height) == (48, 80)
    assert not file.has_orientation() if hasattr(file, "has_orientation") else True
    assert "orientation" not in file.get_fields() or file.get("orientation") == 1
    xmp = file.get("xmp-data")
    assert b"kept" in xmp
    assert b"tiff:Orientation='1'" in xmp
    assert b"exif:PixelXDimension='48'" in xmp
    if image_format in ("jpeg", "png", "tiff"):
        assert file.xres * 25.4 == pytest.approx(300, abs=0.01)
    with Image.open(io.BytesIO(result.finished.file.data)) as image:  # libvips shows no EXIF of TIFF
        exif = image.getexif()
    assert exif.get(ExifTags.Base.Orientation, 1) == 1
    assert exif[ExifTags.Base.Make] == "Maker"
    inner = exif.get_ifd(ExifTags.IFD.Exif)
    assert (inner[0xA002], inner[0xA003], inner[0x9003]) == (48, 80, "2020:01:02 03:04:05")
    assert exif.get_ifd(ExifTags.IFD.GPSInfo) == {1: "N"}


@pytest.mark.parametrize("image_format", ["jpeg", "png", "webp", "tiff", "avif"])
def test_stripped_metadata_leaves_nothing_behind(upscaled: Callable[..., Result], image_format: str) -> None:
    result = upscaled(photographed(), "a.jpg", encode__format=image_format, encode__metadata="strip")
    assert (result.file.width, result.file.height) == (48, 80)
    for trace in (b"Maker", b"kept", b"2020:01"):
        assert trace not in result.finished.file.data
    assert not result.has("xmp-data")


@pytest.mark.parametrize(
    ("name", "image_format", "written"),
    [
        *(("a.png", "PNG", "png"), ("a.jpg", "JPEG", "jpeg"), ("a.webp", "WEBP", "webp"), ("a.tif", "TIFF", "tiff")),
        *(("a.avif", "AVIF", "avif"), ("a.bmp", "BMP", "png"), ("a.gif", "GIF", "png"), ("a.jp2", "JPEG2000", "png")),
    ],
)
def test_every_format_is_read_and_same_writes_what_can_be_written(
    upscaled: Callable[..., Result], name: str, image_format: str, written: str
) -> None:
    picture = ramp(20, 28, 3, 255)
    options = {"quality": 95} if image_format in ("JPEG", "WEBP", "AVIF") else {}
    result = upscaled(saved(Image.fromarray(picture), image_format, **options), name, encode__format="same")
    assert result.finished.format == written
    loader = {"avif": "heif"}.get(written, written)
    assert result.file.get("vips-loader").startswith(loader)
    assert (result.file.width, result.file.height) == (112, 80)
    reference = bicubic(picture)
    channels = min(3, result.pixels.shape[2])
    assert np.abs(result.pixels[..., :channels] - reference).mean() < 12  # a GIF has 256 colours


def test_jpeg_xl_is_read_where_its_plugin_is_installed(upscaled: Callable[..., Result]) -> None:
    picture = ramp(20, 28, 3, 255)
    result = upscaled(saved(Image.fromarray(picture), "JXL", lossless=True), "a.jxl", 0.0)
    assert np.abs(result.pixels - bicubic(picture)).max() <= 1


@pytest.mark.parametrize(
    ("settings", "size"),
    [
        ({}, (160, 96)),
        ({"scale": 2}, (80, 48)),
        ({"scale": 1.5}, (60, 36)),
        ({"size.max_side_px": 100}, (100, 60)),
        ({"size.target_megapixels": 0.0024}, (63, 38)),
        ({"scale": 3, "size.max_side_px": 1000}, (120, 72)),
    ],
)
@pytest.mark.parametrize("channels", [1, 4])
def test_results_have_the_size_that_was_asked_for(
    upscaled: Callable[..., Result], settings: dict[str, float], size: tuple[int, int], channels: int
) -> None:
    values = ramp(24, 40, channels, 255)
    values[..., -1] = np.maximum(values[..., -1], 80)
    result = upscaled(deep(values), strength=0.0, **settings)
    assert (result.file.width, result.file.height) == size == (result.row.out_width, result.row.out_height)
    planes = torch.from_numpy(values.astype(np.float64)).permute(2, 0, 1)[None]
    expected = torch.nn.functional.interpolate(planes, size=size[::-1], mode="bicubic", antialias=True)[0]
    difference = np.abs(result.pixels - expected.permute(1, 2, 0).numpy())
    assert difference[4:-4, 4:-4].max() < 4


@pytest.mark.parametrize(
    "settings",
    [
        {"size.max_side_px": 40},
        {"size.target_megapixels": 0.0009},
        {"size.skip_larger_than_px": 39},
        {"size.skip_sharper_than": 1},
    ],
)
@pytest.mark.parametrize("bits", [8, 16])
def test_what_is_large_or_sharp_enough_is_left_alone_bit_for_bit(
    upscaled: Callable[..., Result], settings: dict[str, float], bits: int
) -> None:
    values = ramp(24, 40, 3, 2**bits - 1)
    result = upscaled(deep(values), **settings)
    assert np.array_equal(result.pixels, values)
    assert result.row.left_alone_by == next(iter(settings)).removeprefix("size.")
    assert (result.row.num_steps, result.finished.lr_consistency_psnr) == (0, None)


@pytest.mark.parametrize("size", [(1, 1), (1, 50), (50, 1), (2, 3)])
@pytest.mark.parametrize("scale", [4, 1.3])
def test_the_smallest_images_pass(upscaled: Callable[..., Result], size: tuple[int, int], scale: float) -> None:
    result = upscaled(deep(ramp(*size, 4, 255)), scale=scale)
    assert (result.file.height, result.file.width) == tuple(round(side * scale) for side in size)


@pytest.mark.parametrize("image_format", ["png", "tiff", "jpeg"])
@pytest.mark.parametrize("scale", [4, 2.5])
def test_bands_of_rows_leave_no_trace(
    upscaled: Callable[..., Result], monkeypatch: pytest.MonkeyPatch, image_format: str, scale: float
) -> None:
    data = deep(ramp(40, 24, 4 if image_format != "jpeg" else 3, 65535))
    whole = upscaled(data, strength=0.05, encode__format=image_format, scale=scale)
    monkeypatch.setattr(finish_module, "BAND_PX", 1500)
    monkeypatch.setattr("tss_ray.engine.compose.BAND_PX", 1500)
    monkeypatch.setattr(finish_module.Composition.__init__, "__defaults__", (None, 1500))
    banded = upscaled(data, strength=0.05, encode__format=image_format, scale=scale)
    assert np.abs(banded.pixels.astype(int) - whole.pixels).max() <= (1 if image_format != "jpeg" else 2)
    assert banded.finished.lr_consistency_psnr == pytest.approx(whole.finished.lr_consistency_psnr, abs=1e-3)


@pytest.mark.parametrize("correction", ["none", "mean", "wavelet"])
def test_a_cast_is_taken_back_and_its_size_recorded(
    upscaled: Callable[..., Result], monkeypatch: pytest.MonkeyPatch, correction: str
) -> None:
    data = deep(ramp(32, 32, 3, 200))
    cast = torch.tensor([[[0.05]], [[0.0]], [[-0.05]]])
    plain = finish_module.Composition._stitched
    monkeypatch.setattr(finish_module.Composition, "_stitched", lambda *place: plain(*place) + cast)
    result = upscaled(data, colour__correction=correction)
    assert result.finished.colour_correction == correction
    assert result.finished.colour_delta_e is not None
    if correction == "none":
        assert result.finished.colour_delta_e > 2
    else:
        assert result.finished.colour_delta_e < 0.6
        assert np.abs(result.pixels.mean((0, 1)) - ramp(32, 32, 3, 200).mean((0, 1))).max() < 1.5


def test_a_profile_that_cannot_be_converted_is_taken_for_srgb(upscaled: Callable[..., Result]) -> None:
    values = ramp(12, 12, 3, 255)
    broken = wide_gamut()[:132] + bytes(len(wide_gamut()) - 132)
    result = upscaled(deep(values, "png", broken), strength=0.0, encode__icc="srgb")
    assert np.abs(result.pixels - bicubic(values)).max() <= 1


def test_metadata_too_long_for_jpeg_is_left_out_and_the_picture_kept(upscaled: Callable[..., Result]) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.ImageDescription] = "x" * 70_000
    data = saved(Image.fromarray(ramp(12, 12, 3, 255)), "PNG", exif=exif, dpi=(300, 300))
    assert b"x" * 70_000 in upscaled(data).finished.file.data
    file = upscaled(data, encode__format="jpeg").file
    assert (file.width, round(file.xres * 25.4)) == (48, 300)


def test_alpha_does_not_fit_into_jpeg(upscaled: Callable[..., Result]) -> None:
    with pytest.raises(EncodeError, match="png or webp"):
        upscaled(deep(ramp(8, 8, 4, 255)), encode__format="jpeg")


def test_sixteen_bits_and_metadata_cross_between_operators() -> None:
    pixels = ramp(3, 5, 4, 65535)
    row = ManifestRow(image_key="a", input_uri="a", spec_hash="0", in_height=3, in_width=5)
    metadata = decode(photographed(), 10**6).metadata
    (back,) = prepared_images(prepared_table([PreparedImage(row, pixels, b"icc", metadata, linear=True)]))
    assert back.pixels is not None
    assert (num_bits(back.pixels), back.metadata, back.linear) == (16, metadata, True)
    assert np.array_equal(back.pixels, pixels)
