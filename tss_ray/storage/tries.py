"""How often this process asked a store again for the same thing."""

import threading


class Tries:
    """A count that is taken away by whoever tells it on."""

    def __init__(self) -> None:
        """Begin at zero."""
        self._again, self._lock = 0, threading.Lock()

    def add(self, number: int = 1) -> None:
        """Count more."""
        with self._lock:
            self._again += number

    def take(self) -> int:
        """Return what was counted since the last call."""
        with self._lock:
            again, self._again = self._again, 0
        return again


TRIES = Tries()
