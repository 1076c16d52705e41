"""Promises of the comparison of recipes."""

import pytest
from recipes import VARIANTS, variant

from tss_ray.errors import TrainingError
from tss_ray.training.recipe import Recipe


def test_a_variant_changes_what_it_names_and_ends_with_its_cosine() -> None:
    name, recipe = variant("small: crops.crop_px=64 batch_size=2 unet.block_out_channels=[16,32]", Recipe(), 7)
    assert (name, recipe.crops.crop_px, recipe.batch_size, recipe.unet.block_out_channels) == ("small", 64, 2, (16, 32))
    assert (recipe.iterations, recipe.decay_iterations, recipe.adversarial) == (7, 7, None)
    assert recipe.crops.margin_px == Recipe().crops.margin_px
    assert recipe.validation.steps == (1, 4, 7, 15)


def test_the_built_in_variants_differ_from_each_other_and_cost_the_same_pixels() -> None:
    recipes = [variant(text, Recipe(), 10)[1] for text in VARIANTS]
    assert len({recipe.model_dump_json() for recipe in recipes}) == len(VARIANTS)
    assert len({recipe.batch_size * recipe.crops.crop_px**2 for recipe in recipes}) == 1


@pytest.mark.parametrize(
    "text", ["no colon", "x: batch_size", "x: batch_size=0", "x: crops.depth=3", "x: batch_size.y=1", "x: seed=[1"]
)
def test_what_is_no_variant_is_refused_with_its_remedy(text: str) -> None:
    with pytest.raises(TrainingError, match=r"write .name|correct its settings"):
        variant(text, Recipe(), 10)
