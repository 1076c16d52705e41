"""Writes that depend on what is there: If-None-Match and If-Match, and whether a server honours them.

AWS answers 412 where the condition fails and 409 where two such writes meet (S3 User Guide, "Conditional writes").
S3-compatible servers differ: some refuse the headers (501), some store the object whatever they say.
"""

import functools
import uuid
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from tss_ray.spec import StoreSpec
from tss_ray.storage.s3_client import client

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_FAILED = (404, 409, 412)
"""404: If-Match on what somebody removed."""
_NO_SUCH_ETAG = '"00000000000000000000000000000000"'


def put_if(s3: "S3Client", bucket: str, name: str, data: bytes, etag: str | None) -> str | None:
    """Store `data` if the object has this ETag (None: if there is no object); return the new ETag, None if not."""
    try:
        if etag is None:
            answer = s3.put_object(Bucket=bucket, Key=name, Body=data, IfNoneMatch="*")
        else:
            answer = s3.put_object(Bucket=bucket, Key=name, Body=data, IfMatch=etag)
    except ClientError as error:
        if _status(error) in _FAILED and error.response.get("Error", {}).get("Code") != "NoSuchBucket":
            return None
        raise
    return answer["ETag"]


@functools.cache
def honours_conditions(spec: StoreSpec, bucket: str, prefix: str) -> bool:
    """Try both conditions on a hidden object of our own, once per process; it is removed again."""
    s3, name = client(spec), f"{prefix}.tss-ray-probe-{uuid.uuid4().hex}"
    s3.put_object(Bucket=bucket, Key=name, Body=b"probe")
    try:
        return all(put_if(s3, bucket, name, b"probe", etag) is None for etag in (None, _NO_SUCH_ETAG))
    except ClientError as error:
        if _status(error) in (400, 501):
            return False
        raise
    finally:
        s3.delete_object(Bucket=bucket, Key=name)


def _status(error: ClientError) -> int | None:
    return error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
