"""A real S3 server for the whole test session."""

import os
import uuid
from collections.abc import Callable, Iterator

import pytest
from seaweed import S3Server, seaweed

from tss_ray.spec import StoreSpec


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with seaweed(tmp_path_factory.mktemp("seaweed")) as server:
        yield server


@pytest.fixture(scope="session", autouse=True)
def s3_environment(s3_server: S3Server) -> Iterator[None]:
    """Credentials where boto3 looks for them, and nothing of the machine's own."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [n for n in os.environ if n.startswith("AWS_")]:
            patch.delenv(name)
        for name, value in s3_server.environment().items():
            patch.setenv(name, value)
        yield


@pytest.fixture
def s3_spec(s3_server: S3Server) -> StoreSpec:
    return StoreSpec(s3_endpoint_url=s3_server.endpoint_url, s3_addressing="path", max_attempts=4)


@pytest.fixture
def make_bucket(s3_server: S3Server) -> Callable[[], str]:
    def make() -> str:
        bucket = f"test-{uuid.uuid4().hex[:12]}"
        s3_server.admin().create_bucket(Bucket=bucket)
        return bucket

    return make


@pytest.fixture
def bucket(make_bucket: Callable[[], str]) -> str:
    """A fresh, empty bucket."""
    return make_bucket()
