"""What unit tests of the actors share."""

import pytest

from tss_ray.pipeline import upscaler
from tss_ray.pipeline.monitor import Tally


class _NeverStops:
    """In the place of `MonitorLink`, without Ray."""

    stopping = overdue = False

    def __init__(self, monitor: object) -> None:
        """Ask nobody."""

    def count(self, tally: Tally) -> None:
        """Tell nobody."""

    def flush(self) -> None:
        """Tell nobody."""


@pytest.fixture
def never_stops(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let super-resolution actors run without Ray, all told that nothing stops."""
    monkeypatch.setattr(upscaler, "MonitorLink", _NeverStops)
