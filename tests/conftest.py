"""What tests of several rooms share: a tiny checkpoint, a folder of real photographs, and how the run ends."""

import atexit
import os
import sys
from pathlib import Path

import pytest
from photos import photo_bytes
from tiny import write_tiny_model

_ended: list[pytest.Session] = []


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Remember how the run ended."""
    _ended.append(session)


@atexit.register
def leave() -> None:
    """End the process with the run's own exit status, once all that registered later has cleaned up.

    A run of the whole suite once ended with SIGSEGV after 3,003 passed tests: by the kernel's log a thread other than
    the main one had jumped into the heap. This process has started and stopped Ray some dozens of times, which Ray does
    not promise to survive while threads of a session are left (ray-project/ray#31145), and they are; a job starts Ray
    once.
    """
    for session in _ended:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(int(session.exitstatus))


@pytest.fixture(scope="session")
def tiny_model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder whose untrained network is small enough to run hundreds of images in seconds."""
    return write_tiny_model(tmp_path_factory.mktemp("tiny-model"))


@pytest.fixture(scope="session")
def photo_set() -> dict[str, bytes]:
    """A small data set as people have them: sizes, formats and modes mixed, three files rotten. Keys to bytes."""
    files = {f"a/{i:02d}.png": photo_bytes(i, 20 + 9 * i, 50 - 4 * i) for i in range(8)}
    files |= {f"b/{i:02d}.jpg": photo_bytes(i, 40, 24 + i, image_format="JPEG") for i in range(4)}
    files |= {f"b/c/{i:02d}.webp": photo_bytes(i, 33, 17, image_format="WEBP") for i in range(3)}
    files |= {
        "grey.png": photo_bytes(1, 30, 30, "L"),
        "alpha.png": photo_bytes(2, 30, 20, "RGBA"),
        "tiny.png": photo_bytes(3, 8, 8),
        "rotten/cut.jpg": photo_bytes(1, 64, 64, image_format="JPEG")[:700],
        "rotten/empty.png": b"",
        "rotten/notes.txt": b"not an image",
    }
    return files


@pytest.fixture
def photo_folder(photo_set: dict[str, bytes], tmp_path: Path) -> Path:
    """The data set as files."""
    folder = tmp_path / "in"
    for key, data in photo_set.items():
        (folder / key).parent.mkdir(parents=True, exist_ok=True)
        (folder / key).write_bytes(data)
    return folder
