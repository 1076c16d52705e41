"""Promises of what a driver says of its run: pace, cost, what it writes, and that saying it harms nothing."""

import json
import logging
from pathlib import Path
from types import SimpleNamespace

import pytest
from targets import make_target

from tss_ray.errors import StorageError
from tss_ray.pipeline.monitor import Tally
from tss_ray.pipeline.resources import ResourcePlan
from tss_ray.pipeline.teller import Cost, Every, Pace, Teller, held_devices, planned_device_s, predicted
from tss_ray.spec import JobSpec, StoreSpec
from tss_ray.storage.key_list import KeyList
from tss_ray.storage.layout import PROGRESS_KEY
from tss_ray.storage.progress import Progress, read_progress
from tss_ray.storage.stores import open_store
from tss_ray.telemetry.names import METRICS, Metric


class Heard:
    """Meters that keep what they were told last."""

    def __init__(self) -> None:
        self.values: dict[tuple[str, ...], float] = {}

    def set(self, metric: Metric, value: float | None, **tags: str) -> None:
        assert metric in METRICS
        assert tags.keys() == set(metric.tags)
        if value is not None:
            self.values[metric.name, *tags.values()] = value


def job(tmp_path: Path, **settings: object) -> JobSpec:
    return JobSpec.model_validate({"input": "in", "output": str(tmp_path / "out")} | settings)


def teller(spec: JobSpec, heard: Heard, lost: bool = False) -> Teller:
    lease = SimpleNamespace(run_id="abc", lost=lost)
    return Teller(spec, open_store(spec.output, spec.store), lease, KeyList((), 120, 100), heard, every_s=0.01)


def told(spec: JobSpec) -> Progress:
    found = read_progress(open_store(spec.output, spec.store))
    assert found is not None
    return found


def test_the_pace_is_that_of_the_last_minute() -> None:
    pace = Pace(window_s=60)
    assert pace.images_per_s is None
    for second in range(0, 200, 10):
        pace.see(second if second < 100 else 100 + 10 * (second - 100), second)
    assert pace.images_per_s == pytest.approx(10)


def test_before_a_second_image_there_is_no_pace() -> None:
    pace = Pace()
    pace.see(0, 1.0)
    pace.see(3, 5.0)
    pace.see(3, 6.0)
    assert pace.images_per_s is None


def test_something_due_is_due_at_once_and_then_now_and_then() -> None:
    every = Every(10)
    assert [now for now in range(25) if every.due(now)] == [0, 10, 20]


def test_rented_is_what_is_held_and_computing_what_was_computed() -> None:
    cost = Cost(num_devices=4, usd_per_s=0.01, planned_device_s=None)
    assert cost.usd(Tally(device_seconds=30), 20) == pytest.approx({"rented": 0.8, "computing": 0.3})
    assert Cost(4, None, None).usd(Tally(device_seconds=30), 20) == {}


def test_what_is_left_is_predicted_to_be_like_what_is_finished() -> None:
    assert predicted(8.0, Tally(done=15, quarantined=5), 100) == 40
    assert predicted(8.0, Tally(), 100) is None


def test_a_plan_s_share_of_a_run_is_its_share_of_the_inputs(tmp_path: Path, tiny_model_folder: Path) -> None:
    def planned(**changes: object) -> float | None:
        budget = {"policy": "target", "target": make_target(tiny_model_folder, **changes).model_dump()}
        return planned_device_s(job(tmp_path, budget=budget), 200, 50)

    assert planned(cap=1000.0) == 250
    assert planned(cost_unit="steps") is None
    # everybody at the first climb that gains more than 0.1 for each second: 50 tiles of 0 and 50 of 3 device-seconds
    assert planned(cap=None, multiplier=0.09, holdout_share=0.0) == pytest.approx(150 / 4)
    assert planned_device_s(job(tmp_path), 200, 50) is None


def test_devices_are_gpus_or_where_there_are_none_actors() -> None:
    assert held_devices(ResourcePlan(3, 1.0, 0.5, 1, 0.5, 0.25)) == 1.5
    assert held_devices(ResourcePlan(3, 1.0, 0.0, 1, 0.5, 0.25)) == 3


def test_a_run_is_told_from_its_beginning_to_its_end(tmp_path: Path) -> None:
    spec, heard = job(tmp_path, telemetry={"device_usd_per_hour": 3600}), Heard()
    with teller(spec, heard) as one:
        one.hold(ResourcePlan(2, 1.0, 0.0, 1, 0.5, 0.25))
        one.see(Tally(15, 5, 60, 12.0), stopping=True)
        assert heard.values["tss_running",] == 1
    assert heard.values["tss_running",] == 0
    assert heard.values["tss_finished_images",] == 20
    assert heard.values["tss_predicted_device_seconds",] == 60
    assert heard.values["tss_cost_usd", "computing"] == 12
    assert heard.values["tss_predicted_usd", "computing"] == 60
    one.end({"stopped": True})
    last = told(spec)
    assert (last.state, last.done, last.quarantined, last.steps, last.num_todo) == ("ended", 15, 5, 60, 100)
    assert last.result == {"stopped": True}
    assert last.age_s < 60


def test_a_run_that_fails_says_so(tmp_path: Path) -> None:
    spec = job(tmp_path)
    one = teller(spec, Heard())
    one.see(Tally(3), stopping=False)
    with pytest.raises(RuntimeError), one:
        raise RuntimeError("boom")
    assert (told(spec).state, told(spec).done) == ("failed", 3)


def test_nothing_is_written_over_the_run_that_took_the_output(tmp_path: Path) -> None:
    spec = job(tmp_path)
    with teller(spec, Heard(), lost=True) as one:
        one.see(Tally(3), stopping=False)
    one.end({})
    assert not (tmp_path / "out" / PROGRESS_KEY).exists()


def test_a_store_that_refuses_ends_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: object) -> None:
        raise StorageError("the disk is full; make room")

    monkeypatch.setattr("tss_ray.pipeline.teller.write_progress", refuse)
    with caplog.at_level(logging.WARNING), teller(job(tmp_path), Heard()) as one:
        one.see(Tally(3), stopping=False)
    one.end({})
    assert "could not be written: the disk is full; make room" in caplog.text


def test_what_another_version_wrote_is_as_if_nothing_were_there(tmp_path: Path) -> None:
    store = open_store(str(tmp_path), StoreSpec())
    assert read_progress(store) is None
    store.write(PROGRESS_KEY, json.dumps({"run_id": "abc", "mood": "good"}).encode())
    assert read_progress(store) is None
