"""What tests of several rooms share: a tiny checkpoint and a folder of real photographs."""

from pathlib import Path

import pytest
from photos import photo_bytes
from tiny import write_tiny_model


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
