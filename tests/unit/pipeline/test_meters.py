"""Promises of what workers record: from rows to metrics, and that no value of a row can break the recording."""

import dataclasses
import math
from types import SimpleNamespace

import pytest

from tss_ray.engine.engine import EngineStats
from tss_ray.pipeline import meters, pulse
from tss_ray.pipeline.meters import Meters, tell_committed, tell_prepared, tell_upscaled
from tss_ray.records import ManifestRow
from tss_ray.storage.tries import TRIES
from tss_ray.telemetry import names

BASE = ManifestRow(image_key="a.png", input_uri="in/a.png", spec_hash="0")
DONE = dataclasses.replace(
    BASE,
    status="done",
    in_width=10,
    in_height=20,
    out_width=40,
    out_height=80,
    input_bytes=100,
    output_bytes=900,
    num_steps=4,
    num_tiles=2,
    nfe=8,
    tile_px=32,
    num_steps_top_rung=15,
    fetch_s=0.1,
    decode_s=0.2,
    probe_s=0.3,
    queue_s=0.4,
    denoise_s=0.5,
    encode_s=0.6,
    upload_s=0.7,
    lr_consistency_psnr=40.0,
    colour_delta_e=0.5,
    attempt=1,
)
ROTTEN = BASE.quarantined("corrupt", "it is rotten; replace it")


class Recorder:
    """What stands in for a metric of Ray: sums by tags, the last value of gauges, and Ray's own refusals."""

    def __init__(self, metric: names.Metric) -> None:
        self.metric, self.seen, self.default = metric, dict[tuple[str, ...], float](), dict[str, str]()

    def set_default_tags(self, tags: dict[str, str]) -> "Recorder":
        self.default = tags
        return self

    def _key(self, tags: dict[str, str]) -> tuple[str, ...]:
        assert self.default | tags == {key: (self.default | tags)[key] for key in self.metric.tag_keys}
        return tuple(tags[key] for key in self.metric.tags)

    def inc(self, value: float, tags: dict[str, str]) -> None:
        assert value > 0
        self.seen[self._key(tags)] = self.seen.get(self._key(tags), 0) + value

    def observe(self, value: float, tags: dict[str, str]) -> None:
        self.seen[self._key(tags)] = self.seen.get(self._key(tags), 0) + value

    def set(self, value: float, tags: dict[str, str]) -> None:
        self.seen[self._key(tags)] = value


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Meters:
    monkeypatch.setattr(meters, "_make", Recorder)
    TRIES.take()
    return Meters("01000000")


def seen(told: Meters, metric: names.Metric) -> dict[tuple[str, ...], float]:
    recorder = told._made.get(metric.name)
    return {} if recorder is None else recorder.seen


def test_a_block_of_rows_becomes_counts_and_histograms(told: Meters) -> None:
    tell_upscaled(told, [DONE, DONE, ROTTEN])
    assert seen(told, names.IMAGES) == {("done", "none"): 2, ("quarantined", "corrupt"): 1}
    assert seen(told, names.STEPS) == seen(told, names.STEPS_RUN) == {(): 8}
    assert seen(told, names.STAGE_SUM) == seen(told, names.STAGE_SECONDS)
    assert seen(told, names.RUN_PIXELS) == {(): 16 * 32**2}
    assert seen(told, names.RUN_PIXELS_TOP_RUNG) == {(): 60 * 32**2}
    assert seen(told, names.PIXELS) == {("in",): 400, ("out",): 6400}
    assert seen(told, names.BYTES) == {("out",): 1800}
    stages = {stage: value for (stage,), value in seen(told, names.STAGE_SECONDS).items()}
    assert stages == pytest.approx({"queue": 0.8, "denoise": 1.0, "encode": 1.2, "upload": 1.4})
    assert seen(told, names.RETRIES) == {}


def test_what_was_left_pending_is_not_counted(told: Meters) -> None:
    tell_upscaled(told, [BASE])
    assert seen(told, names.IMAGES) == {}


def test_every_second_attempt_of_the_model_is_a_retry(told: Meters) -> None:
    tell_upscaled(told, [dataclasses.replace(DONE, attempt=2), dataclasses.replace(ROTTEN, attempt=2)])
    assert seen(told, names.RETRIES) == {("gate",): 2}


def test_requests_sent_again_are_told_once(told: Meters) -> None:
    TRIES.add(3)
    tell_prepared(told, [DONE, ROTTEN])
    tell_committed(told, 256, 0.25)
    assert seen(told, names.RETRIES) == {("request",): 3}
    assert seen(told, names.BYTES) == {("in",): 100}
    assert seen(told, names.ROWS) == {(): 256}
    assert seen(told, names.STAGE_SECONDS) == pytest.approx(
        {("fetch",): 0.1, ("decode",): 0.2, ("probe",): 0.3, ("commit",): 0.25}
    )


@pytest.mark.parametrize("value", [0.0, -1.0, math.nan, math.inf])
def test_what_ray_would_refuse_is_left_out(told: Meters, value: float) -> None:
    told.count(names.RUN_PIXELS, value)
    assert seen(told, names.RUN_PIXELS) == {}


def test_what_is_not_known_is_left_out(told: Meters) -> None:
    told.set(names.TODO, None)
    told.set(names.TODO, math.nan)
    told.observe(names.STEPS, None)
    told.observe(names.STEPS, math.inf)
    assert seen(told, names.TODO) == seen(told, names.STEPS) == {}


def test_a_beat_tells_what_the_engine_did_since_the_last_one(told: Meters, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pulse.threading.Thread, "start", lambda self: None)
    monkeypatch.setattr(pulse, "bytes_in_use", lambda device: 5000)
    first = EngineStats(forwards=2, slots_run=8, slots_useful=6, px_run=30, px_wanted=20, device_s=1.5)
    engine = SimpleNamespace(stats=first, idle_s=0.5, max_batch=4, num_open=3, device="cpu")
    one = pulse.Pulse(engine, told, "abcd")
    one.beat()
    engine.stats, engine.idle_s = dataclasses.replace(first, forwards=3, device_s=2.0, out_of_memory=1), 0.75
    one.beat()
    assert seen(told, names.FORWARDS) == {(): 3}
    assert seen(told, names.SLOTS) == {("useful",): 6, ("empty",): 2}
    assert seen(told, names.ENGINE_PIXELS) == {("wanted",): 20, ("padding",): 10}
    assert seen(told, names.DEVICE_SECONDS) == {(): 2.0}
    assert seen(told, names.IDLE_SECONDS) == {(): 0.75}
    assert seen(told, names.OUT_OF_MEMORY) == {(): 1}
    assert seen(told, names.QUEUE) == {("abcd",): 3}
    assert seen(told, names.DEVICE_MEMORY) == {("abcd",): 5000}


def test_outside_of_ray_nothing_is_recorded_and_no_ray_is_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ray.is_initialized", lambda: False)
    monkeypatch.setattr("ray.get_runtime_context", lambda: pytest.fail("Ray was asked"))
    monkeypatch.setattr(meters, "_make", lambda _: pytest.fail("a metric was made"))
    told = meters.meters()
    tell_upscaled(told, [DONE, ROTTEN])
    tell_prepared(told, [DONE])
