"""JobSpec: everything a job can be told, validated once, frozen, and hashed.

A YAML file and flags both end here; nothing else in the package reads settings or the environment. Credentials never
stand in a spec: boto3's own chain finds them. Ray reads RAY_ADDRESS itself.
"""

from tss_ray.spec.budgets import BudgetSpec, MeasuredWith, TargetBin, TargetSpec
from tss_ray.spec.images import TileSpec
from tss_ray.spec.job import InputLayout, JobSpec, OutputLayout
from tss_ray.spec.load import load_group, load_spec, parse_settings
from tss_ray.spec.plans import PlanSpec
from tss_ray.spec.runs import CheckpointSpec, ComputeSpec, MetricsSpec, TelemetrySpec
from tss_ray.spec.stores import StoreSpec

__all__ = [
    "BudgetSpec",
    "CheckpointSpec",
    "ComputeSpec",
    "InputLayout",
    "JobSpec",
    "MeasuredWith",
    "MetricsSpec",
    "OutputLayout",
    "PlanSpec",
    "StoreSpec",
    "TargetBin",
    "TargetSpec",
    "TelemetrySpec",
    "TileSpec",
    "load_group",
    "load_spec",
    "parse_settings",
]
