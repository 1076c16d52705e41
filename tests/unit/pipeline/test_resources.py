"""Promises of the division of a cluster."""

import math

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tss_ray.errors import SpecError
from tss_ray.pipeline.resources import ResourcePlan, plan_resources
from tss_ray.spec import ComputeSpec, MetricsSpec


def plan(num_cpus: float, num_gpus: float = 0, **compute: object) -> ResourcePlan:
    return plan_nodes([num_cpus], num_gpus, **compute)


def plan_nodes(cpus: list[float], num_gpus: float = 0, **compute: object) -> ResourcePlan:
    return plan_resources(ComputeSpec.model_validate(compute), cpus, num_gpus)


def test_one_cpu_holds_an_actor_and_who_feeds_it() -> None:
    p = plan(1)
    assert (p.actors, p.actor_gpus, p.threads_per_actor) == (1, 0, 1)
    assert p.actor_cpus == 0.5
    assert p.actor_cpus + p.prepare_cpus + p.commit_cpus <= 1


def test_two_cpus_hold_one_actor_with_both_cores_as_threads() -> None:
    p = plan(2)
    assert (p.actors, p.actor_cpus, p.threads_per_actor) == (1, 1, 2)
    assert p.prepare_cpus == pytest.approx(0.2)
    assert p.commit_cpus == pytest.approx(0.1)


def test_eight_gpus_get_an_actor_each_and_the_cpus_go_to_the_feeders() -> None:
    p = plan(64, 8)
    assert (p.actors, p.actor_gpus, p.actor_cpus, p.threads_per_actor) == (8, 1, 1, 8)
    assert (p.prepare_cpus, p.commit_cpus) == (0.5, 0.25)


def test_half_a_gpu_each_makes_twice_the_actors() -> None:
    p = plan(64, 8, gpus_per_actor=0.5)
    assert (p.actors, p.actor_gpus) == (16, 0.5)


def test_actors_can_be_kept_off_the_gpus() -> None:
    p = plan(16, 4, gpus_per_actor=0, actors=2)
    assert (p.actors, p.actor_gpus, p.actor_cpus, p.threads_per_actor) == (2, 0, 4, 8)


def test_nodes_without_gpus_get_an_actor_each_with_their_cores_as_threads() -> None:
    p = plan_nodes([0, 64, 64, 64])
    assert (p.actors, p.actor_cpus, p.threads_per_actor, p.prepare_cpus) == (3, 4, 64, 0.5)


def test_an_actor_fits_every_node() -> None:
    assert plan_nodes([1, 2, 2]).actor_cpus == 0.5
    assert plan_nodes([2] * 10, actors=1).actor_cpus == 1


def test_threads_that_were_asked_for_are_given() -> None:
    assert plan(16, threads_per_actor=3).threads_per_actor == 3


NODES = st.lists(st.integers(1, 512) | st.sampled_from([0.5, 1.5, 3.5]), min_size=1, max_size=20)
COMPUTE = st.fixed_dictionaries(
    {},
    optional={"actors": st.integers(1, 1500), "gpus_per_actor": st.sampled_from([0, 0.1, 0.25, 0.3, 0.5, 1, 2])},
)


@settings(deadline=None, max_examples=400)
@given(NODES, st.integers(0, 64), COMPUTE)
def test_no_more_is_given_than_there_is_and_feeders_always_have_room(
    cpus: list[float], num_gpus: int, compute: dict[str, float]
) -> None:
    try:
        p = plan_nodes(cpus, num_gpus, **compute)
    except SpecError:
        assume(False)
    assert p.actors >= 1
    assert p.threads_per_actor >= 1
    assert min(p.actor_cpus, p.prepare_cpus, p.commit_cpus) > 0
    assert p.actors * p.actor_gpus <= num_gpus
    taken = math.ceil(p.actors / len(cpus)) * p.actor_cpus
    assert taken <= min(cpus) / 2 + 1e-9
    assert p.prepare_cpus + p.commit_cpus <= max(cpus) - taken


@settings(deadline=None)
@given(st.integers(1, 512), st.integers(0, 64))
def test_every_cluster_is_divided_without_being_told_how(num_cpus: int, num_gpus: int) -> None:
    p = plan(num_cpus, num_gpus)
    assert p.actors == max(1, num_gpus)


def test_more_gpus_per_actor_than_there_are_is_refused() -> None:
    with pytest.raises(SpecError, match=r"the cluster has 0 GPUs; lower compute\.gpus_per_actor or add GPUs"):
        plan(8, 0, gpus_per_actor=1)


def test_more_actors_than_gpus_is_refused() -> None:
    with pytest.raises(SpecError, match=r"9 actors of 1 GPUs: the cluster has 8 GPUs; lower compute\.actors"):
        plan(64, 8, actors=9)


@pytest.mark.parametrize(("num_cpus", "actors"), [(1, 1000), (0, 1)])
def test_more_actors_than_the_cpus_can_be_divided_into_is_refused(num_cpus: int, actors: int) -> None:
    with pytest.raises(SpecError, match=r"lower compute\.actors or add CPUs"):
        plan(num_cpus, actors=actors)


def test_arguments_for_ray_say_the_plan_and_prepare_never_fuses_with_the_actors() -> None:
    for p in (plan(1), plan(64, 8)):
        assert p.actor_args()["num_cpus"] == p.actor_cpus
        assert p.actor_args()["num_gpus"] == p.actor_gpus
        assert p.prepare_args()["num_cpus"] == p.prepare_cpus
        assert p.commit_args()["num_cpus"] == p.commit_cpus
        assert p.prepare_args() != p.actor_args()


def test_a_range_starts_with_those_that_find_a_place_now() -> None:
    p = plan(16, 2, actors=8, min_actors=1)
    assert (p.min_actors, p.first_actors, p.actors, p.actor_cpus) == (1, 2, 8, 1)
    assert plan(16, 2, actors=2).min_actors == plan(16, 2, actors=2).first_actors == 2
    many = plan_resources(ComputeSpec(actors=8, min_actors=1), [4.0, 4.0, 4.0], 0)
    assert (many.first_actors, many.actors, many.actor_cpus) == (3, 8, 2)


def test_a_range_asks_for_places_of_its_least_only() -> None:
    with pytest.raises(SpecError, match=r"3 actors of 1 GPUs: the cluster has 2 GPUs"):
        plan(16, 2, actors=8, min_actors=3)


@pytest.mark.parametrize("settings", [{"min_actors": 2}, {"min_actors": 3, "actors": 2}])
def test_a_range_has_two_ends_in_order(settings: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"need min_actors <= actors, .*; give compute\.actors"):
        ComputeSpec.model_validate(settings)


def test_metrics_take_at_most_an_eighth_of_the_cpus_and_nothing_where_none_are_asked_for() -> None:
    asked = MetricsSpec(names=("niqe",))
    assert plan_resources(ComputeSpec(), [64.0], 8, MetricsSpec()).metric_workers == 0
    on_gpus = plan_resources(ComputeSpec(), [64.0], 8, asked)
    assert (on_gpus.metric_workers, on_gpus.metric_cpus) == (8, 1.0)
    small = plan_resources(ComputeSpec(), [1.0], 0, asked)
    taken = small.actor_cpus + small.prepare_cpus + small.commit_cpus + small.metric_workers * small.metric_cpus
    assert (small.metric_workers, small.metric_cpus) == (1, 0.125)
    assert taken <= 1
    with pytest.raises(SpecError, match=r"lower metrics\.workers"):
        plan_resources(ComputeSpec(), [1.0], 0, MetricsSpec(names=("niqe",), workers=1000))
