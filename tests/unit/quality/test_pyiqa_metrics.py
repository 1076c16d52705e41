"""Promises of the preflight of metrics: what cannot be measured is told before work, and nothing is downloaded."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tss_ray.errors import SpecError
from tss_ray.quality import pyiqa_metrics
from tss_ray.quality.pyiqa_metrics import MetricFacts, PictureMetric, check_metrics, licence, probe

pytest.importorskip("pyiqa")

PIQE = MetricFacts("piqe", lower_is_better=True)
PSNR = MetricFacts("psnry", needs_reference=True)


@pytest.mark.usefixtures("in_process")
def test_a_missing_weight_is_an_error_that_says_where_it_goes(no_weights: Path) -> None:
    with pytest.raises(SpecError) as told:
        check_metrics(["niqe", "brisque"], has_reference=False)
    first, second = str(told.value).splitlines()
    assert f"niqe needs {no_weights}/pyiqa/niqe_modelparameters.mat" in first
    assert "niqe_parameters.py" in first
    assert f"brisque needs {no_weights}/pyiqa/brisque_svm_weights.pth" in second  # in no table of ours
    assert second.endswith("set TORCH_HOME to a folder that holds hub/pyiqa/brisque_svm_weights.pth")


@pytest.mark.parametrize("name", ["niqe", "brisque", "unique"])
def test_a_metric_without_its_weights_asks_no_network(
    name: str, no_weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("socket.socket.connect", lambda *_: pytest.fail("the network was asked"))
    with pytest.raises(SpecError, match="a job downloads nothing"):
        PictureMetric(name)


@pytest.mark.parametrize(
    ("name", "told"), [("beauty", "is no metric of pyiqa"), ("psnrx", "psnry"), ("fid", "judges sets of pictures")]
)
@pytest.mark.usefixtures("in_process")
def test_what_is_no_metric_of_a_picture_is_refused(name: str, told: str) -> None:
    with pytest.raises(SpecError, match=told):
        check_metrics([name], has_reference=False)


def test_references_and_metrics_that_compare_need_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    facts = {"piqe": PIQE, "psnry": PSNR}
    monkeypatch.setattr(pyiqa_metrics.Child, "call", lambda *call: tuple(facts[name] for name in call[-1]))
    assert check_metrics(["psnry", "piqe"], has_reference=True) == (PSNR, PIQE)
    assert check_metrics(["piqe"], has_reference=False) == (PIQE,)
    with pytest.raises(SpecError, match="--reference PREFIX"):
        check_metrics(["psnry", "piqe"], has_reference=False)
    with pytest.raises(SpecError, match="none of piqe compares"):
        check_metrics(["piqe"], has_reference=True)


def test_the_facts_are_those_of_pyiqa() -> None:
    assert probe(["piqe", "psnry"]) == (PIQE, PSNR)


def test_no_metrics_need_no_pyiqa() -> None:
    code = (
        "import sys; sys.modules['pyiqa'] = None\n"
        "from tss_ray.pipeline.measure import check_measuring; from tss_ray.spec import load_spec\n"
        "print(check_measuring(load_spec(None, {'input': 'a', 'output': 'b'})))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout, done.returncode) == ("()\n", 0), done.stderr


def test_without_pyiqa_the_remedy_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(SpecError, match=r"tss-ray\[metrics\]"):
        check_metrics(["niqe"], has_reference=False)


def test_the_licence_is_that_of_the_installed_package() -> None:
    assert "Noncommercial" in licence()


def test_a_metric_that_looks_at_one_picture_ignores_the_reference() -> None:
    picture = torch.rand((3, 64, 64), generator=torch.Generator().manual_seed(0))
    metric = PictureMetric("piqe")
    assert metric(picture, picture * 0) == metric(picture)
