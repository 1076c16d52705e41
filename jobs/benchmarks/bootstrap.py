"""Intervals, as the package makes them: benchmarks and `tss-ray compare` speak of the same ones."""

from tss_ray.quality.bootstrap import Interval, interval, interval_of_difference

__all__ = ["Interval", "interval", "interval_of_difference"]
