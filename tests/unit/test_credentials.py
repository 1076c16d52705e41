"""Promises about credentials in settings: refused, and never shown in saying so."""

import pytest

from tss_ray.errors import SpecError
from tss_ray.spec import load_spec


@pytest.mark.parametrize(
    "settings",
    [
        {"input": "s3://AKIAPLANTED:planted-secret@bucket/lr"},
        {"input": "s3://AKIAPLANTED:planted/secret@bucket/lr"},
        {"output": "s3://planted-secret@bucket/sr"},
        {"model": "s3://AKIAPLANTED:planted-secret@bucket/model"},
        {"store.s3_endpoint_url": "https://someone:planted-secret@s3.example.com"},
        {"store.aws_secret_access_key": "planted-secret"},
    ],
)
def test_a_spec_with_credentials_is_refused_and_they_are_not_repeated(settings: dict[str, object]) -> None:
    with pytest.raises(SpecError) as refused:
        load_spec(None, {"input": "s3://b/in", "output": "s3://b/out"} | settings)
    assert "planted" not in str(refused.value).lower()
    assert "leave them to boto3's chain" in str(refused.value) or "no such setting; remove it" in str(refused.value)


@pytest.mark.parametrize("name", ["s3://bucket/me@example.com/a:b.png", "/data/a@b", "sample://photos", "C:/photos"])
def test_keys_and_folders_may_have_such_signs_in_them(name: str) -> None:
    assert load_spec(None, {"input": name, "output": "s3://b/out"}).input == name
    endpoint = {"store.s3_endpoint_url": "http://127.0.0.1:8333"}
    assert load_spec(None, {"input": "a", "output": "b"} | endpoint).store.s3_endpoint_url == "http://127.0.0.1:8333"
