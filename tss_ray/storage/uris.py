"""Where something is: local paths, file://, s3://bucket/key, sample://photos.

An S3 key is taken letter for letter: spaces, `%`, `#`, `?` and unicode mean themselves, so nothing here encodes or
decodes one. Only file:// is decoded, because RFC 8089 says that what follows it is encoded.
"""

import os
import re
from dataclasses import dataclass
from typing import Literal
from urllib.parse import unquote

from tss_ray.errors import SpecError

Scheme = Literal["file", "s3", "sample"]

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://", re.ASCII)


@dataclass(frozen=True, slots=True)
class Location:
    """A parsed URI."""

    scheme: Scheme
    bucket: str
    """s3: the bucket. sample: the collection. file: empty."""
    path: str
    """s3, sample: the key or prefix, as written. file: the path, as written."""

    def __str__(self) -> str:
        if self.scheme == "file":
            return self.path
        return f"{self.scheme}://{self.bucket}/{self.path}" if self.path else f"{self.scheme}://{self.bucket}"

    @property
    def prefix(self) -> str:
        """The path as what every key below it begins with: empty, or ending in a slash."""
        return self.path if not self.path or self.path.endswith("/") else self.path + "/"

    def parts(self) -> tuple[str, ...]:
        """Scheme, bucket and path components: what two locations have in common is a common beginning of these."""
        if self.scheme == "file":
            return ("file", *os.path.abspath(self.path).split("/")[1:])
        return (self.scheme, self.bucket, *self.path.split("/"))


def parse_uri(uri: str) -> Location:
    """Split a URI; what has no scheme is a local path. Raises SpecError for a scheme that is not served."""
    if "\0" in uri:
        raise SpecError(f"{uri!r} holds a NUL character; remove it")
    match = _SCHEME.match(uri)
    if match is None:
        if not uri:
            raise SpecError("an empty path; give a folder, a file or a URI")
        return Location("file", "", uri)
    scheme, rest = match[1].lower(), uri[match.end() :]
    if scheme == "file":
        host, slash, path = rest.partition("/")
        if host not in ("", "localhost") or not slash:
            raise SpecError(f"{uri} names another machine; write file:///path, or the plain path")
        return Location("file", "", "/" + unquote(path))
    if scheme == "s3":
        bucket, _, key = rest.partition("/")
        if not bucket:
            raise SpecError(f"{uri} names no bucket; write s3://bucket/prefix")
        return Location("s3", bucket, key)
    if scheme == "sample":
        collection, _, key = rest.partition("/")
        if collection != "photos":
            raise SpecError(f"{uri}: there is no such sample; write sample://photos")
        return Location("sample", collection, key)
    raise SpecError(f"{uri}: {scheme}:// is not served; copy the data to S3 or to a mounted folder")


def absolute_uri(uri: str) -> str:
    """Return the URI as any process on this machine understands it, whatever folder it works in."""
    where = parse_uri(uri)
    return os.path.abspath(where.path) if where.scheme == "file" else uri


def join_uri(root: str, key: str) -> str:
    """Return the URI of a key under a root folder or prefix."""
    return f"{parse_uri(root)}".removesuffix("/") + "/" + key


def check_output_path(output: str) -> Location:
    """Parse where results go. Raises SpecError for what cannot be written to."""
    where = parse_uri(output)
    if where.scheme == "sample":
        raise SpecError(f"output {output} is read-only; choose a folder or s3://bucket/prefix")
    if where.scheme == "file" and os.path.exists(where.path) and not os.path.isdir(where.path):
        raise SpecError(f"output {output} is a file; choose a folder")
    return where
