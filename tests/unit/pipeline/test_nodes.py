"""Promises of what is asked of the cluster before work starts."""

import pytest

from tss_ray.errors import SpecError
from tss_ray.spec import ComputeSpec, load_spec


def compute(**settings: object) -> ComputeSpec:
    return load_spec(None, {"input": "a", "output": "b", "compute": settings}).compute


def test_waiting_is_off_unless_asked_for() -> None:
    assert compute().wait_nodes_s == 0


@pytest.mark.parametrize("settings", [{}, {"actors": 2}, {"gpus_per_actor": 1}])
def test_nodes_that_are_not_there_yet_must_be_told_of(settings: dict[str, object]) -> None:
    with pytest.raises(SpecError, match=r"give compute\.actors and compute\.gpus_per_actor"):
        compute(wait_nodes_s=60, **settings)
    assert compute(wait_nodes_s=60, actors=2, gpus_per_actor=1).wait_nodes_s == 60
