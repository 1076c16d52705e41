"""A bucket, or a prefix of one, as a store. Importing this imports boto3, so only `stores` does, and late."""

import base64
import contextlib
import hashlib
import os
import random
import re
import time
import uuid
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING

from tss_ray.errors import ImageError, ObjectNotFoundError, StorageError
from tss_ray.spec import StoreSpec
from tss_ray.storage.local import check_size, whole_range
from tss_ray.storage.protocol import ObjectInfo, Versioned, is_hidden
from tss_ray.storage.s3_client import BODY_FAULTS, client, explained
from tss_ray.storage.s3_conditions import honours_conditions, put_if
from tss_ray.storage.tries import TRIES

if TYPE_CHECKING:
    from mypy_boto3_s3.type_defs import GetObjectOutputTypeDef

MAX_KEY_BYTES = 1024
"""S3's limit on a whole key, in UTF-8."""
_MAX_PUT_BYTES = 5_000_000_000
"""What one request may carry (S3 API, "PutObject"); larger objects go up in parts."""
_LONGEST_PAUSE_S = 5.0
_MD5 = re.compile("[0-9a-f]{32}")
_OPAQUE_ETAGS: set[tuple[StoreSpec, str]] = set()
"""Buckets of which this process knows that their ETags are no MD5s, although they look like them."""
_SETTLE_S = 3.0
"""How long a claim waits for others, on a server that knows no conditions."""


_md5 = partial(hashlib.md5, usedforsecurity=False)


class S3Store:
    """Keys are what follows `prefix`, which is empty or ends in a slash. Pickles as its settings."""

    def __init__(self, bucket: str, prefix: str, spec: StoreSpec) -> None:
        self.bucket = bucket
        self.prefix = prefix
        self.spec = spec

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        with self._explained(prefix):
            pages = client(self.spec).get_paginator("list_objects_v2")
            for page in pages.paginate(Bucket=self.bucket, Prefix=self.prefix + prefix):
                for item in page.get("Contents", []):
                    key = item["Key"][len(self.prefix) :]
                    if not is_hidden(key):
                        yield ObjectInfo(key, item["Size"], item.get("ETag"))

    def read(self, key: str, max_bytes: int | None = None) -> bytes:
        return self._get(key, max_bytes).data

    def read_range(self, key: str, first: int, length: int) -> bytes:
        found = self._get(key, None, f"bytes={first}-{first + length - 1}")
        return whole_range(self.uri(key), found.data, length)

    def _get(self, key: str, max_bytes: int | None, span: str = "") -> Versioned:
        """Read an object or a span of it: botocore counts the bytes, and an ETag that is their MD5 proves a whole one.

        What differs from such an ETag is read again; if it comes out the same twice, the ETag was something else.
        """
        differing, fault = None, ""
        for attempt in range(1, self.spec.max_attempts + 1):
            if attempt > 1:
                TRIES.add()
                time.sleep(random.uniform(0, min(_LONGEST_PAUSE_S, 0.1 * 2**attempt)))
            # Outside of the try: a request that failed was tried again already, as often as it may be.
            with self._explained(key):
                get = partial(client(self.spec).get_object, Bucket=self.bucket, Key=self._name(key))
                answer = get(Range=span) if span else get()
            try:
                with self._explained(key, BODY_FAULTS), contextlib.closing(answer["Body"]) as body:
                    check_size(self.uri(key), answer["ContentLength"], max_bytes)
                    found = Versioned(body.read(), answer["ETag"])
            except BODY_FAULTS as error:
                fault = type(error).__name__
                continue
            digest = None if span else self._differing_md5(answer, found.data)
            if digest is not None and digest == differing:
                _OPAQUE_ETAGS.add((self.spec, self.bucket))
            if digest == differing or digest is None or self.spec.max_attempts == 1:
                return found
            differing, fault = digest, "other bytes than their ETag says"
        raise StorageError(
            f"{self.uri(key)}: the body broke off {self.spec.max_attempts} times ({fault}); check the network, or "
            "raise store.max_attempts"
        )

    def _differing_md5(self, answer: "GetObjectOutputTypeDef", data: bytes) -> str | None:
        """Return the MD5 of the bytes if the ETag seems to be an MD5, and of other bytes.

        Of multipart uploads and encrypted objects it is none (S3 API, "Object"), and servers may put there what they
        like: once two readings agreed with each other and not with it, no more is asked of it.
        """
        etag = answer["ETag"].strip('"')
        encrypted = "kms" in answer.get("ServerSideEncryption", "") or "SSECustomerAlgorithm" in answer
        if encrypted or not _MD5.fullmatch(etag) or (self.spec, self.bucket) in _OPAQUE_ETAGS:
            return None
        digest = hashlib.md5(data, usedforsecurity=False).hexdigest()
        return None if digest == etag else digest

    def write(self, key: str, data: bytes, content_type: str = "application/octet-stream") -> None:
        with self._explained(key):
            md5 = base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()
            client(self.spec).put_object(
                Bucket=self.bucket, Key=self._name(key), Body=data, ContentType=content_type, ContentMD5=md5
            )

    def write_file(self, key: str, path: str, content_type: str = "application/octet-stream") -> None:
        with self._explained(key), open(path, "rb") as file:
            if os.path.getsize(path) > _MAX_PUT_BYTES:
                client(self.spec).upload_fileobj(
                    file, self.bucket, self._name(key), ExtraArgs={"ContentType": content_type}
                )
                return
            md5 = base64.b64encode(hashlib.file_digest(file, _md5).digest()).decode()
            file.seek(0)
            client(self.spec).put_object(
                Bucket=self.bucket, Key=self._name(key), Body=file, ContentType=content_type, ContentMD5=md5
            )

    def read_version(self, key: str) -> Versioned | None:
        try:
            return self._get(key, None)
        except ObjectNotFoundError:
            return None

    def swap(self, key: str, data: bytes, version: str | None) -> str | None:
        with self._explained(key):
            if honours_conditions(self.spec, self.bucket, self.prefix):
                return put_if(client(self.spec), self.bucket, self._name(key), data, version)
        now = self.read_version(key)
        if (now.version if now else None) != version:
            return None
        self.write(key, data)
        # Whoever read the same version has written by now: the last one stays, and all of them see who that was.
        time.sleep(_SETTLE_S)
        now = self.read_version(key)
        return now.version if now and now.data == data else None

    def exists(self, key: str) -> bool:
        with self._explained(key):
            s3 = client(self.spec)
            try:
                s3.head_object(Bucket=self.bucket, Key=self._name(key))
            except s3.exceptions.ClientError as error:
                if error.response.get("ResponseMetadata", {}).get("HTTPStatusCode") == 404:
                    return False
                raise
            return True

    def delete(self, key: str) -> None:
        with self._explained(key):
            client(self.spec).delete_object(Bucket=self.bucket, Key=self._name(key))

    def uri(self, key: str) -> str:
        return f"s3://{self.bucket}/{self.prefix}{key}"

    def check_readable(self) -> None:
        with self._explained(""):
            client(self.spec).list_objects_v2(Bucket=self.bucket, Prefix=self.prefix, MaxKeys=1)

    def check_writable(self) -> None:
        probe = f".tss-ray-probe-{uuid.uuid4().hex}"
        self.write(probe, b"probe")
        self.delete(probe)

    def _name(self, key: str) -> str:
        name = self.prefix + key
        if not key or len(name.encode(errors="surrogatepass")) > MAX_KEY_BYTES:
            raise ImageError(
                "bad_key", f"key {name[:80]!r}…: S3 keys are 1 to {MAX_KEY_BYTES} bytes; rename the object"
            )
        return name

    @contextlib.contextmanager
    def _explained(self, key: str, passed: tuple[type[Exception], ...] = ()) -> Iterator[None]:
        """As `explained`, but let `passed` through."""
        kept: Exception | None = None
        with explained(self.uri(key), self.spec):
            try:
                yield
            except passed as error:
                kept = error
        if kept is not None:
            raise kept
