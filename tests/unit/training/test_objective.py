"""Promises of what the denoiser is trained on."""

import torch

from tss_ray.diffusion.noise_schedule import cosine_alphas_cumprod
from tss_ray.models.residual_unet import build_unet
from tss_ray.training.objective import denoising_loss, draw_timesteps
from tss_ray.training.recipe import Recipe


def test_timesteps_are_one_of_each_interval_and_a_share_at_pure_noise(tiny: Recipe) -> None:
    recipe = tiny.model_copy(update={"one_step_share": 0.25})
    drawn = draw_timesteps(recipe, 16, torch.Generator().manual_seed(0))
    assert drawn[12:].tolist() == [999] * 4
    assert [int(t) * 12 // 1000 for t in drawn[:12]] == list(range(12))


def test_a_batch_without_and_a_batch_of_nothing_but_pure_noise(tiny: Recipe) -> None:
    rng = torch.Generator().manual_seed(0)
    spread, last = (draw_timesteps(tiny.model_copy(update={"one_step_share": share}), 4, rng) for share in (0, 1))
    assert len(set(spread.tolist())) == 4
    assert last.tolist() == [999] * 4


def test_a_perfect_answer_costs_nothing_and_late_errors_weigh_up_to_the_cap(tiny: Recipe) -> None:
    recipe = tiny.model_copy(update={"snr_weight_cap": 4.0, "one_step_share": 0.0, "batch_size": 1})
    table = cosine_alphas_cumprod(recipe.num_timesteps)
    z0 = torch.randn(1, 48, 8, 8, generator=torch.Generator().manual_seed(1))
    lr = torch.zeros(1, 3, 8, 8)

    def loss(answer: torch.Tensor, seed: int) -> float:
        network = build_unet(4, recipe.unet)
        network.forward = lambda *_: type("Output", (), {"sample": answer})  # type: ignore[method-assign,assignment]
        return denoising_loss(network, recipe, z0, lr, table, torch.Generator().manual_seed(seed)).item()

    assert loss(z0, 0) == 0
    weights = [loss(z0 + 1, seed) for seed in range(40)]
    assert min(weights) == 1
    assert max(weights) == 4
