"""A machine without any metric's weights."""

from pathlib import Path

import pytest

from tss_ray.imaging.apart import Child


@pytest.fixture
def no_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty place for weights; pyiqa, which takes it in when it is imported, is told too."""
    from pyiqa.utils import download_util

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(download_util, "DEFAULT_CACHE_DIR", str(tmp_path / "hub/pyiqa"))
    return tmp_path / "hub"


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ask here and not in a child, which takes seconds to import pyiqa."""
    monkeypatch.setattr(Child, "call", lambda self, function, *arguments: function(*arguments))
