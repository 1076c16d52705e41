"""Promises of a worker's line to the monitor."""

import threading
from types import SimpleNamespace
from typing import Any

import pytest
from ray.exceptions import RayActorError

from tss_ray.pipeline import monitor
from tss_ray.pipeline.monitor import Monitor, MonitorLink, Tally


class Line:
    """A monitor without Ray: what comes in is done at once; after so many calls it is dead."""

    def __init__(self, num_calls: int) -> None:
        self.monitor, self.calls_left = Monitor(), num_calls
        self.over = threading.Event()
        self.exchange = SimpleNamespace(remote=self._exchange)
        self.add = SimpleNamespace(remote=self.monitor.add)

    def _exchange(self, tally: Tally) -> bool:
        self.calls_left -= 1
        if self.calls_left < 0:
            self.over.set()
            raise RayActorError
        return self.monitor.exchange(tally)


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(monitor, "_CALL_S", 0.01)
    monkeypatch.setattr(monitor.ray, "get", _same)


def _same(answer: Any) -> Any:
    return answer


def test_what_was_counted_arrives_once() -> None:
    line = Line(num_calls=20)
    link = MonitorLink(line)
    for _ in range(100):
        link.count(Tally(done=1, steps=3))
    assert line.over.wait(10)
    assert line.monitor.tally() == Tally(100, 0, 300)


def test_a_flush_tells_what_is_left_even_where_nothing_calls_any_more() -> None:
    line = Line(num_calls=0)
    link = MonitorLink(line)
    assert line.over.wait(10)
    link.count(Tally(1, 1, 5))
    link.flush()
    link.flush()
    assert line.monitor.tally() == Tally(1, 1, 5)


def test_counts_go_on_arriving_after_the_stop() -> None:
    line = Line(num_calls=20)
    line.monitor.stop()
    link = MonitorLink(line)
    while not link.stopping and not line.over.wait(0.01):
        pass
    assert link.stopping
    assert not link.overdue, "that is some seconds later"
    link.count(Tally(done=1))
    assert line.over.wait(10)
    assert line.monitor.tally() == Tally(done=1)
