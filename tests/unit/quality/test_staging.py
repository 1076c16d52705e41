"""Promises of staging: a metric's weights come from a mirror, whole and in their place, or it is told why not."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import scipy.io

from tss_ray.errors import ObjectNotFoundError, SpecError
from tss_ray.quality.pyiqa_metrics import PictureMetric
from tss_ray.quality.staging import stage

pytest.importorskip("pyiqa")

NIQE = "niqe_modelparameters.mat"


@pytest.fixture
def parameters(tmp_path: Path) -> bytes:
    """What NIQE takes for its parameters: a mean and a covariance of 36 features."""
    scipy.io.savemat(tmp_path / NIQE, {"mu_prisparam": np.zeros((1, 36)), "cov_prisparam": np.eye(36)})
    return (tmp_path / NIQE).read_bytes()


def mirror(files: dict[str, bytes]) -> Callable[[str], bytes]:
    def read(key: str) -> bytes:
        if key not in files:
            raise ObjectNotFoundError(key)
        return files[key]

    return read


@pytest.mark.parametrize("key", [NIQE, f"pyiqa/{NIQE}", f"hub/pyiqa/{NIQE}"])
@pytest.mark.usefixtures("in_process")
def test_a_metric_can_be_made_once_its_files_were_staged(key: str, no_weights: Path, parameters: bytes) -> None:
    with pytest.raises(SpecError, match="models fetch --metrics niqe"):
        PictureMetric("niqe")
    assert stage(["piqe", "niqe"], mirror({key: parameters})) == no_weights
    assert [path.name for path in (no_weights / "pyiqa").iterdir()] == [NIQE]
    PictureMetric("niqe")
    stage(["niqe"], mirror({}))  # nothing is left to bring


@pytest.mark.usefixtures("in_process")
def test_what_the_mirror_lacks_is_named(no_weights: Path) -> None:
    with pytest.raises(SpecError, match=f"niqe needs pyiqa/{NIQE}, which the mirror has not; put it there"):
        stage(["niqe"], mirror({}))


@pytest.mark.usefixtures("in_process")
def test_a_file_that_makes_no_metric_does_not_stay(no_weights: Path, parameters: bytes) -> None:
    with pytest.raises(SpecError, match="niqe cannot be made here"):
        stage(["niqe"], mirror({NIQE: parameters[:99]}))
    assert not (no_weights / "pyiqa" / NIQE).exists()


@pytest.mark.usefixtures("in_process")
def test_a_name_that_is_no_metric_brings_nothing(no_weights: Path) -> None:
    for read in (mirror({}), None):
        with pytest.raises(SpecError, match="is no metric of pyiqa"):
            stage(["beauty"], read)
    shutil.rmtree(no_weights, ignore_errors=True)


@pytest.mark.usefixtures("in_process", "no_weights")
def test_without_a_network_and_a_mirror_the_remedy_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def unplugged(*_: object) -> None:
        raise OSError("no network")

    monkeypatch.setattr("socket.getaddrinfo", unplugged)
    with pytest.raises(SpecError, match=r"niqe could not be fetched: .*no network.*--from"):
        stage(["niqe"])
