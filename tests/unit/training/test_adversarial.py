"""Promises of the second phase."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from torch.nn import functional

from tss_ray.diffusion.noise_schedule import cosine_alphas_cumprod
from tss_ray.errors import ModelError, TrainingError
from tss_ray.models.card import read_card
from tss_ray.training.adversarial import Adversary, Discriminator, recoverable, visibility
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


def test_there_is_nothing_to_recover_in_a_sky_nor_out_of_focus() -> None:
    stripes = 0.02 * (-1.0) ** torch.arange(96)[:, None]  # of luma in [0,1] a std of 0.01
    ramp = torch.linspace(-1, 1, 96).expand(96, 96)
    truth = torch.zeros(2, 3, 96, 96)
    truth[0, :, :, 48:] = stripes
    truth[1] = torch.sin(ramp * 3)  # an outline of full contrast, far out of focus
    share = recoverable(truth, 4, 0.01)
    assert share.shape == (2, 1, 96, 96)
    inside = slice(8, -8)
    assert share[0, :, inside, 8:36].max() < 0.01
    torch.testing.assert_close(share[0, :, inside, 60:88], torch.full((1, 80, 28), 0.5), rtol=0.1, atol=0)
    assert share[1, :, 16:-16, 16:-16].max() < 0.01  # farther inside: the enlargement has a border of its own


def test_the_judge_is_shown_the_truth_where_there_is_nothing_to_recover(judged: Recipe, pool: CropPool) -> None:
    table = cosine_alphas_cumprod(judged.num_timesteps)
    z0, lr, enlarged = make_batch(judged, pool, 1)
    real = functional.pixel_shuffle(z0[:2], judged.scale)
    losses, shown = {}, {}
    for judged_std in (None, 0.01):
        recipe = judged.model_copy(update={"adversarial": SMALL.model_copy(update={"judged_std": judged_std})})
        state = begin(recipe, "cpu")
        assert state.adversary is not None
        rng = torch.Generator().manual_seed(0)
        loss, shown[judged_std] = state.adversary.loss(state.network, z0, lr, enlarged, table, rng)
        losses[judged_std] = loss.item()
    share = recoverable(enlarged[:2] + real * judged.residual_scale, judged.scale, 0.01)
    assert share.min() < 0.1  # the photographs of the tests are flat in places
    assert share.max() > 0.9
    torch.testing.assert_close(shown[0.01] - real, share * (shown[None] - real), rtol=1e-4, atol=1e-5)
    assert losses[0.01] != pytest.approx(losses[None], rel=1e-3)


def test_the_discriminator_of_an_earlier_run_goes_on(judged: Recipe, pool: CropPool, tmp_path: Path) -> None:
    train(judged, pool, tmp_path / "first", "cpu")
    saved = torch.load(tmp_path / "first/checkpoint.pt", weights_only=True)["adversary"]["network"]
    settings = SMALL.model_copy(update={"initial_judge": tmp_path / "first/checkpoint.pt"})
    again = judged.model_copy(update={"adversarial": settings})
    state = begin(again, "cpu")
    assert state.adversary is not None
    torch.testing.assert_close(state.adversary.state_dict()["network"], saved, rtol=0, atol=0)
    whole = train(again, pool, tmp_path / "whole", "cpu")
    train(again, pool, tmp_path / "halves", "cpu", stop_at=7)
    resumed = train(judged, pool, tmp_path / "halves", "cpu")
    assert resumed.read_bytes() == whole.read_bytes()
    assert train(judged, pool, tmp_path / "anew", "cpu").read_bytes() != whole.read_bytes()


@pytest.mark.parametrize("stop_at", [2, 7])
def test_a_run_goes_on_without_what_it_began_with(judged: Recipe, pool: CropPool, tmp_path: Path, stop_at: int) -> None:
    train(judged, pool, tmp_path / "first", "cpu")
    settings = SMALL.model_copy(update={"initial_judge": tmp_path / "first/checkpoint.pt"})
    again = judged.model_copy(update={"initial_weights": str(tmp_path / "first"), "adversarial": settings})
    whole = train(again, pool, tmp_path / "whole", "cpu")
    train(again, pool, tmp_path / "halves", "cpu", stop_at=stop_at)
    shutil.rmtree(tmp_path / "first")
    assert train(again, pool, tmp_path / "halves", "cpu").read_bytes() == whole.read_bytes()


def test_a_judge_that_is_not_there_or_of_another_shape_is_refused(
    tiny: Recipe, judged: Recipe, pool: CropPool, tmp_path: Path
) -> None:
    path = tmp_path / "checkpoint.pt"

    def refused(message: str, **other: object) -> None:
        settings = SMALL.model_copy(update={"initial_judge": path, **other})
        with pytest.raises(TrainingError, match=rf"{message}.*; name the checkpoint\.pt of a run with a second phase"):
            begin(judged.model_copy(update={"adversarial": settings}), "cpu")

    refused("cannot be read")
    train(tiny, pool, tmp_path, "cpu", stop_at=1)
    refused("has no discriminator")
    train(judged, pool, tmp_path / "judged", "cpu", stop_at=1)
    path = tmp_path / "judged/checkpoint.pt"
    refused("discriminator is not of adversarial.channels", channels=(8, 8, 8))
