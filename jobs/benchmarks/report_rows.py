"""Rows as a long run leaves them, without a run: committed parts of a synthetic manifest, streamed to disk.

The columns that a report asks about are filled as the pipeline fills them, and so are the large ones that it must step
over: sha256 columns hold unique hex, which no compression takes away. One input in 200 is quarantined, one image in 100
is held out, one in 20 has two metrics. The same seed, the same rows.
"""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from tss_ray.records import MANIFEST_SCHEMA
from tss_ray.storage.layout import part_key

_LADDER = np.array([0, 1, 2, 4, 7, 10, 15])
_THRESHOLDS = (0.08, 0.28, 0.46, 0.64, 0.78, 1.0)
_KINDS = ("corrupt", "not_an_image", "too_large", "fetch_failed")
_NUM_FOLDERS = 200
_SHARE_QUARANTINED, _SHARE_HELD_OUT, _SHARE_MEASURED, _SHARE_REFUSED = 1 / 200, 1 / 100, 1 / 20, 1 / 500
_DEVICE_S_PER_TILE_STEP = 0.004
_IMAGES_PER_S = 20
_EPOCH_US = 1_767_225_600_000_000
"""2026-01-01 00:00 UTC."""


def write_manifest(output: Path, num_rows: int, rows_per_part: int, seed: int = 0) -> int:
    """Write the parts below `output`; return their number. One part is in memory at a time."""
    (output / part_key("0")).parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    firsts = range(0, num_rows, rows_per_part)
    for index, first in enumerate(firsts):
        table = synthetic_rows(first, min(rows_per_part, num_rows - first), rng)
        pq.write_table(table, output / part_key(f"{index:016x}"), compression="zstd")
    return len(firsts)


def synthetic_rows(first: int, num: int, rng: np.random.Generator) -> pa.Table:
    """Return rows number `first` to `first + num` as a table of MANIFEST_SCHEMA."""
    done = rng.random(num) >= _SHARE_QUARANTINED
    measured = done & (rng.random(num) < _SHARE_MEASURED)
    index = np.arange(first, first + num)
    width, height = rng.integers(64, 640, num), rng.integers(64, 640, num)
    texture = rng.beta(2.2, 3.0, num)
    steps = _LADDER[np.digitize(texture, _THRESHOLDS)]
    tiles = -(-width // 48) * -(-height // 48)
    device_s = tiles * steps * _DEVICE_S_PER_TILE_STEP * rng.normal(1, 0.05, num)
    stages = {name: rng.gamma(2, mean / 2, num) for name, mean in _STAGE_MEANS.items()}
    stages["denoise_s"] = device_s * rng.uniform(8, 16, num)
    started = _EPOCH_US + index * 1_000_000 // _IMAGES_PER_S
    took = sum(stages.values()) + rng.gamma(2, 5.0, num)
    key = _keys(index)
    kind = pa.array(np.array(_KINDS)[rng.integers(0, len(_KINDS), num)])
    texts: dict[str, pa.Array] = {
        "error_kind": _where(~done, kind),
        "error_message": _where(~done, pc.binary_join_element_wise(kind, "synthetic; replace the file", ": ")),
        "output_uri": _where(done, pc.binary_join_element_wise("s3://bucket/sr/images/", key, "")),
        "input_sha256": _hex(num, rng),
        "output_sha256": _where(done, _hex(num, rng)),
    }
    of_done: dict[str, NDArray[np.generic]] = {
        "in_width": width,
        "in_height": height,
        "out_width": width * 4,
        "out_height": height * 4,
        "output_bytes": width * height * 20,
        "texture_score": texture,
        "noise_sigma": rng.gamma(2, 0.01, num),
        "blur_score": rng.random(num),
        "num_steps": steps,
        "num_steps_top_rung": np.full(num, _LADDER[-1]),
        "num_tiles": tiles,
        "nfe": tiles * steps,
        "device_seconds": device_s,
        "tile_px": rng.choice([16, 32, 48, 64], num),
        "padding_ratio": rng.uniform(1, 1.4, num),
        "holdout": rng.random(num) < _SHARE_HELD_OUT,
        "lr_consistency_psnr": np.clip(rng.normal(42, 4, num), 8, 100),
        **stages,
    }
    filled: dict[str, pa.Array] = {
        "image_key": key,
        "input_uri": pc.binary_join_element_wise("s3://bucket/lr/", key, ""),
        "status": pa.array(np.where(done, "done", "quarantined")),
        "input_bytes": pa.array(width * height * 2),
        "started_at": pa.array(started, pa.timestamp("us", tz="UTC")),
        "finished_at": pa.array(started + (took * 1e6).astype(np.int64), pa.timestamp("us", tz="UTC")),
        **{name: pa.array([value] * num) for name, value in _CONSTANTS.items()},
        **texts,
        "refused_device_s": pa.array(device_s, mask=~(done & (rng.random(num) < _SHARE_REFUSED))),
        "metrics": _metrics(measured, rng),
        "metrics_s": pa.array(rng.gamma(2, 0.5, num), mask=~measured),
        **{name: pa.array(values, mask=~done) for name, values in of_done.items()},
    }
    columns = [filled[f.name].cast(f.type) if f.name in filled else pa.nulls(num, f.type) for f in MANIFEST_SCHEMA]
    return pa.Table.from_arrays(columns, schema=MANIFEST_SCHEMA)


_STAGE_MEANS = {"fetch_s": 0.05, "decode_s": 0.02, "probe_s": 0.01, "queue_s": 2.0, "encode_s": 0.3, "upload_s": 0.08}
_CONSTANTS = {
    "spec_hash": "0123456789abcdef",
    "budget_policy": "texture",
    "plan_family": "tds",
    "plan_a_min": 0.5,
    "plan_a_max": 0.5,
    "plan_n_min": 2.0,
    "plan_n_max": 2.0,
    "plan_levels": 1,
    "eta": 0.0,
    "eta_by_texture": False,
    "seed": 0,
    "model_id": "synthetic",
    "model_sha256": "0" * 64,
    "in_mode": "RGB",
    "out_mode": "RGB",
    "in_format": "JPEG",
    "out_format": "PNG",
    "device": "synthetic",
    "node": "synthetic",
}


def _keys(index: NDArray[np.int64]) -> pa.Array:
    folders = pc.utf8_lpad(pa.array(index % _NUM_FOLDERS).cast(pa.string()), 3, "0")
    names = pc.utf8_lpad(pa.array(index).cast(pa.string()), 9, "0")
    half = pa.array(np.where(index % 2, "train/", "test/"))
    return pc.binary_join_element_wise(half, folders, "/", names, ".jpg", "")


def _hex(num: int, rng: np.random.Generator) -> pa.Array:
    digits = rng.bytes(32 * num).hex().encode()
    offsets = np.arange(num + 1, dtype=np.int32) * 64
    return pa.StringArray.from_buffers(num, pa.py_buffer(offsets.tobytes()), pa.py_buffer(digits))


def _metrics(drawn: NDArray[np.bool_], rng: np.random.Generator) -> pa.Array:
    """Return the column `metrics`: two metrics where drawn, null elsewhere."""
    kind = MANIFEST_SCHEMA.field("metrics").type
    offsets = pa.array(np.concatenate([[0], 2 * np.cumsum(drawn)[:-1]]).astype(np.int32), mask=~drawn)
    offsets = pa.concat_arrays([offsets, pa.array([2 * int(drawn.sum())], pa.int32())])
    num = 2 * int(drawn.sum())
    values = pa.StructArray.from_arrays(
        [
            pa.array(["niqe", "piqe"] * (num // 2), pa.string()),
            pa.array(rng.normal(6, 1, num)),
            pa.array(rng.normal(4, 1, num)),
            pa.nulls(num, pa.string()),
        ],
        fields=list(kind.value_type),
    )
    return pa.ListArray.from_arrays(offsets, values).cast(kind)


def _where(mask: NDArray[np.bool_], values: pa.Array) -> pa.Array:
    return pc.if_else(pa.array(mask), values, pa.scalar(None, values.type))
