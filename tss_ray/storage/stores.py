"""Opening the store behind a URI."""

import functools

from tss_ray.spec import StoreSpec
from tss_ray.storage.local import LocalStore
from tss_ray.storage.protocol import ObjectInfo, Store
from tss_ray.storage.sample_photos import SampleStore
from tss_ray.storage.uris import Location, parse_uri


@functools.lru_cache(maxsize=256)
def open_store(uri: str, spec: StoreSpec) -> Store:
    """Return the store rooted at a folder or prefix; nothing is touched before its first use.

    Raises SpecError for a URI that cannot be parsed.
    """
    return store_at(parse_uri(uri), spec)


def store_at(where: Location, spec: StoreSpec) -> Store:
    """Return the store rooted at a location."""
    if where.scheme == "s3":
        # Local jobs need not pay for importing boto3 (0.3 s and 40 MB in every worker).
        from tss_ray.storage.s3 import S3Store

        return S3Store(where.bucket, where.prefix, spec.at(f"s3://{where.bucket}/{where.prefix}"))
    return SampleStore() if where.scheme == "sample" else LocalStore(where.path)


__all__ = ["ObjectInfo", "Store", "open_store", "store_at"]
