"""Fetch, decode, probe, budget: from a key to pixels and a number of steps, or to a quarantined row.

Runs as CPU tasks apart from the device's actors: what rotten bytes can do to a decoder must not happen there.
"""

import hashlib
import platform
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import torch

from tss_ray.budget.policy import budget_columns
from tss_ray.errors import AccessRefusedError, ImageError, ObjectNotFoundError, StorageError
from tss_ray.imaging.apart import Child
from tss_ray.imaging.colour import is_linear
from tss_ray.imaging.decode import DecodedImage, decode
from tss_ray.imaging.pixels import num_bits
from tss_ray.imaging.size import target_size
from tss_ray.pipeline.journal import DEATHS_ALONE, KILLED, WatchedBlock
from tss_ray.pipeline.large import Decode, decoded, is_streamed, large_alone
from tss_ray.pipeline.meters import meters, tell_prepared
from tss_ray.pipeline.monitor import monitor_link, worker_logs
from tss_ray.pipeline.probe import probe
from tss_ray.pipeline.rows import PreparedImage, prepared_table
from tss_ray.records import ManifestRow
from tss_ray.spec import JobSpec
from tss_ray.storage.inputs import read_uri
from tss_ray.storage.layout import check_key

_THREADS = 8
"""Fetching waits on the network, and Pillow decodes without the interpreter's lock."""
_KILLER = (
    f"workers died over it {DEATHS_ALONE} times while it was alone; replace the file, or give the nodes more memory"
)


@dataclass(frozen=True)
class Prepare:
    """One block of keys in, one block of prepared images out, in the same order."""

    spec: JobSpec
    spec_hash: str
    monitor: Any

    def __call__(self, keys: pa.Table) -> pa.Table:
        """Prepare a block (columns image_key, uri, size_bytes). Data faults become rows."""
        torch.set_num_threads(1)  # the tasks are parallel already
        worker_logs(self.spec.telemetry, self.monitor)
        items = keys.to_pylist()
        watched = WatchedBlock(self.monitor, "prepare", [item["image_key"] for item in items])
        images = self._one_by_one(items, watched) if watched.trial.suspect else self._together(items)
        table = prepared_table(images)
        watched.end()
        tell_prepared(meters(), [image.row for image in images])
        return table

    def _together(self, items: list[dict[str, Any]]) -> list[PreparedImage]:
        link = monitor_link(self.monitor)

        def prepare(item: dict[str, Any]) -> PreparedImage:
            return PreparedImage(self._new_row(item)) if link.stopping else self.prepare(item, decode)

        with ThreadPoolExecutor(_THREADS) as pool:
            return list(pool.map(prepare, items))

    def _one_by_one(self, items: list[dict[str, Any]], watched: WatchedBlock) -> list[PreparedImage]:
        """Prepare a block that lost its worker, decoding in a child: what kills that one is no chance."""
        link = monitor_link(self.monitor)
        images = []
        with Child() as child:

            def decode_apart(data: bytes, max_px: int, animations: bool) -> DecodedImage:
                return child.call(decode, data, max_px, animations)

            for item in items:
                if item["image_key"] in watched.trial.killers:
                    images.append(PreparedImage(self._new_row(item).quarantined(KILLED, _KILLER)))
                elif link.stopping:
                    images.append(PreparedImage(self._new_row(item)))
                else:
                    watched.alone(item["image_key"])
                    images.append(self.prepare(item, decode_apart))
        return images

    def _new_row(self, item: dict[str, Any]) -> ManifestRow:
        return ManifestRow(
            image_key=item["image_key"],
            input_uri=item["uri"],
            spec_hash=self.spec_hash,
            node=platform.node(),
            started_at=datetime.now(UTC),
        )

    def prepare(self, item: dict[str, Any], decode: Decode) -> PreparedImage:
        """Prepare one image; what `decode` says of its bytes becomes its row."""
        row = self._new_row(item)
        try:
            check_key(row.image_key)
            began = time.perf_counter()
            data = read_uri(row.input_uri, self.spec.store, self.spec.limits.max_input_bytes)
            row = replace(
                row,
                fetch_s=time.perf_counter() - began,
                input_bytes=len(data),
                input_sha256=hashlib.sha256(data).hexdigest(),
            )
            began = time.perf_counter()
            with large_alone(self.spec, data):
                image = decoded(self.spec, data, decode)
                row = replace(row, decode_s=time.perf_counter() - began)
                row = self._probe(row, image)
        except ImageError as error:
            return PreparedImage(row.quarantined(error.kind, str(error)))
        except StorageError as error:
            return PreparedImage(row.quarantined(_storage_kind(error), str(error)))
        linear = is_linear(image.icc_profile)
        if is_streamed(self.spec, row):
            return PreparedImage(row, None, image.icc_profile, image.metadata, linear, streamed=True)
        return PreparedImage(row, image.pixels, image.icc_profile, image.metadata, linear)

    def _probe(self, row: ManifestRow, image: DecodedImage) -> ManifestRow:
        began = time.perf_counter()
        seen = probe(image.pixels)
        height, width = image.pixels.shape[:2]
        target = target_size(width, height, self.spec.scale, **self.spec.size.model_dump(), blur=seen.blur_score)
        columns = budget_columns(self.spec.budget, seen.texture_score, row.image_key)
        if target.left_alone_by:
            columns = replace(columns, num_steps=0)
        return replace(
            row,
            in_width=width,
            in_height=height,
            in_mode=image.mode,
            in_format=image.format,
            in_bits=num_bits(image.pixels),
            out_width=target.width,
            out_height=target.height,
            left_alone_by=target.left_alone_by,
            texture_score=seen.texture_score,
            noise_sigma=seen.noise_sigma,
            blur_score=seen.blur_score,
            **asdict(columns),
            probe_s=time.perf_counter() - began,
        )


def _storage_kind(error: StorageError) -> str:
    match error:
        case ObjectNotFoundError():
            return "not_found"
        case AccessRefusedError():
            return "access_refused"
        case _:
            return "fetch_failed"
