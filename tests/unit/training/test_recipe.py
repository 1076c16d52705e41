from pathlib import Path

import pytest

from tss_ray.errors import TrainingError
from tss_ray.training.recipe import Recipe, load_recipe


def test_the_recipe_beside_the_job_is_the_defaults_written_out() -> None:
    assert load_recipe(Path(__file__).parents[3] / "jobs/train_x4.yaml") == Recipe()


def test_the_recipe_of_the_one_step_model_can_be_read_and_sees_pure_noise_alone() -> None:
    recipe = load_recipe(Path(__file__).parents[3] / "jobs/train_x4_one_step.yaml")
    assert (recipe.name, recipe.one_step_share, recipe.adversarial) == ("tss-x4-one-step", 1.0, None)


def test_an_empty_file_is_the_defaults(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text("")
    assert load_recipe(tmp_path / "r.yaml") == Recipe()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("learning_rates: 1", "learning_rates"),
        ("crops: {crop_pixels: 64}", "crop_pixels"),
        ("learning_rate: 0", "greater than 0"),
        ("learning_rate: .inf", "finite"),
        ("crops: {crop_px: 72}", "multiple of 16"),
        ("crops: {margin_px: 6}", "multiple of 4"),
        ("crops: {reductions: [0]}", "reductions"),
        ("crops: {reductions: []}", "reductions"),
        ("unet: {block_out_channels: [60, 96, 160]}", "norm_num_groups=16"),
        ("unet: {block_out_channels: []}", "block_out_channels"),
        ("degradation: {jpeg_quality: [95, 40]}", "least <= largest"),
        ("degradation: {first: {resize: [1.4, 0.3]}}", "least <= largest"),
        ("degradation: {second: {blur_sigma_px: [0, 1]}}", "greater than 0"),
        ("degradation: {sinc_cutoff: [0.5, 1.5]}", "less than or equal to 1"),
        ("validation: {steps: [0]}", "validation.steps"),
        ("validation: {crop_px: 64}", "validation.crop_px"),
        ("validation: {every: -1}", "validation.every"),
        ("seed: -1", "seed"),
        ("[1, 2]", "dictionary"),
        ("a: [", "correct the recipe"),
    ],
)
def test_a_wrong_recipe_is_refused_by_name_and_with_the_remedy(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "r.yaml").write_text(text)
    with pytest.raises(TrainingError) as refused:
        load_recipe(tmp_path / "r.yaml")
    assert says in str(refused.value)
    assert str(refused.value).endswith("correct the recipe (jobs/train_x4.yaml is a working one)")


def test_a_missing_recipe_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"none\.yaml"):
        load_recipe(tmp_path / "none.yaml")
