"""The benchmark of the gates tells a working model from one that is not, on the photographs that are large enough."""

import json
import sys
from pathlib import Path

import gates
import pytest
from tiny import write_tiny_model

from tss_ray.quality.gates import MAX_SHIFT
from tss_ray.storage import sample_photos
from tss_ray.training.photos import listed


@pytest.fixture(scope="module")
def photo_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    whole = sample_photos.reference(sample_photos.names()[0])
    for photo, side in zip(listed(), (520, 500), strict=False):  # the second is too small at the size it is measured at
        whole.resize((side, side)).save(folder / photo.name)
    return folder


@pytest.mark.parametrize(("residual_scale", "refused"), [(1e-4, 0), (30.0, 2)])
def test_outputs_that_would_be_refused_are_counted(
    photo_folder: Path,
    residual_scale: float,
    refused: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    model = write_tiny_model(tmp_path, residual_scale=residual_scale)
    monkeypatch.setattr(sys, "argv", ["gates.py", "--photos", str(photo_folder), "--model", str(model), "--steps", "1"])
    assert gates.main() == 0
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (figures["inputs"], figures["outputs"], figures["refused"]) == (2, 2, refused)
    assert (figures["largest_shift"] > MAX_SHIFT) == (refused > 0)
