"""Who may be at work in an actor at once: everybody together, or one alone."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Floor:
    """A lock shared by many or held by one; who wants to be alone goes before those who come later."""

    def __init__(self) -> None:
        """Begin empty."""
        self._changed = threading.Condition()
        self._together, self._waiting, self._alone = 0, 0, False

    @contextmanager
    def together(self) -> Iterator[None]:
        """Hold the floor with others."""
        with self._changed:
            self._changed.wait_for(lambda: not self._alone and not self._waiting)
            self._together += 1
        try:
            yield
        finally:
            with self._changed:
                self._together -= 1
                self._changed.notify_all()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Hold the floor with nobody else."""
        with self._changed:
            self._waiting += 1
            self._changed.wait_for(lambda: not self._alone and not self._together)
            self._waiting, self._alone = self._waiting - 1, True
        try:
            yield
        finally:
            with self._changed:
                self._alone = False
                self._changed.notify_all()
