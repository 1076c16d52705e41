"""Promises of who is spoken to, as whom, and who pays: by the prefix, through boto3's own chain."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from tss_ray.errors import SpecError, StorageError
from tss_ray.spec import StoreSpec, load_group
from tss_ray.storage.s3 import S3Store
from tss_ray.storage.s3_client import client
from tss_ray.storage.stores import open_store

LAB = "https://s3.lab.example.com"
ANSWER = """<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult>
<AssumedRoleUser><Arn>arn:aws:sts::1:assumed-role/reader/x</Arn><AssumedRoleId>A:x</AssumedRoleId></AssumedRoleUser>
<Credentials><AccessKeyId>ASSUMED</AccessKeyId><SecretAccessKey>s</SecretAccessKey><SessionToken>t</SessionToken>
<Expiration>2099-01-01T00:00:00Z</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>"""


@pytest.fixture(autouse=True)
def own_chain(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A configuration file of the test's own, and nothing of the machine's."""
    for name in ("AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ACCESS_KEY_ID"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    return tmp_path / "config"


def store_of(uri: str, spec: StoreSpec) -> StoreSpec:
    store = open_store(uri, spec)
    assert isinstance(store, S3Store)
    return store.spec


def test_the_longest_prefix_that_holds_a_uri_says_how_it_is_spoken_to() -> None:
    spec = load_group(
        StoreSpec,
        {
            "s3_region": "eu-west-1",
            "s3_requester_pays": True,
            "prefixes": [
                {"prefix": "s3://raw", "s3_endpoint_url": LAB, "s3_addressing": "path", "s3_requester_pays": False},
                {"prefix": "s3://raw/ours/", "s3_profile": "ours"},
            ],
        },
    )
    lab, ours = store_of("s3://raw/lr", spec), store_of("s3://raw/ours/lr", spec)
    assert (lab.s3_endpoint_url, lab.s3_addressing, lab.s3_region) == (LAB, "path", "eu-west-1")
    assert lab.s3_requester_pays is False
    assert (ours.s3_profile, ours.s3_endpoint_url, ours.s3_requester_pays) == ("ours", None, True)
    for other in ("s3://raw2/lr", "s3://sr"):
        assert store_of(other, spec) == spec.model_copy(update={"prefixes": ()})
    assert store_of("s3://raw/oursX", spec) == lab
    assert StoreSpec.model_validate(lab.model_dump()) == lab


def test_a_prefix_is_a_bucket_and_holds_no_credentials() -> None:
    with pytest.raises(SpecError, match="prefix"):
        load_group(StoreSpec, {"prefixes": [{"prefix": "/data"}]})
    with pytest.raises(SpecError, match="leave them to boto3's chain"):
        load_group(StoreSpec, {"prefixes": [{"prefix": "s3://AKIA:planted@b"}]})


@pytest.mark.parametrize("pays", [True, False])
def test_who_pays_says_so_in_every_request(pays: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "k")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s")
    s3 = client(StoreSpec(s3_requester_pays=pays, s3_region="eu-west-1"))
    sent: list[dict[str, str]] = []

    def note(request: object, **_: object) -> object:
        sent.append(dict(request.headers))  # type: ignore[attr-defined]
        raise ConnectionError

    s3.meta.events.register("before-send.s3", note)
    asks = [
        lambda: s3.list_objects_v2(Bucket="b"),
        lambda: s3.get_object(Bucket="b", Key="k"),
        lambda: s3.head_object(Bucket="b", Key="k"),
        lambda: s3.put_object(Bucket="b", Key="k", Body=b"x"),
    ]
    for ask in asks:
        with pytest.raises(ConnectionError):
            ask()
    payers = [headers.get("x-amz-request-payer") for headers in sent]
    wanted = b"requester" if pays else None
    assert [p.encode() if isinstance(p, str) else p for p in payers] == [wanted] * len(asks)


@pytest.fixture
def sts() -> Iterator[str]:
    """A server that lets anybody take a role."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
            assert asked["RoleArn"] == ["arn:aws:iam::1:role/reader"]
            self.send_response(200)
            self.end_headers()
            self.wfile.write(ANSWER.encode())

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_profile_may_take_a_role(own_chain: Path, sts: str) -> None:
    own_chain.write_text(
        f"[services local]\nsts =\n  endpoint_url = {sts}\n"
        "[profile base]\naws_access_key_id = b\naws_secret_access_key = b\n"
        "[profile reader]\nrole_arn = arn:aws:iam::1:role/reader\nsource_profile = base\nregion = eu-west-1\n"
        "services = local\n"
    )
    url = client(StoreSpec(s3_profile="reader")).generate_presigned_url("get_object", {"Bucket": "b", "Key": "k"})
    assert "ASSUMED" in str(parse_qs(urlsplit(url).query))


def test_a_profile_that_is_not_there_is_named_with_the_remedy() -> None:
    with pytest.raises(StorageError, match=r"no profile nobody here; write it into ~/\.aws/config of every node"):
        open_store("s3://b/x", StoreSpec(s3_profile="nobody")).exists("k")
