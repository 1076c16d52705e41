"""Calls in a child process, whose death is an answer: for bytes that may take down whoever decodes them.

python -m tss_ray.imaging.apart     the child: pickled calls on stdin, pickled answers on stdout, until stdin ends
"""

import contextlib
import os
import pickle
import subprocess
import sys
import traceback
from collections.abc import Callable
from types import TracebackType
from typing import BinaryIO, ParamSpec, Self, TypeVar, cast

from tss_ray.errors import EngineError, ImageError

_LENGTH_BYTES = 8
_OOM_SCORE = "1000"

P = ParamSpec("P")
R = TypeVar("R")


class Child:
    """One child at a time, started when first needed and again when it has died. Not thread-safe."""

    def __init__(self) -> None:
        """Start nothing yet."""
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def call(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Return what a function of a module returns; a call that kills the child is tried once more, in a fresh one.

        Raises the function's own ImageError, ImageError of kind "worker_killed" after the second death, and
        EngineError for any other exception.
        """
        request = pickle.dumps((function, args, kwargs))
        answer = self._ask(request)
        if answer is None:
            self._end()  # the first death may have been an earlier call's doing
            answer = self._ask(request)
        if answer is None:
            code = self._end()
            raise ImageError(
                "worker_killed",
                f"twice it killed the process that decoded it ({_cause(code)}), the second time alone; replace the "
                "file, or give the nodes more memory",
            )
        what, value = answer
        if what == "image_error":
            raise _image_error(*cast(tuple[type[ImageError], str, str], value))
        if what == "error":
            raise EngineError(f"in a child process: {value}; please report this")
        return cast(R, value)

    def _ask(self, request: bytes) -> tuple[str, object] | None:
        """Return the child's answer, or None if it died over it."""
        process = self._process = self._process or _start()
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            _send(cast(BinaryIO, process.stdin), request)
        except BrokenPipeError:
            return None
        answer = _receive(cast(BinaryIO, process.stdout))
        return None if answer is None else cast(tuple[str, object], pickle.loads(answer))

    def _end(self) -> int:
        """End the child and return its exit code; negative is a signal's number."""
        process, self._process = self._process, None
        if process is None:
            return 0
        with contextlib.suppress(BrokenPipeError):
            process.communicate()  # closes stdin, which a living child takes as its end
        return process.returncode


def _start() -> "subprocess.Popen[bytes]":
    # This process may have been given its path by others than its environment.
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    command = [sys.executable, "-m", "tss_ray.imaging.apart"]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)


def _image_error(family: type[ImageError], kind: str, message: str) -> ImageError:
    return family(kind, message)


def _cause(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit code {code}"


def _send(file: BinaryIO, data: bytes) -> None:
    file.write(len(data).to_bytes(_LENGTH_BYTES, "big") + data)
    file.flush()


def _receive(file: BinaryIO) -> bytes | None:
    """Return the next message, or None where the other side has gone, be it in the middle of one."""
    length = int.from_bytes(file.read(_LENGTH_BYTES), "big")
    data = file.read(length)
    return data if length and len(data) == length else None


def _serve() -> None:
    """Answer calls until stdin ends."""
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as score:
        score.write(_OOM_SCORE)  # when memory runs out, the kernel takes this process and not its parent
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # whatever a codec prints is no answer
    while (request := _receive(sys.stdin.buffer)) is not None:
        _send(answers, pickle.dumps(_answer(request)))


def _answer(request: bytes) -> tuple[str, object]:
    function, args, kwargs = pickle.loads(request)
    try:
        return "value", function(*args, **kwargs)
    except ImageError as error:
        return "image_error", (type(error), error.kind, str(error))
    except Exception:  # noqa: BLE001 - told to the parent, which raises
        return "error", traceback.format_exc()


if __name__ == "__main__":
    _serve()
