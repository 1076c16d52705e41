"""The S3 store against a real server: odd keys, pages, faults and refusals."""

import pickle
import random
import socket
from concurrent.futures import ThreadPoolExecutor

import pytest
from photos import photo_bytes
from s3.fault_proxy import Fault, fault_proxy

from tss_ray.errors import AccessRefusedError, ImageError, ObjectNotFoundError, StorageError
from tss_ray.imaging.decode import decode
from tss_ray.pipeline.prepare import Prepare
from tss_ray.spec import StoreSpec, load_spec
from tss_ray.storage import s3, s3_client
from tss_ray.storage.s3_client import _client_of, client
from tss_ray.storage.stores import open_store
from tss_ray.storage.tries import TRIES

pytestmark = pytest.mark.s3

ODD_KEYS = [
    "a b/c d.png",
    "100%/50%25.png",
    "naïve/日本 🐈.jpg",
    "plus+and&.png",
    "hash#mark.png",
    "what?.png",
    "star*[x].png",
    "quote'\".png",
]


@pytest.fixture
def fresh_clients():
    """Clients keep the credentials they found first: forget them around a test that changes the environment."""
    _client_of.cache_clear()
    yield
    _client_of.cache_clear()


def test_odd_keys_come_back_letter_for_letter(bucket, s3_spec):
    store = open_store(f"s3://{bucket}/in put%20", s3_spec)
    for key in ODD_KEYS:
        store.write(key, key.encode(), "image/png")
    assert {info.key for info in store.list()} == set(ODD_KEYS)
    for info in store.list():
        assert store.read(info.key) == info.key.encode()
        assert info.size_bytes == len(info.key.encode())
        assert store.exists(info.key)
    assert store.uri("a b#.png") == f"s3://{bucket}/in put%20/a b#.png"


def test_a_listing_of_more_than_one_page_is_complete_and_sees_no_neighbour(bucket, s3_spec):
    store = open_store(f"s3://{bucket}/in", s3_spec)
    neighbour = open_store(f"s3://{bucket}/in-out", s3_spec)
    keys = [f"{n % 7}/{n:05d}.png" for n in range(2300)]
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda key: store.write(key, b"x"), keys))
    neighbour.write("other.png", b"x")
    assert sorted(info.key for info in store.list()) == sorted(keys)
    assert sorted(info.key for info in store.list("3/")) == sorted(k for k in keys if k.startswith("3/"))
    assert next(store.list()).key == min(keys)


def test_hidden_keys_and_folder_markers_are_not_listed(bucket, s3_spec, s3_server):
    store = open_store(f"s3://{bucket}/in", s3_spec)
    for key in ("a.png", ".hidden.png", ".git/b.png", "deep/.x/c.png"):
        store.write(key, b"x")
    s3_server.admin().put_object(Bucket=bucket, Key="in/folder/")
    assert [info.key for info in store.list()] == ["a.png"]


def test_a_write_replaces_and_a_delete_is_repeatable(bucket, s3_spec):
    store = open_store(f"s3://{bucket}", s3_spec)
    store.write("a.png", b"one")
    store.write("a.png", b"two")
    assert store.read("a.png") == b"two"
    store.delete("a.png")
    store.delete("a.png")
    assert not store.exists("a.png")


def test_a_store_pickles_and_carries_no_credentials(bucket, s3_spec, s3_server):
    store = open_store(f"s3://{bucket}/in", s3_spec)
    store.write("a.png", b"x")
    pickled = pickle.dumps(store)
    assert s3_server.secret_key.encode() not in pickled
    assert pickle.loads(pickled).read("a.png") == b"x"


def test_an_object_over_the_limit_is_refused_as_an_image_fault(bucket, s3_spec):
    store = open_store(f"s3://{bucket}", s3_spec)
    store.write("big.png", b"x" * 1000)
    assert len(store.read("big.png", max_bytes=1000)) == 1000
    with pytest.raises(ImageError, match=r"limits\.max_input_bytes") as caught:
        store.read("big.png", max_bytes=999)
    assert caught.value.kind == "too_large"


def test_a_key_too_long_for_s3_is_a_bad_key(bucket, s3_spec):
    with pytest.raises(ImageError, match="rename") as caught:
        open_store(f"s3://{bucket}", s3_spec).write("k/" * 600, b"x")
    assert caught.value.kind == "bad_key"


def test_a_missing_object_and_a_missing_bucket_are_told_apart(bucket, s3_spec):
    with pytest.raises(ObjectNotFoundError, match=r"none\.png does not exist"):
        open_store(f"s3://{bucket}", s3_spec).read("none.png")
    absent = open_store("s3://no-such-bucket-here/in", s3_spec)
    for act in (
        absent.check_readable,
        absent.check_writable,
        lambda: list(absent.list()),
        lambda: absent.read("a.png"),
        lambda: absent.write("a.png", b"x"),
    ):
        with pytest.raises(ObjectNotFoundError, match="no bucket no-such-bucket-here; create it"):
            act()


def test_preflight_passes_and_leaves_nothing(bucket, s3_spec, s3_server):
    store = open_store(f"s3://{bucket}/out", s3_spec)
    store.check_readable()
    store.check_writable()
    assert "Contents" not in s3_server.admin().list_objects_v2(Bucket=bucket)


@pytest.mark.usefixtures("fresh_clients")
@pytest.mark.parametrize("secret", ["wrong-secret-here", None])
def test_refused_or_absent_credentials_say_so_and_are_not_repeated(bucket, s3_spec, monkeypatch, secret):
    if secret is None:
        monkeypatch.delenv("AWS_ACCESS_KEY_ID")
        monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    else:
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", secret)
    store = open_store(f"s3://{bucket}", s3_spec)
    for act in (store.check_readable, store.check_writable, lambda: store.read("a.png"), lambda: store.exists("a")):
        with pytest.raises(AccessRefusedError, match="credentials") as caught:
            act()
        assert "testkey" not in str(caught.value)
        assert "secret-here" not in str(caught.value)


@pytest.mark.usefixtures("fresh_clients")
def test_an_identity_without_rights_to_write_fails_the_preflight(bucket, s3_spec, s3_server, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", s3_server.weak_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", s3_server.weak_secret)
    store = open_store(f"s3://{bucket}/out", s3_spec)
    store.check_readable()
    with pytest.raises(AccessRefusedError, match="s3:PutObject"):
        store.check_writable()


def test_a_closed_port_names_the_server_and_no_password_that_the_environment_has(monkeypatch, fresh_clients):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    spec = StoreSpec(s3_endpoint_url=f"http://127.0.0.1:{port}", max_attempts=2)
    with pytest.raises(StorageError, match=f"127.0.0.1:{port} did not answer .* check --s3-endpoint-url"):
        open_store("s3://bucket/in", spec).check_readable()
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"http://user:hunter2@127.0.0.1:{port}")  # in a spec it is refused
    with pytest.raises(StorageError, match="check --s3-endpoint-url") as caught:
        open_store("s3://bucket/in", StoreSpec(max_attempts=2)).check_readable()
    assert "hunter2" not in str(caught.value)


def test_an_endpoint_that_is_no_url_is_told_as_such():
    with pytest.raises(StorageError, match="--s3-endpoint-url"):
        open_store("s3://bucket/in", StoreSpec(s3_endpoint_url="localhost:9000")).check_readable()


def through(proxy, bucket, s3_spec, **settings):
    return open_store(f"s3://{bucket}", s3_spec.model_copy(update={"s3_endpoint_url": proxy.url, **settings}))


@pytest.mark.parametrize("most", [s3._MAX_PUT_BYTES, 1_000_000])
def test_a_file_is_stored_in_one_put_or_above_what_a_put_may_hold_in_parts(
    bucket, s3_spec, s3_server, tmp_path, monkeypatch, most: int
):
    monkeypatch.setattr(s3, "_MAX_PUT_BYTES", most)
    data = random.Random(0).randbytes(9_000_001)
    (tmp_path / "a").write_bytes(data)
    store = open_store(f"s3://{bucket}", s3_spec)
    store.write_file("a.tiff", str(tmp_path / "a"), "image/tiff")
    assert store.read("a.tiff") == data
    head = s3_server.admin().head_object(Bucket=bucket, Key="a.tiff")
    assert head["ContentType"] == "image/tiff"
    assert ("-" in head["ETag"]) == (most < len(data))


@pytest.fixture
def short_timeout(monkeypatch, fresh_clients):
    monkeypatch.setattr(s3_client, "_READ_TIMEOUT_S", 1)


@pytest.mark.usefixtures("short_timeout")
@pytest.mark.parametrize("fault", ["truncate", "flip", "busy", "error", "reset", "stall"])
def test_broken_and_refused_gets_are_tried_again(bucket, s3_spec, s3_server, fault: Fault):
    data = bytes(range(256)) * 400
    open_store(f"s3://{bucket}", s3_spec).write("a.png", data)
    TRIES.take()
    with fault_proxy(s3_server.endpoint_url, fault, num_faults=2) as proxy:
        assert through(proxy, bucket, s3_spec).read("a.png") == data
        assert proxy.num_faults == 2
    assert TRIES.take() == 2


@pytest.mark.usefixtures("short_timeout")
@pytest.mark.parametrize("from_file", [False, True])
@pytest.mark.parametrize("fault", ["busy", "error", "reset", "stall", "drop_answer"])
def test_broken_and_refused_puts_are_tried_again_and_stored_once(
    bucket, s3_spec, s3_server, tmp_path, fault: Fault, from_file: bool
):
    data = bytes(range(256)) * 400
    (tmp_path / "a").write_bytes(data)
    with fault_proxy(s3_server.endpoint_url, fault, num_faults=2, method="PUT") as proxy:
        store = through(proxy, bucket, s3_spec)
        store.write_file("a.png", str(tmp_path / "a")) if from_file else store.write("a.png", data)
        assert proxy.num_faults == 2
    store = open_store(f"s3://{bucket}", s3_spec)
    assert store.read("a.png") == data
    assert [info.key for info in store.list()] == ["a.png"]


@pytest.mark.parametrize("fault", ["truncate", "busy", "reset"])
def test_broken_and_refused_listings_are_tried_again(bucket, s3_spec, s3_server, fault: Fault):
    for n in range(5):
        open_store(f"s3://{bucket}", s3_spec).write(f"{n}.png", b"x")
    with fault_proxy(s3_server.endpoint_url, fault, num_faults=2, only="?list-type=2") as proxy:
        assert len(list(through(proxy, bucket, s3_spec).list())) == 5
        assert proxy.num_faults == 2


def test_an_etag_that_only_looks_like_an_md5_costs_one_more_reading_in_all(bucket, s3_spec, s3_server):
    for key in ("a.png", "b.png"):
        open_store(f"s3://{bucket}", s3_spec).write(key, b"x" * 100)
    with fault_proxy(s3_server.endpoint_url, "etag", num_faults=1000) as proxy:
        store = through(proxy, bucket, s3_spec)
        assert [store.read(key) for key in ("a.png", "b.png", "a.png")] == [b"x" * 100] * 3
        assert proxy.num_requests == 4


def test_a_multipart_object_is_read_once(bucket, s3_spec, s3_server):
    admin = s3_server.admin()
    upload = admin.create_multipart_upload(Bucket=bucket, Key="a.png")["UploadId"]
    parts = []
    for number, data in ((1, b"x" * 5 * 2**20), (2, b"y")):
        stored = admin.upload_part(Bucket=bucket, Key="a.png", UploadId=upload, PartNumber=number, Body=data)
        parts.append({"PartNumber": number, "ETag": stored["ETag"]})
    admin.complete_multipart_upload(Bucket=bucket, Key="a.png", UploadId=upload, MultipartUpload={"Parts": parts})
    with fault_proxy(s3_server.endpoint_url, "busy", num_faults=0) as proxy:
        assert len(through(proxy, bucket, s3_spec).read("a.png")) == 5 * 2**20 + 1
        assert proxy.num_requests == 1


@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_refusals_are_told_at_once(bucket, s3_spec, s3_server, method):
    def act(store):
        return store.read("a.png") if method == "GET" else store.write("a.png", b"x")

    with fault_proxy(s3_server.endpoint_url, "forbidden", 1000, method) as proxy:
        with pytest.raises(AccessRefusedError, match="check the credentials"):
            act(through(proxy, bucket, s3_spec))
        assert proxy.num_requests == 1
    with fault_proxy(s3_server.endpoint_url, "busy", 0, method) as proxy:
        with pytest.raises(ObjectNotFoundError, match="no bucket"):
            act(through(proxy, "no-such-bucket-here", s3_spec))
        assert proxy.num_requests == 1
        if method == "GET":
            with pytest.raises(ObjectNotFoundError, match="does not exist"):
                act(through(proxy, bucket, s3_spec))
            assert proxy.num_requests == 2


def test_an_object_that_keeps_failing_becomes_a_row_and_the_others_go_on(bucket, s3_spec, s3_server):
    store = open_store(f"s3://{bucket}", s3_spec)
    for key in ("a.png", "bad.png", "c.png"):
        store.write(key, photo_bytes(0, 20, 20))
    with fault_proxy(s3_server.endpoint_url, "truncate", 1000, only="bad.png") as proxy:
        spec = load_spec(None, {"input": "-", "output": "-", "store.max_attempts": 2})
        spec = spec.model_copy(update={"store": s3_spec.model_copy(update={"s3_endpoint_url": proxy.url})})
        keys = [{"image_key": k, "uri": store.uri(k), "size_bytes": None} for k in ("a.png", "bad.png", "c.png")]
        images = [Prepare(spec, "abc", None).prepare(key, decode) for key in keys]
    assert [image.row.status for image in images] == ["pending", "quarantined", "pending"]
    assert images[1].row.error_kind == "fetch_failed"
    assert "broke off" in (images[1].row.error_message or "")


@pytest.mark.parametrize(
    ("fault", "remedy"), [("truncate", "broke off 2 times"), ("busy", "store.max_attempts"), ("reset", "network")]
)
def test_a_fault_that_stays_ends_after_max_attempts(bucket, s3_spec, s3_server, fault: Fault, remedy):
    open_store(f"s3://{bucket}", s3_spec).write("a.png", b"x" * 100)
    with fault_proxy(s3_server.endpoint_url, fault, num_faults=1000) as proxy:
        spec = s3_spec.model_copy(update={"s3_endpoint_url": proxy.url, "max_attempts": 2})
        with pytest.raises(StorageError, match=remedy):
            open_store(f"s3://{bucket}", spec).read("a.png")
        assert proxy.num_faults == 2


@pytest.mark.usefixtures("fresh_clients")
def test_an_endpoint_from_the_environment_is_spoken_to_without_trailers(bucket, s3_server, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_server.endpoint_url)
    spec = StoreSpec(s3_addressing="path")
    store = open_store(f"s3://{bucket}", spec)
    store.write("a.png", b"x")
    assert store.read("a.png") == b"x"
    assert client(spec).meta.config.request_checksum_calculation == "when_required"
