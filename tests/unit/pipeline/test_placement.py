"""Promises of what is said where no node can hold what a job asks for."""

import signal
import time
from collections.abc import Iterator

import pytest

from tss_ray.errors import PlacementError
from tss_ray.pipeline import placement
from tss_ray.pipeline.placement import AGAIN_S, LIMIT_S, WARN_S, Placement, room, summary, watched_placement
from tss_ray.pipeline.resources import ResourcePlan, plan_resources
from tss_ray.spec import ComputeSpec

GIB = 2.0**30
GPU_NODE = {"CPU": 8.0, "GPU": 1.0, "memory": 16 * GIB}
CPU_NODE = {"CPU": 4.0, "memory": 8 * GIB}


def plan(actors: int = 2) -> ResourcePlan:
    return plan_resources(ComputeSpec(actors=actors, gpus_per_actor=1), [8.0], actors)


def test_an_actor_that_no_node_can_hold_is_warned_of_with_what_it_asks_for_and_what_there_is() -> None:
    told: list[str] = []
    placement = Placement(plan(), told.append, LIMIT_S)
    assert placement.look([CPU_NODE, CPU_NODE], 0) is None
    assert told == []
    assert placement.look([CPU_NODE, CPU_NODE], WARN_S) is None
    assert told == [
        "waiting for nodes: a super-resolution actor asks for 1 GPUs, 1 CPUs, 1.25 GiB, and no node has that; there "
        "are: 2 × 0 GPUs, 4 CPUs, 8 GiB; `ray status` on the head says more"
    ]
    placement.look([CPU_NODE, CPU_NODE], WARN_S + 2)
    assert len(told) == 1, "told again at once"
    placement.look([CPU_NODE, CPU_NODE], WARN_S + AGAIN_S)
    assert len(told) == 2


def test_what_lacks_too_long_ends_the_job_with_the_remedy_unless_nodes_may_come() -> None:
    ended, waiting = Placement(plan(), lambda _: None, LIMIT_S), Placement(plan(), lambda _: None, None)
    for now_s in (0, LIMIT_S - 1):
        assert ended.look([CPU_NODE], now_s) is None
    fault = ended.look([CPU_NODE], LIMIT_S)
    assert fault is not None
    assert "no node has that" in fault
    assert "set compute.wait_nodes_s" in fault
    assert all(waiting.look([CPU_NODE], now_s) is None for now_s in (0, LIMIT_S, 10 * LIMIT_S))


def test_a_node_that_comes_back_starts_the_clock_again() -> None:
    told: list[str] = []
    placement = Placement(plan(1), told.append, LIMIT_S)
    for now_s, nodes in ((0, []), (WARN_S - 1, [GPU_NODE]), (WARN_S, []), (LIMIT_S + 1, [])):
        assert placement.look(nodes, now_s) is None
    assert told
    assert all("no nodes" in line for line in told)


def test_fewer_places_than_actors_is_a_warning_and_never_an_error() -> None:
    told: list[str] = []
    placement = Placement(plan(3), told.append, LIMIT_S)
    for now_s in (0, WARN_S, 2 * LIMIT_S):
        assert placement.look([GPU_NODE, GPU_NODE], now_s) is None
    assert told[0].startswith("waiting for nodes: only 2 of 3 actors find a place (1 GPUs, 1 CPUs, 1.25 GiB each)")


def test_memory_counts_too_and_enough_room_is_silent() -> None:
    told: list[str] = []
    for now_s in (0, WARN_S, LIMIT_S):
        assert Placement(plan(), told.append, LIMIT_S).look([GPU_NODE, GPU_NODE], now_s) is None
    assert told == []
    assert room({"CPU": 1, "memory": 2 * GIB}, [{"CPU": 8, "memory": 3 * GIB}, {"CPU": 0.5, "memory": 64 * GIB}]) == 1
    assert room({"CPU": 0.1}, [{"CPU": 0.3}]) == 3
    assert summary([CPU_NODE, GPU_NODE, CPU_NODE]) == "2 × 0 GPUs, 4 CPUs, 8 GiB; 1 × 1 GPUs, 8 CPUs, 16 GiB"


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Heed SIGINT, which a shell lets what it starts in the background ignore; a job has a handler of its own."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_a_job_that_waits_for_what_never_comes_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = []

    def job() -> None:
        for _ in range(100):  # as Ray waits: what comes from another thread cuts no sleep short
            time.sleep(0.1)
            looks.append(1)

    monkeypatch.setattr(placement, "living_nodes", lambda: [CPU_NODE])
    monkeypatch.setattr(placement, "LIMIT_S", 0.2)
    monkeypatch.setattr(placement, "_LOOK_S", 0.05)
    with pytest.raises(PlacementError, match="no node has that"), watched_placement(plan(), nodes_may_come=False):
        job()
    assert len(looks) < 100, "the job waited to its own end"
