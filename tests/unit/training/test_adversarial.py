"""Promises of the second phase."""

import json
from pathlib import Path

import pytest
import torch

from tss_ray.diffusion.noise_schedule import cosine_alphas_cumprod
from tss_ray.errors import ModelError, TrainingError
from tss_ray.models.card import read_card
from tss_ray.training.adversarial import Adversary, Discriminator, visibility
from tss_ray.training.crops import CropPool
from tss_ray.training.loop import begin, make_batch, train
from tss_ray.training.recipe import AdversarialRecipe, Recipe

SMALL = AdversarialRecipe(iterations=3, batch_size=3, crops=2, num_steps=(2, 3), channels=(4, 8, 8))


@pytest.fixture
def judged(tiny: Recipe) -> Recipe:
    """The tiny recipe in its second phase."""
    return tiny.model_copy(update={"adversarial": SMALL})


def test_the_discriminator_judges_patches_at_three_resolutions() -> None:
    logits, features = Discriminator((4, 8, 16))(torch.zeros(2, 3, 32, 32), torch.zeros(2, 3, 32, 32))
    assert [tuple(logit.shape) for logit in logits] == [(2, 1, 16, 16), (2, 1, 8, 8), (2, 1, 4, 4)]
    assert [feature.shape[1] for feature in features] == [4, 8, 16]


def test_the_discriminator_learns_to_tell_blank_residuals_from_textured_ones(judged: Recipe) -> None:
    torch.manual_seed(0)
    adversary = Adversary(judged, SMALL, "cpu")
    generator = torch.Generator().manual_seed(1)
    z0, blank, enlarged = (
        torch.randn(2, 48, 8, 8, generator=generator),
        torch.zeros(2, 3, 32, 32),
        torch.zeros(2, 3, 32, 32),
    )
    losses = [adversary.learn(blank, z0, enlarged, rate=5.0) for _ in range(25)]
    assert losses[-1] < 0.7 * losses[0]


def test_the_denoiser_is_moved_by_the_judge_and_the_judge_is_not_moved_by_it(judged: Recipe, pool: CropPool) -> None:
    state = begin(judged, "cpu")
    assert state.adversary is not None
    before = {name: value.clone() for name, value in state.adversary.state_dict()["network"].items()}
    z0, lr, enlarged = make_batch(judged, pool, 1)
    table = cosine_alphas_cumprod(judged.num_timesteps)
    loss, fake = state.adversary.loss(state.network, z0, lr, enlarged, table, torch.Generator().manual_seed(0))
    loss.backward()  # type: ignore[no-untyped-call]
    assert fake.shape == (2, 3, 32, 32)
    assert not fake.requires_grad
    assert any(parameter.grad is not None and parameter.grad.any() for parameter in state.network.parameters())
    after = state.adversary.state_dict()["network"]
    assert all(torch.equal(before[name], after[name]) for name in before if name.endswith("original"))


@pytest.mark.parametrize("stop_at", [6, 7])
def test_a_judged_run_stopped_and_resumed_equals_an_uninterrupted_one_bit_for_bit(
    judged: Recipe, pool: CropPool, tmp_path: Path, stop_at: int
) -> None:
    whole = train(judged, pool, tmp_path / "whole", "cpu")
    train(judged, pool, tmp_path / "halves", "cpu", stop_at=stop_at)
    assert train(judged, pool, tmp_path / "halves", "cpu").read_bytes() == whole.read_bytes()
    last = json.loads((tmp_path / "whole/log.jsonl").read_text().splitlines()[-1])
    assert last["iteration"] == 9
    assert {"loss", "judged", "discriminator"} <= last.keys()


def test_the_second_phase_starts_from_the_average_with_its_own_batch_and_schedule(judged: Recipe) -> None:
    first, second = judged.phase(judged.iterations), judged.phase(judged.iterations + 1)
    assert (first.judged, first.iteration, first.batch_size) == (False, 6, 4)
    assert (second.judged, second.iteration, second.batch_size) == (True, 1, 3)
    state = begin(judged, "cpu")
    state.ema["conv_in.bias"].fill_(7)
    state.begin_second_phase()
    assert state.network.state_dict()["conv_in.bias"].eq(7).all()
    state.network.get_parameter("conv_in.bias").data.fill_(0)
    assert state.ema["conv_in.bias"].eq(7).all()


def test_a_run_starts_from_the_weights_of_a_model_folder(tiny: Recipe, pool: CropPool, tmp_path: Path) -> None:
    train(tiny, pool, tmp_path / "first", "cpu", stop_at=2)
    second = begin(tiny.model_copy(update={"initial_weights": str(tmp_path / "first")}), "cpu")
    first = begin(tiny, "cpu")
    assert not torch.equal(first.ema["conv_in.weight"], second.ema["conv_in.weight"])
    assert torch.allclose(first.ema["conv_in.weight"], second.ema["conv_in.weight"], atol=0.01)


def test_weights_that_were_judged_over_several_steps_are_not_for_one_alone(
    judged: Recipe, pool: CropPool, tmp_path: Path
) -> None:
    train(judged.model_copy(update={"one_step_share": 1.0}), pool, tmp_path, "cpu", stop_at=1)
    assert read_card(tmp_path).num_steps is None


def test_initial_weights_of_another_network_or_of_none_are_refused(
    tiny: Recipe, pool: CropPool, tmp_path: Path
) -> None:
    train(tiny, pool, tmp_path / "first", "cpu", stop_at=1)
    wider = tiny.unet.model_copy(update={"block_out_channels": (16, 16)})
    with pytest.raises(TrainingError, match=r"initial_weights=.*another network.*match unet"):
        begin(tiny.model_copy(update={"initial_weights": str(tmp_path / "first"), "unet": wider}), "cpu")
    with pytest.raises(ModelError, match="no model 'nowhere'"):
        begin(tiny.model_copy(update={"initial_weights": "nowhere"}), "cpu")


def test_more_judged_crops_than_the_batch_has_are_refused(judged: Recipe) -> None:
    with pytest.raises(ValueError, match="need at most batch_size=4"):
        Recipe.model_validate(judged.model_dump() | {"adversarial": {"batch_size": 4, "crops": 5}})


def test_an_error_in_the_sky_shows_more_than_one_in_texture() -> None:
    truth = torch.zeros(2, 3, 32, 32)
    truth[..., 16:] = 0.2 * (-1.0) ** torch.arange(32)[:, None]  # stripes with a std of 0.1 of luma in [0,1]
    weight = visibility(truth, 0.02)
    assert weight.shape == (2, 1, 32, 32)
    assert weight.mean().item() == pytest.approx(1)
    sky, texture = weight[..., 6:10, 4:8], weight[..., 6:26, 24:28]
    torch.testing.assert_close(sky / texture.mean(), torch.full_like(sky, 6), rtol=0.05, atol=0)


def test_masking_changes_the_loss_only_where_it_is_asked_for(judged: Recipe, pool: CropPool) -> None:
    table = cosine_alphas_cumprod(judged.num_timesteps)
    losses = {}
    for masking_std in (None, 1e6, 0.02):
        settings = SMALL.model_copy(
            update={"masking_std": masking_std, "adversarial_weight": 0.0, "feature_weight": 0.0}
        )
        recipe = judged.model_copy(update={"adversarial": settings})
        state = begin(recipe, "cpu")
        assert state.adversary is not None
        rng = torch.Generator().manual_seed(0)
        losses[masking_std] = state.adversary.loss(state.network, *make_batch(recipe, pool, 1), table, rng)[0].item()
    assert losses[1e6] == pytest.approx(losses[None], rel=1e-4)
    assert losses[0.02] != pytest.approx(losses[None], rel=1e-3)
