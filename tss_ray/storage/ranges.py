"""An object as a seekable file that fetches only what is read, in blocks."""

import io
from typing import cast

from tss_ray.storage.protocol import Store

BLOCK_BYTES = 1_048_576
"""A request each: whole tars of small images come in few of them, and large members are jumped over."""


class _Ranges(io.RawIOBase):
    def __init__(self, store: Store, key: str, size_bytes: int) -> None:
        self._store, self._key, self._size, self._at = store, key, size_bytes, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: "memoryview") -> int:  # type: ignore[override]  # any writable buffer
        length = max(0, min(len(buffer), self._size - self._at))
        if length:
            buffer[:length] = self._store.read_range(self._key, self._at, length)
        self._at += length
        return length


def open_ranges(store: Store, key: str, size_bytes: int, block_bytes: int = BLOCK_BYTES) -> io.BufferedReader:
    """Open an object of a known size. Reading raises StorageError, and ObjectNotFoundError where it has gone."""
    return io.BufferedReader(cast(io.RawIOBase, _Ranges(store, key, size_bytes)), block_bytes)
