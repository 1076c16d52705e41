"""Promises of the lease: one writer, a clear refusal, and a take-over only from what is dead or silent."""

import dataclasses
import os
import subprocess
import sys
import threading
import time

import pytest

from tss_ray.errors import LeaseError, LeaseLostError, StorageError
from tss_ray.spec import StoreSpec
from tss_ray.storage.layout import LEASE_KEY
from tss_ray.storage.lease import Holder, check_lease, hold_lease
from tss_ray.storage.processes import is_alive, machine_id, process_start
from tss_ray.storage.stores import open_store

ELSEWHERE = dataclasses.replace(Holder.this_process(), run_id="other", host="elsewhere", machine="another boot")


@pytest.fixture
def store(tmp_path):
    return open_store(str(tmp_path / "out"), StoreSpec())


def held(store):
    return Holder.parse(store.read(LEASE_KEY))


def wait_until(true):
    limit = time.monotonic() + 30
    while not true():
        assert time.monotonic() < limit
        time.sleep(0.01)


def test_a_second_run_is_refused_at_once_and_told_who_holds_it(store):
    with hold_lease(store) as lease:
        lease.check()
        with pytest.raises(LeaseError, match=rf"host .*pid {os.getpid()}, since .*--take-over"), hold_lease(store):
            pytest.fail("two runs hold one output")
        lease.check()
    with hold_lease(store) as lease:
        assert not lease.took_over


def test_what_was_let_go_of_commits_no_more(store):
    with hold_lease(store) as lease:
        check_lease(store, lease.run_id)
    with pytest.raises(LeaseLostError, match="let go of"):
        check_lease(store, lease.run_id)


def test_of_many_starts_at_once_one_wins(store):
    won, barrier, over = [], threading.Barrier(8), threading.Event()

    def start():
        barrier.wait()
        try:
            with hold_lease(store) as lease:
                won.append(lease.run_id)
                over.wait(30)
        except LeaseError:
            won.append(None)

    threads = [threading.Thread(target=start) for _ in range(8)]
    for thread in threads:
        thread.start()
    wait_until(lambda: len(won) == 8)
    over.set()
    for thread in threads:
        thread.join()
    assert sum(run is not None for run in won) == 1


def test_a_killed_run_of_this_machine_is_followed_at_once(store):
    code = """
import os, signal, sys
from tss_ray.spec import StoreSpec
from tss_ray.storage.lease import hold_lease
from tss_ray.storage.stores import open_store
with hold_lease(open_store(sys.argv[1], StoreSpec())):
    os.kill(os.getpid(), signal.SIGKILL)
"""
    ended = subprocess.run([sys.executable, "-c", code, store.root], check=False)
    assert ended.returncode == -9
    assert not held(store).released
    with hold_lease(store, waiting=lambda told: pytest.fail("it waited")) as lease:
        assert lease.took_over


def test_a_silent_run_of_another_machine_is_taken_over_after_a_while(store):
    store.write(LEASE_KEY, ELSEWHERE.to_bytes())
    told = []
    with hold_lease(store, waiting=told.append, expires_s=0.3) as lease:
        assert lease.took_over
        assert held(store).run_id == lease.run_id
    assert len(told) == 1
    assert "host elsewhere" in told[0]


def test_a_run_of_another_machine_that_shows_life_is_left_alone(store):
    store.write(LEASE_KEY, ELSEWHERE.to_bytes())
    beating = threading.Timer(0.2, lambda: store.write(LEASE_KEY, dataclasses.replace(ELSEWHERE, beat=1).to_bytes()))
    beating.start()
    with pytest.raises(LeaseError, match="host elsewhere"), hold_lease(store, expires_s=30):
        pytest.fail("a living run was taken over")
    beating.join()
    assert held(store).host == "elsewhere"


def test_a_run_that_ends_while_another_looks_makes_room(store):
    store.write(LEASE_KEY, ELSEWHERE.to_bytes())
    ending = threading.Timer(
        0.2, lambda: store.write(LEASE_KEY, dataclasses.replace(ELSEWHERE, released=True).to_bytes())
    )
    ending.start()
    with hold_lease(store, expires_s=30) as lease:
        assert not lease.took_over
    ending.join()


def test_taking_over_asks_nobody_and_the_other_run_notices(store):
    with hold_lease(store, beat_s=0.05) as first:
        with hold_lease(store, take_over=True) as second:
            assert second.took_over
            wait_until(lambda: first.lost)
            with pytest.raises(LeaseLostError, match=r"lost the output .*commits nothing more"):
                first.check()
            second.check()
        assert held(store).run_id == second.run_id
    assert held(store).run_id == second.run_id, "a run that lost the lease wrote it"


def test_a_holder_keeps_showing_life(store):
    with hold_lease(store, beat_s=0.02):
        wait_until(lambda: held(store).beat >= 3)
    assert held(store).released


def test_a_beat_whose_answer_was_lost_is_not_a_loss(store, monkeypatch):
    swap = type(store).swap
    monkeypatch.setattr(type(store), "swap", lambda self, *arguments: swap(self, *arguments) and None)
    with hold_lease(store, beat_s=0.02) as lease:
        wait_until(lambda: held(store).beat >= 3)
        assert not lease.lost


def test_a_store_that_fails_for_a_while_does_not_cost_the_lease(store, monkeypatch):
    swap, fails = type(store).swap, [3]

    def failing(self, *arguments):
        if held(self).beat == 2 and fails[0]:
            fails[0] -= 1
            raise StorageError("the disk is away; put it back")
        return swap(self, *arguments)

    with hold_lease(store, beat_s=0.02) as lease:
        monkeypatch.setattr(type(store), "swap", failing)
        wait_until(lambda: held(store).beat >= 4)
        assert not fails[0]
        lease.check()


def test_a_removed_lease_stops_the_commits(store):
    with hold_lease(store) as lease:
        store.delete(LEASE_KEY)
        with pytest.raises(LeaseLostError, match="removed"):
            lease.check()


def test_what_is_no_lease_expires_like_one(store):
    store.write(LEASE_KEY, b"no json")
    with hold_lease(store, expires_s=0.1) as lease:
        assert lease.took_over


def test_a_process_is_told_from_another_with_its_pid():
    assert machine_id() == machine_id() is not None
    here = process_start(os.getpid())
    assert is_alive(os.getpid(), here)
    assert not is_alive(os.getpid(), here - 1)
    child = subprocess.Popen([sys.executable, "-c", ""])
    started = process_start(child.pid)
    wait_until(lambda: not is_alive(child.pid, started))  # a zombie: nobody has asked for it
    child.wait()
    assert not is_alive(child.pid, started)
    assert process_start(child.pid) is None


def test_a_swap_writes_only_over_what_was_seen(store):
    first = store.swap("run/x", b"one", None)
    assert store.read_version("run/x").version == first
    assert store.swap("run/x", b"two", None) is None
    second = store.swap("run/x", b"two", first)
    assert store.swap("run/x", b"three", first) is None
    assert store.read("run/x") == b"two"
    assert store.read_version("run/none") is None
    assert store.swap("run/none", b"x", second) is None
    assert [info.key for info in store.list()] == ["run/x"]
