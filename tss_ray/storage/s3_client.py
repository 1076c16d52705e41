"""One S3 client per process and settings, and what botocore's failures mean."""

import contextlib
import functools
import os
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import boto3.session
from botocore import exceptions as boto
from botocore.config import Config

from tss_ray.errors import AccessRefusedError, ImageError, ObjectNotFoundError, StorageError, TssRayError
from tss_ray.spec import StoreSpec
from tss_ray.storage.tries import TRIES

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_CONNECT_TIMEOUT_S = 10
_READ_TIMEOUT_S = 60
_building = threading.Lock()

_REFUSED = {
    "403",
    "AccessDenied",
    "AllAccessDisabled",
    "AuthFailure",
    "ExpiredToken",
    "InvalidAccessKeyId",
    "InvalidToken",
    "RequestTimeTooSkewed",
    "SignatureDoesNotMatch",
    "TokenRefreshRequired",
}
_ABSENT = {"404", "NoSuchKey", "NotFound"}
_OTHER_REGION = {"301", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException", "PermanentRedirect"}
_BUSY = {"429", "500", "503", "InternalError", "RequestLimitExceeded", "ServiceUnavailable", "SlowDown", "Throttling"}

BODY_FAULTS = (
    boto.ConnectionClosedError,
    boto.FlexibleChecksumError,
    boto.IncompleteReadError,
    boto.ReadTimeoutError,
    boto.ResponseStreamingError,
)
"""What breaks a body half-way; botocore retries requests, never the reading of a body."""


def client(spec: StoreSpec) -> "S3Client":
    """Return this process's client. Raises StorageError for what is no endpoint URL or no known profile."""
    with _building:
        # The pid, because a forked child must not share its parent's sockets.
        return _client_of(spec, os.getpid())


@functools.cache
def _client_of(spec: StoreSpec, pid: int) -> "S3Client":
    try:
        made = _build(spec, plain_checksums=spec.s3_endpoint_url is not None)
    except ValueError as error:
        raise StorageError(f"{_endpoint(spec)} is no endpoint URL; write --s3-endpoint-url http://host:port") from error
    except boto.ProfileNotFound as error:
        raise StorageError(
            f"there is no profile {spec.s3_profile or os.environ.get('AWS_PROFILE')} here; write it into ~/.aws/config "
            "of every node, or correct store.s3_profile (or AWS_PROFILE)"
        ) from error
    if spec.s3_endpoint_url is None and "amazonaws." not in made.meta.endpoint_url:
        # AWS_ENDPOINT_URL or a profile named another server.
        made = _build(spec, plain_checksums=True)
    return made


def _build(spec: StoreSpec, plain_checksums: bool) -> "S3Client":
    config = Config(
        # Not "adaptive": it would hold back a whole process, the ledger included, for one slow prefix.
        # "total", because botocore's max_attempts counts retries here, one fewer than tries.
        retries={"mode": "standard", "total_max_attempts": spec.max_attempts},
        connect_timeout=_CONNECT_TIMEOUT_S,
        read_timeout=_READ_TIMEOUT_S,
        max_pool_connections=32,
        tcp_keepalive=True,
        s3={"addressing_style": spec.s3_addressing},
        user_agent_extra="tss-ray",
    )
    if plain_checksums:
        # S3-compatible servers refuse the aws-chunked trailers that newer AWS clients send unasked.
        config = config.merge(
            Config(request_checksum_calculation="when_required", response_checksum_validation="when_required")
        )
    # A session of our own: boto3's default one is not safe to share between threads.
    made = boto3.session.Session(profile_name=spec.s3_profile).client(
        "s3", endpoint_url=spec.s3_endpoint_url, region_name=spec.s3_region, config=config
    )
    if spec.s3_requester_pays:
        made.meta.events.register("before-parameter-build.s3", _pay)
    made.meta.events.register("after-call.s3", _count_tries)
    return made


def _pay(params: dict[str, Any], model: Any, **_: object) -> None:  # noqa: ANN401 - botocore's, which has no types
    """Say in every request that has a place for it that whoever asks pays."""
    if "RequestPayer" in model.input_shape.members:
        params["RequestPayer"] = "requester"


def _count_tries(parsed: dict[str, Any], **_: object) -> None:
    """Hear from botocore how often a request that got an answer had been sent again."""
    TRIES.add(parsed.get("ResponseMetadata", {}).get("RetryAttempts", 0))


@contextlib.contextmanager
def explained(uri: str, spec: StoreSpec) -> Iterator[None]:
    """Turn what botocore raises into our errors; no message repeats a credential or a server's text about one."""
    try:
        yield
    except boto.ClientError as error:
        raise _refusal(uri, error) from error
    except (boto.NoCredentialsError, boto.PartialCredentialsError, boto.CredentialRetrievalError) as error:
        raise AccessRefusedError(
            f"{uri}: no usable S3 credentials were found; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY on every "
            "node, or give the nodes a profile or role"
        ) from error
    except (boto.NoRegionError, boto.InvalidRegionError) as error:
        raise StorageError(f"{uri}: no usable S3 region; set --s3-region") from error
    except boto.ParamValidationError as error:
        raise StorageError(f"{uri}: S3 cannot hold this name; correct the bucket or key") from error
    except boto.BotoCoreError as error:
        raise StorageError(
            f"{uri}: {_endpoint(spec)} did not answer ({type(error).__name__}); check --s3-endpoint-url "
            "(store.s3_endpoint_url) and the network"
        ) from error


def _endpoint(spec: StoreSpec) -> str:
    """Name the server without a user or password that its URL may carry."""
    if spec.s3_endpoint_url is None:
        return "the S3 endpoint"
    try:
        host = urlsplit(spec.s3_endpoint_url).netloc.rpartition("@")[2]
    except ValueError:
        host = ""
    return host or "the S3 endpoint"


def _refusal(uri: str, error: boto.ClientError) -> TssRayError:
    code = str(error.response.get("Error", {}).get("Code", "unknown"))
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    if code == "NoSuchBucket":
        bucket = uri.removeprefix("s3://").split("/")[0]
        return ObjectNotFoundError(f"{uri}: there is no bucket {bucket}; create it or correct its name")
    if code in _ABSENT:
        return ObjectNotFoundError(f"{uri} does not exist; correct the name")
    if code in _REFUSED or status in (401, 403):
        clock = " and this machine's clock" if code == "RequestTimeTooSkewed" else ""
        return AccessRefusedError(
            f"{uri}: S3 refused access ({code}); check the credentials{clock}, and that they grant s3:ListBucket, "
            "s3:GetObject and, for the output, s3:PutObject and s3:DeleteObject"
        )
    if code in _OTHER_REGION or status == 301:
        return StorageError(f"{uri}: the bucket is in another region ({code}); set --s3-region")
    if code == "KeyTooLongError":
        return ImageError("bad_key", f"{uri}: S3 keys end at 1024 bytes; rename the object or shorten the output")
    if code in _BUSY or status in (429, 500, 502, 503, 504):
        return StorageError(
            f"{uri}: S3 still answered {code} after the last try; run again later, or raise store.max_attempts"
        )
    message = error.response.get("Error", {}).get("Message", "")
    return StorageError(f"{uri}: S3 refused {error.operation_name} ({code}: {message}); check the bucket's settings")
