"""Promises of the metrics' names: Prometheus takes them, and nobody has to guess a unit."""

import re

import pytest

from tss_ray.telemetry.names import METRICS, Metric


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_a_metric_is_named_as_prometheus_wants_it(metric: Metric) -> None:
    assert re.fullmatch(r"tss_[a-z_]+", metric.name)
    assert not metric.name.endswith(("_total", "_count", "_sum", "_bucket"))
    assert metric.help
    suffix = {"s": "seconds", "bytes": "bytes", "USD": "usd", "dB": "db"}.get(metric.unit)
    assert suffix is None or metric.name.endswith(suffix)
    assert metric.series == f"ray_{metric.name}" + ("_total" if metric.kind == "counter" else "")


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_histograms_alone_have_buckets_and_they_ascend(metric: Metric) -> None:
    assert bool(metric.buckets) == (metric.kind == "histogram")
    assert all(low < high for low, high in zip((0.0, *metric.buckets), metric.buckets, strict=False))


def test_no_name_stands_twice() -> None:
    assert len({metric.name for metric in METRICS}) == len(METRICS) > 30
