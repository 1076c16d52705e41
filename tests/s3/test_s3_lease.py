"""The lease on a real S3 server, and on servers that know no conditional writes."""

import dataclasses
import threading

import pytest
from s3.fault_proxy import fault_proxy

from tss_ray.errors import LeaseError
from tss_ray.storage import s3
from tss_ray.storage.layout import LEASE_KEY
from tss_ray.storage.lease import Holder, hold_lease
from tss_ray.storage.s3_client import client
from tss_ray.storage.s3_conditions import honours_conditions
from tss_ray.storage.stores import open_store

pytestmark = pytest.mark.s3

ELSEWHERE = dataclasses.replace(Holder.this_process(), run_id="other", host="elsewhere", machine="another boot")


def starts(store, num_starts):
    """Start so many runs at once; return the ids of those that won."""
    won, barrier, over = [], threading.Barrier(num_starts), threading.Barrier(num_starts)

    def start():
        barrier.wait()
        try:
            with hold_lease(store) as lease:
                won.append(lease.run_id)
                over.wait(60)
        except LeaseError:
            over.wait(60)

    threads = [threading.Thread(target=start) for _ in range(num_starts)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return won


def test_a_swap_writes_only_over_what_was_seen(bucket, s3_spec, s3_server):
    store = open_store(f"s3://{bucket}/out", s3_spec)
    first = store.swap("run/x", b"one", None)
    assert store.read_version("run/x").version == first
    assert store.swap("run/x", b"two", None) is None
    assert store.swap("run/x", b"two", first) == store.read_version("run/x").version
    assert store.swap("run/x", b"three", first) is None
    assert store.read("run/x") == b"two"
    assert store.read_version("run/none") is None
    assert store.swap("run/none", b"x", first) is None
    assert honours_conditions(s3_spec, bucket, "out/")
    left = s3_server.admin().list_objects_v2(Bucket=bucket)["Contents"]
    assert [entry["Key"] for entry in left] == ["out/run/x"]


def test_of_many_starts_at_once_one_wins_on_s3(bucket, s3_spec):
    assert len(starts(open_store(f"s3://{bucket}/out", s3_spec), 8)) == 1


def test_a_lease_on_s3_is_refused_taken_over_and_let_go_of(bucket, s3_spec):
    store = open_store(f"s3://{bucket}/out", s3_spec)
    store.write(LEASE_KEY, ELSEWHERE.to_bytes())
    with hold_lease(store, expires_s=0.5) as lease:
        assert lease.took_over
        with pytest.raises(LeaseError, match="--take-over"), hold_lease(store):
            pytest.fail("two runs hold one output")
        lease.check()
    assert Holder.parse(store.read(LEASE_KEY)).released


def check_one_wins_without_conditions(spec, bucket):
    store = open_store(f"s3://{bucket}/out", spec)
    assert not honours_conditions(spec, bucket, "out/")
    assert len(starts(store, 2)) == 1
    held = store.read_version(LEASE_KEY)
    assert store.swap(LEASE_KEY, b"x", None) is None
    assert store.swap(LEASE_KEY, b"x", '"other"') is None
    assert store.swap(LEASE_KEY, b"x", held.version) is not None


def test_one_of_two_starts_wins_where_conditions_are_refused(bucket, s3_spec, s3_server, monkeypatch):
    monkeypatch.setattr(s3, "_SETTLE_S", 1.0)
    with fault_proxy(s3_server.endpoint_url, "refuse_conditions", 10_000, method="PUT") as proxy:
        check_one_wins_without_conditions(s3_spec.model_copy(update={"s3_endpoint_url": proxy.url}), bucket)
        assert proxy.num_faults == 1


def test_one_of_two_starts_wins_where_conditions_are_ignored(bucket, s3_spec, monkeypatch):
    monkeypatch.setattr(s3, "_SETTLE_S", 1.0)
    spec = s3_spec.model_copy(update={"max_attempts": 7})  # a client of its own, which never sends them

    def unconditional(params, **_):
        for name in ("If-Match", "If-None-Match"):
            params["headers"].pop(name, None)

    client(spec).meta.events.register("before-call.s3.PutObject", unconditional)
    check_one_wins_without_conditions(spec, bucket)


def test_a_stored_write_whose_answer_was_lost_still_wins(bucket, s3_spec, s3_server):
    with fault_proxy(s3_server.endpoint_url, "drop_answer", 1, method="PUT", only="lease.json") as proxy:
        spec = s3_spec.model_copy(update={"s3_endpoint_url": proxy.url})
        with hold_lease(open_store(f"s3://{bucket}/out", spec)) as lease:
            assert proxy.num_faults == 1
            lease.check()
