import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tss_ray.errors import SpecError
from tss_ray.quality import metrics
from tss_ray.quality.psnr import psnr, psnry

pytest.importorskip("pyiqa")


@pytest.fixture
def empty_torch_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    return tmp_path


def _pictures() -> tuple[torch.Tensor, torch.Tensor]:
    rng = torch.Generator().manual_seed(0)
    hr = torch.rand((3, 64, 64), generator=rng)
    return (hr + 0.05 * torch.randn(hr.shape, generator=rng)).clamp(0, 1), hr


@pytest.mark.parametrize(("name", "ours"), [("psnr", psnr), ("psnry", psnry)])
def test_our_psnr_agrees_with_pyiqa(name: str, ours: object) -> None:
    sr, hr = _pictures()
    theirs = metrics.metric(name)
    assert theirs is not None
    assert callable(ours)
    assert ours(sr, hr) == pytest.approx(theirs(sr, hr), abs=1e-3)


def test_niqe_without_its_file_is_unavailable_and_never_downloaded(
    empty_torch_home: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        pytest.fail("pyiqa was asked for the metric, which would download")

    monkeypatch.setattr(metrics, "_create", refuse)
    assert metrics.missing_weights("niqe") == [empty_torch_home / "hub/pyiqa/niqe_modelparameters.mat"]
    assert metrics.metric("niqe") is None
    assert "niqe_parameters.py" in caplog.text


def test_niqe_with_its_file_is_not_missing_anything(empty_torch_home: Path) -> None:
    file = empty_torch_home / "hub/pyiqa/niqe_modelparameters.mat"
    file.parent.mkdir(parents=True)
    file.touch()
    assert metrics.missing_weights("niqe") == []


@pytest.mark.parametrize("name", ["musiq", "clipiqa", "lpips"])
def test_a_metric_without_its_weights_is_unavailable_and_never_downloaded(
    name: str, empty_torch_home: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics, "_create", lambda *_: pytest.fail("pyiqa was asked for the metric"))
    missing = metrics.missing_weights(name)
    assert missing
    assert all(path.is_relative_to(empty_torch_home / "hub") for path in missing)
    assert metrics.metric(name) is None
    assert "put it there yourself" in caplog.text


@pytest.mark.usefixtures("empty_torch_home")
def test_piqe_stands_in_for_niqe_and_needs_no_file() -> None:
    stand_in = metrics.no_reference_metric()
    assert stand_in is not None
    assert stand_in.name == "piqe"
    assert 0 <= stand_in(_pictures()[0]) <= 100


def test_an_unknown_metric_is_refused_with_the_known_ones() -> None:
    with pytest.raises(SpecError, match="psnry"):
        metrics.missing_weights("beauty")


def test_importing_the_room_does_not_import_pyiqa() -> None:
    code = (
        "import sys, tss_ray.quality.metrics, tss_ray.quality.psnr, tss_ray.quality.lr_consistency;"
        "sys.exit('pyiqa' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
