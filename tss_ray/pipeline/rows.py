"""How images cross between operators: the manifest row so far, and pixels as raw bytes.

Raw bytes in a binary column, not Ray's tensor column: a block of variable-shape tensors costs many times as much.
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from tss_ray.imaging.metadata import NO_METADATA, Metadata
from tss_ray.imaging.pixels import Pixels, num_bits
from tss_ray.records import MANIFEST_SCHEMA, ManifestRow, rows_to_table, table_to_rows


@dataclass(frozen=True, slots=True)
class PreparedImage:
    """A row and, unless it is quarantined, its pixels (h,w,c) uint8 or uint16, colour profile and metadata."""

    row: ManifestRow
    pixels: Pixels | None = None
    icc_profile: bytes | None = None
    metadata: Metadata = NO_METADATA
    linear: bool = False
    """Whether values are proportional to light; see `imaging.colour.is_linear`."""
    streamed: bool = False
    """Whether it is so large that its pixels stay behind: who streams it reads its file again (`pipeline.large`)."""


FILE = "file"
"""Column of finished rows: the bytes of a result that goes into a shard."""

_CARGO = {
    "pixels": pa.large_binary(),
    "channels": pa.int8(),
    "bits": pa.int8(),
    "icc_profile": pa.large_binary(),
    "exif": pa.large_binary(),
    "xmp": pa.large_binary(),
    "dpi": pa.list_(pa.float64()),
    "linear": pa.bool_(),
    "streamed": pa.bool_(),
}


def prepared_table(images: list[PreparedImage]) -> pa.Table:
    """Return the block, in order."""
    table = rows_to_table([image.row for image in images])
    cargo = {
        "pixels": [None if i.pixels is None else np.ascontiguousarray(i.pixels).tobytes() for i in images],
        "channels": [None if i.pixels is None else i.pixels.shape[2] for i in images],
        "bits": [None if i.pixels is None else num_bits(i.pixels) for i in images],
        "icc_profile": [i.icc_profile for i in images],
        "exif": [i.metadata.exif for i in images],
        "xmp": [i.metadata.xmp for i in images],
        "dpi": [i.metadata.dpi for i in images],
        "linear": [i.linear for i in images],
        "streamed": [i.streamed for i in images],
    }
    for name, kind in _CARGO.items():
        table = table.append_column(name, pa.array(cargo[name], kind))
    return table


def prepared_images(table: pa.Table) -> list[PreparedImage]:
    """Invert `prepared_table`; the pixels are views into the block."""
    images = []
    for i, row in enumerate(table_to_rows(table.select(MANIFEST_SCHEMA.names))):
        buffer, channels = table["pixels"][i].as_buffer(), table["channels"][i].as_py()
        pixels = None
        if buffer is not None:
            depth = np.uint8 if table["bits"][i].as_py() == 8 else np.uint16
            pixels = np.frombuffer(buffer, depth).reshape(row.in_height or 0, row.in_width or 0, channels)
        icc_profile, exif, xmp, dpi = (table[name][i].as_py() for name in ("icc_profile", "exif", "xmp", "dpi"))
        metadata = Metadata(exif, xmp, tuple(dpi) if dpi else None)
        linear, streamed = table["linear"][i].as_py(), table["streamed"][i].as_py()
        images.append(PreparedImage(row, pixels, icc_profile, metadata, linear, streamed))
    return images
