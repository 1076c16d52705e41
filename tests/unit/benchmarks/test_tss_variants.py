import numpy as np
import pytest
from numpy.typing import NDArray
from tss_variants import STANDARD, TABLE, crop_request, identity, num_levels, parse_variants, tss_variant

from tss_ray.diffusion.timesteps import make_plan
from tss_ray.errors import SpecError


@pytest.fixture
def pixels() -> NDArray[np.uint8]:
    """Half flat, half texture."""
    rng = np.random.RandomState(0)
    halves = [np.full((48, 24, 3), 120), rng.randint(0, 256, (48, 24, 1)).repeat(3, 2)]
    smooth = np.kron(halves[1][::6, ::6], np.ones((6, 6, 1)))
    return np.concatenate([halves[0], smooth], axis=1).astype(np.uint8)


def test_every_variant_of_the_table_is_a_plan() -> None:
    assert [variant.name for variant in parse_variants(",".join(TABLE))] == list(TABLE)
    assert set(STANDARD) < set(TABLE)


def test_a_variant_takes_settings_of_its_own() -> None:
    plain, own, spread = parse_variants("tds, tds:n=3:a=0.4,tds+sds:n_range=[1,4]")
    assert (own.plan.n, own.plan.a) == (3, 0.4)
    assert own.name == "tds:n=3:a=0.4"
    assert plain.plan.n != 3
    assert spread.plan.n_range == (1, 4)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("tss", "need one of uniform"),
        ("tds:n=99", "n: "),
        ("tds:beauty=1", "no such setting"),
        ("tds:n", "setting=value"),
        ("tds,tds", "twice"),
    ],
)
def test_a_variant_that_is_none_is_refused(text: str, says: str) -> None:
    with pytest.raises(SpecError, match=says):
        parse_variants(text)


def test_non_spatial_variants_ask_for_one_level_and_the_plan_of_their_family(pixels: NDArray[np.uint8]) -> None:
    for variant in parse_variants("uniform,tds,late_only,trigonometric,exponential"):
        request = crop_request(variant, 1000, "key", pixels, 7)
        assert num_levels(request) == 1
        plan = make_plan(1000, 7, variant.plan.family, variant.plan.a, variant.plan.n)
        assert tuple(np.asarray(request.plan)[:, 0]) == plan


def test_spatial_variants_ask_for_more_levels_where_there_are_steps_to_place(pixels: NDArray[np.uint8]) -> None:
    (variant,) = parse_variants("tds+sds:n_range=[1,3]")
    request = crop_request(variant, 1000, "key", pixels, 7)
    assert num_levels(request) == variant.plan.levels
    assert request.levels is not None
    assert request.levels[:, -12:].min() > request.levels[:, :12].max()


def test_one_step_is_the_same_under_every_variant(pixels: NDArray[np.uint8]) -> None:
    found = {identity(crop_request(variant, 1000, "key", pixels, 1)) for variant in parse_variants(",".join(STANDARD))}
    assert len(found) == 1


def test_seven_steps_are_not(pixels: NDArray[np.uint8]) -> None:
    found = {identity(crop_request(variant, 1000, "key", pixels, 7)) for variant in parse_variants(",".join(STANDARD))}
    assert len(found) == len(STANDARD)


def test_tss_is_the_fullest_of_the_paper_unless_named() -> None:
    variants = parse_variants("uniform,tds,tds+sds")
    assert tss_variant(None, variants) == "tds+sds"
    assert tss_variant(None, variants[:2]) == "tds"
    assert tss_variant("uniform", variants) == "uniform"
    with pytest.raises(SpecError, match="--variants"):
        tss_variant("exponential", variants)
