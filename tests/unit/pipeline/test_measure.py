"""Promises of measuring, without Ray: who is drawn, what is compared with what, and what a fault becomes."""

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from photos import photo_bytes
from PIL import Image

from tss_ray.budget.allocation import unit_hash
from tss_ray.errors import InputError, SpecError
from tss_ray.pipeline import measure
from tss_ray.pipeline.journal import Trial
from tss_ray.pipeline.measure import (
    Measure,
    Measurer,
    as_shown,
    baseline,
    binding_licence,
    check_measuring,
    is_measured,
)
from tss_ray.pipeline.rows import FILE
from tss_ray.quality.detail import detail_score
from tss_ray.quality.pyiqa_metrics import MetricFacts
from tss_ray.records import ManifestRow, MetricValue, rows_to_table, table_to_rows
from tss_ray.spec import JobSpec, MetricsSpec, load_spec

KEYS = [f"{n % 7}/{n}.png" for n in range(2000)]


class Brightness:
    """A metric without pyiqa."""

    def __init__(self, name: str) -> None:
        """`difference` compares."""
        self.name, self.needs_reference = name, name == "difference"

    def __call__(self, picture: torch.Tensor, reference: torch.Tensor | None = None) -> float:
        if picture.shape[-1] < 8:
            raise AssertionError("too small")
        return float((picture - reference).abs().mean() if reference is not None else picture.mean())


def row(key: str = "a.png", **changes: Any) -> ManifestRow:
    fields = {"image_key": key, "input_uri": "", "spec_hash": "0", "status": "done"}
    return ManifestRow(**(fields | changes))


def drawn(share: float) -> set[str]:
    return {key for key in KEYS if is_measured(MetricsSpec(names=("niqe",), share=share), row(key))}


def test_the_share_follows_from_keys_alone_and_a_larger_one_holds_the_smaller() -> None:
    assert drawn(0.1) == drawn(0.1)
    assert 0.07 < len(drawn(0.1)) / len(KEYS) < 0.13
    assert drawn(0.1) < drawn(0.3) < drawn(1.0) == set(KEYS)
    first = [unit_hash("0/1890.png", "metrics"), unit_hash("4/886.png", "metrics")]
    assert max(first) < 0.002  # or reruns, in another process, would measure others
    assert {"0/1890.png", "4/886.png"} < drawn(0.005)


def test_holdouts_are_measured_whatever_the_share_and_what_failed_is_not() -> None:
    metrics = MetricsSpec(names=("niqe",), share=1e-9)
    assert is_measured(metrics, row(holdout=True))
    assert not is_measured(metrics, row())
    assert not is_measured(MetricsSpec(names=("niqe",)), row().quarantined("corrupt", ""))
    assert not is_measured(MetricsSpec(), row(holdout=True))


@pytest.fixture
def make(tmp_path: Path, tiny_model_folder: Path) -> Callable[..., tuple[Measurer, ManifestRow]]:
    """Return a maker of a measurer and of a row of an image of 12×10 px whose output is its brightened enlargement."""

    def made(size: tuple[int, int] = (48, 40), **settings: Any) -> tuple[Measurer, ManifestRow]:
        for name in ("in", "out", "originals"):
            (tmp_path / name).mkdir(exist_ok=True)
        data = photo_bytes(3, 12, 10)
        (tmp_path / "in/a.png").write_bytes(data)
        with Image.open(io.BytesIO(data)) as image:
            image.resize(size).point(lambda value: value // 2).save(tmp_path / "out/a.png")
        base = {"input": "in", "output": "out", "model": str(tiny_model_folder), "metrics.names": ["brightness"]}
        spec = load_spec(None, base | settings)
        uris = {"input_uri": str(tmp_path / "in/a.png"), "output_uri": str(tmp_path / "out/a.png")}
        return Measurer(spec, Brightness), row(**uris, out_width=size[0], out_height=size[1])  # type: ignore[arg-type]

    return made


def values(measured: ManifestRow) -> dict[str, MetricValue]:
    assert measured.metrics_s is not None
    return {value["name"]: value for value in measured.metrics or ()}


def test_before_is_the_enlargement_and_after_the_file(
    make: Callable[..., tuple[Measurer, ManifestRow]], tmp_path: Path
) -> None:
    measurer, image = make()
    (value,) = measurer.measured(image).metrics or ()
    with Image.open(tmp_path / "out/a.png") as file, Image.open(tmp_path / "in/a.png") as lr:
        assert value["after"] == pytest.approx(np.asarray(file).mean() / 255, abs=1e-6)
        assert value["before"] == pytest.approx(np.asarray(lr.resize((48, 40), 3)).mean() / 255, abs=1e-3)
    assert value["fault"] is None


def test_a_file_that_goes_into_a_shard_is_measured_before_it_lies_there_and_goes_on(
    make: Callable[..., tuple[Measurer, ManifestRow]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measurer, image = make()
    stored = measurer.measured(image)
    data = (tmp_path / "out/a.png").read_bytes()
    (tmp_path / "out/a.png").unlink()
    operator = Measure.__new__(Measure)
    operator._measurer, operator._monitor = measurer, None
    operator._link = SimpleNamespace(stopping=False)  # type: ignore[assignment]
    trusted = SimpleNamespace(trial=Trial(False, frozenset()), end=lambda: None)
    monkeypatch.setattr(measure, "WatchedBlock", lambda *_: trusted)
    block = rows_to_table([replace(image, output_uri=None)]).append_column(FILE, pa.array([data], pa.large_binary()))
    measured = operator(block)
    assert measured.schema == block.schema
    assert measured[FILE].to_pylist() == [data]
    assert table_to_rows(measured)[0].metrics == stored.metrics


def test_the_baseline_is_what_zero_steps_write() -> None:
    lr = as_shown(photo_bytes(1, 12, 10), 10_000)
    for height, width in ((40, 48), (25, 30), (10, 12)):
        size = (3, height, width)
        made = baseline(lr, 4, height, width)
        assert made.shape == size
        assert torch.equal((made * 255).round() / 255, made)
    assert torch.equal(baseline(lr, 4, 10, 12), lr)


@pytest.mark.parametrize("name", ["a.png", "a.jpeg", "a.tif"])
def test_originals_are_found_by_key_with_any_extension(
    make: Callable[..., tuple[Measurer, ManifestRow]], tmp_path: Path, name: str
) -> None:
    settings = {"metrics.names": ["difference", "brightness"], "metrics.reference": str(tmp_path / "originals")}
    measurer, image = make(**settings)
    assert values(measurer.measured(image))["difference"]["fault"] is not None
    with Image.open(tmp_path / "out/a.png") as output:
        output.save(tmp_path / "originals" / name, quality=100)
    found = values(measurer.measured(image))
    assert found["difference"]["fault"] is None
    assert found["difference"]["after"] == pytest.approx(0, abs=0.02)
    assert (found["difference"]["before"] or 0) > 0.025


def test_an_original_that_is_absent_or_of_another_size_spoils_only_what_compares(
    make: Callable[..., tuple[Measurer, ManifestRow]], tmp_path: Path
) -> None:
    settings = {"metrics.names": ["difference", "brightness"], "metrics.reference": str(tmp_path / "originals")}
    measurer, image = make(**settings)
    for told in ("no original under", "47×40 px, the output 48×40"):
        found = values(measurer.measured(image))
        assert told in (found["difference"]["fault"] or "")
        assert found["difference"]["after"] is None
        assert found["brightness"]["after"] is not None
        (tmp_path / "originals/a.png").write_bytes(photo_bytes(3, 47, 40))


def test_what_cannot_be_measured_is_told_in_the_row(
    make: Callable[..., tuple[Measurer, ManifestRow]], tmp_path: Path
) -> None:
    measurer, image = make(size=(4, 4))
    assert values(measurer.measured(image))["brightness"]["fault"] == "AssertionError: too small"
    measurer, image = make(**{"metrics.max_output_px": 100})
    assert "metrics.max_output_px" in (values(measurer.measured(image))["brightness"]["fault"] or "")
    gone = replace(image, output_uri=str(tmp_path / "out/gone.png"), out_width=9, out_height=9)
    assert values(measurer.measured(gone))["brightness"]["fault"]
    assert measurer.measured(gone).status == "done"


def test_the_score_of_plans_is_measured_against_the_input_without_pyiqa(
    make: Callable[..., tuple[Measurer, ManifestRow]],
) -> None:
    measurer, image = make(**{"metrics.names": ["brightness", "detail"]})
    image = replace(image, noise_sigma=0.02)
    found = measurer.measured(image)
    assert [value["name"] for value in found.metrics or ()] == ["brightness", "detail"]
    lr, output = (as_shown(Path(uri).read_bytes(), 10_000) for uri in (image.input_uri, image.output_uri or ""))
    detail = values(found)["detail"]
    assert detail["after"] == detail_score(output, lr, 0.02).score
    assert detail["before"] == detail_score(baseline(lr, 4, 40, 48), lr, 0.02).score
    measurer, image = make(size=(24, 20), **{"metrics.names": ["detail"]})
    assert "not 4 times" in (values(measurer.measured(image))["detail"]["fault"] or "")


def test_the_score_of_plans_binds_to_no_licence_and_wants_its_factor_and_no_originals(tmp_path: Path) -> None:
    assert binding_licence(check_measuring(job(**{"metrics.names": ["detail"]}))) is None
    assert binding_licence(()) is None
    assert "pyiqa" in (binding_licence((MetricFacts("detail"), MetricFacts("psnry", True))) or "")
    with pytest.raises(SpecError, match="judges enlargements by 4, not by 2; leave it out"):
        check_measuring(job(**{"metrics.names": ["detail"], "scale": 2}))
    with pytest.raises(SpecError, match="detail compares with nothing"):
        check_measuring(job(**{"metrics.names": ["detail"], "metrics.reference": str(tmp_path)}))


def job(**settings: Any) -> JobSpec:
    return load_spec(None, {"input": "in", "output": "out"} | settings)


def test_references_are_looked_for_before_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "check_metrics", lambda *_: (MetricFacts("psnry", True),))
    (tmp_path / "a.png").write_bytes(b"x")
    (tmp_path / "empty").mkdir()
    assert check_measuring(job(**{"metrics.names": ["psnry"], "metrics.reference": str(tmp_path)}))
    with pytest.raises(InputError, match="nothing found at --reference"):
        check_measuring(job(**{"metrics.names": ["psnry"], "metrics.reference": str(tmp_path / "empty")}))
    with pytest.raises(SpecError, match="--reference without --metrics"):
        check_measuring(job(**{"metrics.reference": str(tmp_path)}))


def test_what_kills_workers_and_what_a_stop_leaves_stay_done_without_values(
    make: Callable[..., tuple[Measurer, ManifestRow]],
) -> None:
    measurer, image = make()
    alone: list[str] = []
    operator = Measure.__new__(Measure)
    operator._measurer = measurer
    for stopping, killers, told in (
        (True, frozenset[str](), "stopped before"),
        (False, frozenset({"a.png"}), "workers died over it"),
        (False, frozenset[str](), None),
    ):
        operator._link = SimpleNamespace(stopping=stopping)  # type: ignore[assignment]
        watched: Any = SimpleNamespace(trial=Trial(True, killers), alone=alone.append)
        measured = operator._row(image, None, watched)
        assert measured.status == "done"
        (value,) = measured.metrics or ()
        assert (value["after"] is None) == (told is not None)
        assert told is None or told in (value["fault"] or "")
    assert alone == ["a.png"]  # a suspect's name is in the journal before it is tried
