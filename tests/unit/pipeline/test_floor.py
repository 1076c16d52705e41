"""Promises of the floor: many together, or one alone."""

import threading
from concurrent.futures import ThreadPoolExecutor

from tss_ray.pipeline.floor import Floor


def test_many_are_together_and_who_is_alone_is_alone() -> None:
    floor, inside, lock, crowds, errors = Floor(), [0], threading.Lock(), [], []

    def work(alone: bool) -> None:
        for _ in range(40):
            with floor.alone() if alone else floor.together():
                with lock:
                    inside[0] += 1
                    crowds.append(inside[0])
                if alone and inside[0] != 1:
                    errors.append(inside[0])
                with lock:
                    inside[0] -= 1

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(work, [True, False, False, True, False, False]))
    assert not errors
    assert len(crowds) == 240


def test_together_does_not_wait_for_each_other() -> None:
    floor, met = Floor(), threading.Barrier(3, timeout=30)

    def work(_: int) -> None:
        with floor.together():
            met.wait()

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(work, range(3)))


def test_who_comes_after_one_that_waits_to_be_alone_waits_too() -> None:
    floor, order, inside = Floor(), [], threading.Event()

    def alone() -> None:
        with floor.alone():
            order.append("alone")

    def late() -> None:
        with floor.together():
            order.append("late")

    with floor.together():
        first = threading.Thread(target=alone)
        first.start()
        while not floor._waiting:
            inside.wait(0.001)
        second = threading.Thread(target=late)
        second.start()
        second.join(0.05)
        assert not order
    first.join()
    second.join()
    assert order == ["alone", "late"]
