"""What a store is: keys under a root, listed lazily, read whole and written at once."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """One object of a listing."""

    key: str
    """Relative to the store's root, components separated by "/"."""
    size_bytes: int
    etag: str | None
    """Changes when the object does; opaque."""


@dataclass(frozen=True, slots=True)
class Versioned:
    """An object's bytes and what `Store.swap` knows them by."""

    data: bytes
    version: str
    """Changes when the bytes do; opaque."""


class Store(Protocol):
    """Objects under a folder or prefix; picklable, and free of connections until first used.

    Every method raises StorageError (or its children) for what the store refuses, and ImageError of kind "bad_key"
    for a key that this store cannot hold.
    """

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """Yield the objects whose key begins with `prefix`, in the store's order, a page at a time.

        Hidden ones (a component that begins with ".") and folder markers (a key ending in "/") are left out.
        """

    def read(self, key: str, max_bytes: int | None = None) -> bytes:
        """Return an object's bytes. Raises ImageError "too_large" instead of reading more than `max_bytes`."""

    def read_range(self, key: str, first: int, length: int) -> bytes:
        """Return bytes [first, first + length) of an object that holds them; length is at least 1.

        Raises StorageError where it holds fewer.
        """

    def write(self, key: str, data: bytes, content_type: str = "application/octet-stream") -> None:
        """Create or replace an object; a reader sees the old bytes or the new ones, never a part."""

    def write_file(self, key: str, path: str, content_type: str = "application/octet-stream") -> None:
        """As `write`, of the bytes of a local file, which are never all in memory."""

    def read_version(self, key: str) -> Versioned | None:
        """Return an object with its version; None where there is none."""

    def swap(self, key: str, data: bytes, version: str | None) -> str | None:
        """Write only if the object is still of this version (None: absent); return the new version.

        None where it is not, and nothing was written; also where this very write had been stored, but the answer to it
        was lost: read back and see.
        """

    def exists(self, key: str) -> bool:
        """Say whether the object is there."""

    def delete(self, key: str) -> None:
        """Remove the object; nothing happens where there is none."""

    def uri(self, key: str) -> str:
        """Return what `inputs.read_uri` takes."""

    def check_readable(self) -> None:
        """Raise now what listing and reading would raise later."""

    def check_writable(self) -> None:
        """Raise now what writing would raise later: writes a small hidden object and removes it."""


def is_hidden(key: str) -> bool:
    """Say whether a listing leaves this key out."""
    return key.startswith(".") or "/." in key or key.endswith("/") or not key
