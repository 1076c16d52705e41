"""A folder as a store: sorted walks, atomic writes, no way out of the root."""

import contextlib
import errno
import fcntl
import hashlib
import io
import os
import shutil
import stat
import uuid
from collections.abc import Iterator
from typing import BinaryIO

from tss_ray.errors import AccessRefusedError, ImageError, ObjectNotFoundError, StorageError, TssRayError
from tss_ray.storage.protocol import ObjectInfo, Versioned

_COPY_BYTES = 1_048_576


class LocalStore:
    """Keys are paths below `root`. Links are followed; a link back to a folder above itself is not."""

    def __init__(self, root: str) -> None:
        # Absolute, because a worker that unpickles this may stand in another folder.
        self.root = os.path.abspath(root)

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """Walk in the order of sorted keys; what is held is the names of the open folders, never the tree."""
        folder, _, start = prefix.rpartition("/")
        if folder and not os.path.isdir(self._path(folder)):
            return
        with _told(self.root):
            yield from self._walk(f"{folder}/" if folder else "", start, ())

    def _walk(self, folder: str, start: str, above: tuple[tuple[int, int], ...]) -> Iterator[ObjectInfo]:
        path = f"{self.root}/{folder}"
        here = os.stat(path)
        identity = (here.st_dev, here.st_ino)
        if identity in above:
            return
        with os.scandir(path) as entries:
            # With its slash a folder sorts where its first key would: the walk is in the order of whole keys.
            names = [e.name + "/" * _is_folder(e) for e in entries if e.name[0] != "." and e.name.startswith(start)]
        names.sort()
        for name in names:
            if name.endswith("/"):
                yield from self._walk(folder + name, "", (*above, identity))
                continue
            try:
                info = os.stat(path + name)
            except OSError as error:
                if error.errno not in (errno.ENOENT, errno.ELOOP):
                    raise
                # A dangling link is an input that cannot be read: listed, so that it gets its row.
                yield ObjectInfo(folder + name, 0, None)
                continue
            if stat.S_ISREG(info.st_mode):
                yield ObjectInfo(folder + name, info.st_size, f"{info.st_mtime_ns:x}-{info.st_size:x}")

    def read(self, key: str, max_bytes: int | None = None) -> bytes:
        path = self._path(key)
        with _told(path):
            info = os.stat(path)
            # Opening a pipe would wait for a writer for ever.
            if not stat.S_ISREG(info.st_mode):
                raise ObjectNotFoundError(f"{path} is not a file; remove it from the input")
            check_size(path, info.st_size, max_bytes)
            with open(path, "rb") as file:
                return file.read()

    def read_range(self, key: str, first: int, length: int) -> bytes:
        path = self._path(key)
        with _told(path), open(path, "rb") as file:
            file.seek(first)
            return whole_range(path, file.read(length), length)

    def write(self, key: str, data: bytes, content_type: str = "application/octet-stream") -> None:
        self._write(key, io.BytesIO(data))

    def write_file(self, key: str, path: str, content_type: str = "application/octet-stream") -> None:
        with open(path, "rb") as source:
            self._write(key, source)

    def _write(self, key: str, source: BinaryIO) -> None:
        path = self._path(key)
        folder = os.path.dirname(path)
        # Hidden, so that a listing never shows what a killed writer left behind.
        temporary = os.path.join(folder, f".{uuid.uuid4().hex}.tmp")
        with _told(path):
            try:
                os.makedirs(folder, exist_ok=True)
                with open(temporary, "wb") as file:
                    shutil.copyfileobj(source, file, _COPY_BYTES)
                    file.flush()
                    # A row may only say "done" of bytes that survive a power cut.
                    os.fsync(file.fileno())
                os.replace(temporary, path)
            except BaseException:
                with contextlib.suppress(OSError):
                    os.unlink(temporary)
                raise

    def read_version(self, key: str) -> Versioned | None:
        try:
            data = self.read(key)
        except ObjectNotFoundError:
            return None
        return Versioned(data, hashlib.sha256(data).hexdigest())

    def swap(self, key: str, data: bytes, version: str | None) -> str | None:
        with self._locked(key):
            now = self.read_version(key)
            if (now.version if now else None) != version:
                return None
            self.write(key, data)
        return hashlib.sha256(data).hexdigest()

    @contextlib.contextmanager
    def _locked(self, key: str) -> Iterator[None]:
        """Hold the key's lock, a hidden file beside it, which the kernel lets go of when its holder dies."""
        folder, name = os.path.split(self._path(key))
        path = os.path.join(folder, f".{name}.lock")
        with _told(path):
            os.makedirs(folder, exist_ok=True)
            file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            # Some network mounts have no locks: what is left there is reading before writing.
            with contextlib.suppress(OSError):
                fcntl.flock(file, fcntl.LOCK_EX)
            yield
        finally:
            os.close(file)

    def exists(self, key: str) -> bool:
        return os.path.isfile(self._path(key))

    def delete(self, key: str) -> None:
        path = self._path(key)
        with _told(path), contextlib.suppress(FileNotFoundError):
            os.unlink(path)

    def uri(self, key: str) -> str:
        return self._path(key)

    def check_readable(self) -> None:
        if not os.path.isdir(self.root):
            what = "is a file, not a folder" if os.path.exists(self.root) else "does not exist"
            raise ObjectNotFoundError(f"{self.root} {what}; correct the path")
        with _told(self.root), os.scandir(self.root) as entries:
            next(entries, None)

    def check_writable(self) -> None:
        probe = f".tss-ray-probe-{uuid.uuid4().hex}"
        try:
            self.write(probe, b"probe")
        except ImageError as error:
            raise StorageError(f"{self.root} cannot be a folder: {error}; choose another folder") from error
        self.delete(probe)

    def _path(self, key: str) -> str:
        """Return the path of a key. Raises ImageError for one that would lie outside the root."""
        parts = key.split("/")
        if "\0" in key or any(part in ("", ".", "..") for part in parts):
            raise ImageError("bad_key", f"key {key!r} is no path below {self.root}; rename the object")
        return f"{self.root.removesuffix('/')}/{key}"


def _is_folder(entry: os.DirEntry[str]) -> bool:
    return entry.is_dir(follow_symlinks=False) or (entry.is_symlink() and os.path.isdir(entry.path))


def check_size(uri: str, size_bytes: int, max_bytes: int | None) -> None:
    """Raise ImageError "too_large" for an object over the limit."""
    if max_bytes is not None and size_bytes > max_bytes:
        raise ImageError(
            "too_large", f"{uri}: {size_bytes} bytes, over the limit of {max_bytes}; raise limits.max_input_bytes"
        )


def whole_range(uri: str, data: bytes, length: int) -> bytes:
    """Return the data. Raises StorageError where it is not of this length."""
    if len(data) != length:
        raise StorageError(f"{uri}: {len(data)} of {length} bytes are there; it was cut since it was listed")
    return data


@contextlib.contextmanager
def _told(path: str) -> Iterator[None]:
    """Turn what the file system refuses into our errors."""
    try:
        yield
    except TssRayError:
        raise
    except OSError as error:
        where = error.filename if isinstance(error.filename, str) else path
        raise _explained(error, where) from error
    except ValueError as error:  # a lone surrogate in a name, which no file system here can hold
        raise ImageError("bad_key", f"{path!r} is no file name: {error}; rename the object") from error


def _explained(error: OSError, path: str) -> TssRayError:
    reason = error.strerror or str(error)
    match error.errno:
        case errno.ENOENT:
            return ObjectNotFoundError(f"{path} does not exist; correct the path")
        case errno.EACCES | errno.EPERM | errno.EROFS:
            return AccessRefusedError(f"{path}: {reason}; grant this user access, or choose another folder")
        case errno.ENOSPC | errno.EDQUOT:
            return StorageError(f"{path}: {reason}; free space, then run again: finished images are kept")
        case errno.ENAMETOOLONG | errno.ENOTDIR | errno.EISDIR | errno.EEXIST:
            # One key's own fault: too long a name, or a file where another key needs a folder.
            return ImageError("bad_key", f"{path}: {reason}; rename the object")
        case _:
            return StorageError(f"{path}: {reason}; check the disk or the mount")


__all__ = ["LocalStore", "check_size"]
