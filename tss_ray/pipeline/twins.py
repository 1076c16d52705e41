"""Byte-identical inputs within what one actor sees: the first is upscaled, the others get its file and their own rows.

Nothing waits for another worker, and nothing depends on a twin being found: an image's noise follows from its bytes,
so a copy that is upscaled again becomes the same file.
"""

import threading
from collections import Counter, OrderedDict
from dataclasses import dataclass, replace

from tss_ray.imaging.encode import EncodedImage
from tss_ray.records import ManifestRow
from tss_ray.storage.layout import output_format

MAX_BYTES = 64 * 2**20
"""Of finished files that an actor remembers."""

Identity = tuple[object, ...]
"""What decides a file within one job."""


@dataclass(frozen=True, slots=True)
class Upscaled:
    """A finished image: its row and its file."""

    row: ManifestRow
    file: EncodedImage


def identity(row: ManifestRow, image_format: str) -> Identity | None:
    """Return what must be equal for two prepared images to become one file; None where nothing was read.

    The steps are part of it, because under a budget they may follow from the key (holdout) or the moment.
    """
    if row.input_sha256 is None or row.in_width is None:
        return None
    written_as = output_format(row.image_key, image_format)
    return row.input_sha256, row.num_steps, row.out_width, row.out_height, written_as


def twin_row(row: ManifestRow, original: ManifestRow) -> ManifestRow:
    """Return the row of a prepared image whose file `original` has made: what it is, and that it took nothing."""
    return replace(
        original,
        image_key=row.image_key,
        input_uri=row.input_uri,
        budget_lambda=row.budget_lambda,
        holdout=row.holdout,
        nfe=0,
        fetch_s=row.fetch_s,
        decode_s=row.decode_s,
        probe_s=row.probe_s,
        queue_s=None,
        denoise_s=None,
        encode_s=None,
        device=None,
        device_seconds=0.0,
        refused_device_s=None,
        node=row.node,
        started_at=row.started_at,
        duplicate_of=original.image_key,
    )


class Twins:
    """Finished images by identity, the latest ones that fit; several threads may ask at once."""

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        """Begin empty."""
        self._max_bytes, self._num_bytes = max_bytes, 0
        self._finished: OrderedDict[Identity, Upscaled] = OrderedDict()
        self._held: Counter[Identity] = Counter()
        self._lock = threading.Lock()

    def hold(self, key: Identity) -> None:
        """Keep what becomes of it, however large, until `release` was called as often."""
        with self._lock:
            self._held[key] += 1

    def release(self, key: Identity) -> None:
        """Undo one `hold`."""
        with self._lock:
            self._held[key] -= 1
            if not self._held[key]:
                del self._held[key]

    def add(self, key: Identity, upscaled: Upscaled) -> None:
        """Remember a finished image; the oldest ones that nobody holds are forgotten for it."""
        with self._lock:
            before = self._finished.pop(key, None)
            self._finished[key] = upscaled
            self._num_bytes += len(upscaled.file.data) - (len(before.file.data) if before else 0)
            for old in [key for key in self._finished if key not in self._held]:
                if self._num_bytes <= self._max_bytes:
                    break
                self._num_bytes -= len(self._finished.pop(old).file.data)

    def get(self, key: Identity) -> Upscaled | None:
        """Return a finished image; None where there is none, or it was forgotten."""
        with self._lock:
            return self._finished.get(key)
