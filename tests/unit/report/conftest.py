"""Outputs as runs leave them, without a run: rows committed by the ledger, pictures beside them."""

import io
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from photos import photo_bytes
from PIL import Image

from tss_ray.records import ManifestRow
from tss_ray.spec import StoreSpec
from tss_ray.storage.layout import output_key
from tss_ray.storage.ledger import write_part
from tss_ray.storage.stores import open_store

BEGAN = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)
STAGES = {"fetch_s": 1, "decode_s": 2, "probe_s": 3, "queue_s": 4, "denoise_s": 5, "encode_s": 6, "upload_s": 7}


@pytest.fixture
def make_row() -> Callable[..., ManifestRow]:
    """Return a function that makes a done row: 4 tiles of 10×20 px, 28 s of stages in 30 s; keywords change it.

    `at` is its start and `took` its time, in seconds.
    """

    def make(key: str, at: float = 0, took: float = 30, **changes: Any) -> ManifestRow:
        done = {
            "status": "done",
            "output_uri": f"/out/images/{key}",
            "in_width": 10,
            "in_height": 20,
            "out_width": 40,
            "out_height": 80,
            "output_bytes": 100,
            "texture_score": 0.5,
            "num_steps": 7,
            "num_tiles": 4,
            "nfe": 28,
            "tile_px": 64,
            "num_steps_top_rung": 15,
            "device_seconds": 2.0,
            "lr_consistency_psnr": 40.0,
            "started_at": BEGAN + timedelta(seconds=at),
            "finished_at": BEGAN + timedelta(seconds=at + took),
        }
        fields = {"image_key": key, "input_uri": f"/in/{key}", "spec_hash": "abc"} | done | STAGES | changes
        return ManifestRow(**fields)

    return make


@pytest.fixture
def make_fault() -> Callable[..., ManifestRow]:
    """Return a function that makes a quarantined row."""

    def make(key: str, kind: str = "corrupt") -> ManifestRow:
        row = ManifestRow(image_key=key, input_uri=f"/in/{key}", spec_hash="abc")
        return row.quarantined(kind, f"{key} <b>is</b> damaged; replace it")

    return make


@pytest.fixture
def write_output(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that commits rows in parts of two below a folder."""

    def write(rows: Sequence[ManifestRow], name: str = "out") -> Path:
        store = open_store(str(tmp_path / name), StoreSpec())
        for first in range(0, len(rows), 2):
            write_part(store, list(rows[first : first + 2]))
        return tmp_path / name

    return write


@pytest.fixture
def picture_output(
    tmp_path: Path, make_row: Callable[..., ManifestRow], write_output: Callable[..., Path]
) -> Callable[..., Path]:
    """Return a function that writes inputs, brightened enlargements of them as outputs, and their rows."""

    def write(keys: Sequence[str], mode: str = "RGB", **changes: Any) -> Path:
        inputs, outputs = (open_store(str(tmp_path / name), StoreSpec()) for name in ("in", "out"))
        rows = []
        for index, key in enumerate(keys):
            data = photo_bytes(index, 90, 100, mode)
            inputs.write(key, data)
            enlarged = Image.open(io.BytesIO(data)).resize((360, 400), Image.Resampling.BICUBIC)
            buffer = io.BytesIO()
            enlarged.save(buffer, "PNG")
            target = output_key(key, "png")
            outputs.write(target, buffer.getvalue())
            sizes = {"in_width": 90, "in_height": 100, "out_width": 360, "out_height": 400}
            rows.append(make_row(key, **sizes, input_uri=inputs.uri(key), output_uri=outputs.uri(target), **changes))
        return write_output(rows)

    return write
