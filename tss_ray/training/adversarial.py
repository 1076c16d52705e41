"""The second phase: what the sampler really makes, judged by a discriminator, so that few steps give crisp detail.

A denoiser trained on noised photographs alone blurs in few steps, because what it meets while sampling is its own
estimate, not a noised photograph. Here short trajectories are sampled as inference does it, and the estimate at one of
their steps is trained through: by a hinge loss and by matching the discriminator's features, both weighted by how late
the step is. At pure noise the mean stays the target, so one step stays the most faithful answer, and every further step
moves towards detail. The ideas are those of Sauer et al., "Adversarial Diffusion Distillation" (arXiv 2311.17042) and,
for the matched features, Wang et al., "pix2pixHD" (arXiv 1711.11585); the discriminator is trained from nothing, so
that no other network's licence reaches the weights.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrizations import spectral_norm

from tss_ray.diffusion.sampler import NUM_COEFFICIENTS, ddim_coefficients, ddim_step
from tss_ray.diffusion.texture import luma
from tss_ray.diffusion.timesteps import make_plan
from tss_ray.imaging.resample import downsample, upsample
from tss_ray.training.objective import predict
from tss_ray.training.recipe import AdversarialRecipe, Recipe

_SLOPE = 0.2
_WINDOW_PX = 9


class Discriminator(nn.Module):
    """Says of every patch, at three resolutions, whether an enlargement and the residual on it belong together.

    Isola et al., PatchGAN (arXiv 1611.07004); spectral normalisation as in Miyato et al. (arXiv 1802.05957).
    """

    def __init__(self, channels: tuple[int, int, int]) -> None:
        """Build it for three colours; `channels` from the finest resolution, half the picture's, to the coarsest."""
        super().__init__()
        stages, before = [], 2 * 3 * 2**2
        for depth, width in enumerate(channels):
            entry = _conv(before, width, 4, 2) if depth else _conv(before, width, 3, 1)
            stages.append(nn.Sequential(entry, nn.LeakyReLU(_SLOPE), _conv(width, width, 3, 1), nn.LeakyReLU(_SLOPE)))
            before = width
        self.stages = nn.ModuleList(stages)
        self.heads = nn.ModuleList(_conv(width, 1, 3, 1) for width in channels)

    def forward(self, enlarged: Tensor, residual: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Return logits (B,1,·,·) and features of each resolution, finest first.

        enlarged: (B,3,H,W) in [-1,1]; residual: (B,3,H,W) in units of the latent.
        """
        x = functional.pixel_unshuffle(torch.cat([enlarged, residual], 1), 2)
        x = x.contiguous(memory_format=torch.channels_last)
        features = [x := stage(x) for stage in self.stages]
        return [head(feature) for head, feature in zip(self.heads, features, strict=True)], features


class Adversary:
    """The discriminator, its optimiser, and the loss that it gives the denoiser."""

    def __init__(self, recipe: Recipe, settings: AdversarialRecipe, device: str) -> None:
        """Start from random weights drawn from torch's global generator."""
        self._recipe, self._settings, self._device = recipe, settings, device
        network: Any = Discriminator(settings.channels)
        self._judge = network.to(device, memory_format=torch.channels_last)
        self.optimiser = torch.optim.AdamW(
            self._judge.parameters(), lr=settings.judge_learning_rate, betas=(0.5, 0.99), weight_decay=0
        )

    def loss(
        self, network: nn.Module, z0: Tensor, lr: Tensor, enlarged: Tensor, table: Tensor, rng: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Sample `settings.crops` of the batch and return (the denoiser's loss, the residual judged, detached).

        z0 (B,C,h,w), lr (B,3,h,w), enlarged (B,3,H,W), as `make_batch` returns them.
        """
        settings, scale = self._settings, self._recipe.scale
        count = settings.crops
        estimate, timestep = self._trajectory(network, lr[:count], rng, table)
        fake, real = (functional.pixel_shuffle(z, scale) for z in (estimate, z0[:count]))
        truth = enlarged[:count] + real * self._recipe.residual_scale
        pixel = (fake - real).abs()
        if settings.masking_std is not None:
            pixel = pixel * visibility(truth, settings.masking_std)
        pixel = pixel.mean()
        consistency = (downsample(fake - real, scale) ** 2).mean()
        if settings.judged_std is not None:
            fake = real + recoverable(truth, scale, settings.judged_std) * (fake - real)
        with torch.autocast(torch.device(self._device).type, dtype=torch.bfloat16):
            with torch.no_grad():
                _, wanted = self._judge(enlarged[:count], real)
            logits, features = self._judge(enlarged[:count], fake)
        adversarial = torch.stack([-logit.float().mean() for logit in logits]).mean()
        feature = torch.stack(
            [(a.float() - b.float()).abs().mean() for a, b in zip(features, wanted, strict=True)]
        ).mean()
        late = (1 - timestep / self._recipe.num_timesteps) ** settings.late_power
        loss = settings.pixel_weight * pixel + settings.consistency_weight * consistency
        loss = loss + late * (settings.adversarial_weight * adversarial + settings.feature_weight * feature)
        return loss, fake.detach()

    def learn(self, fake: Tensor, z0: Tensor, enlarged: Tensor, rate: float) -> float:
        """Train the discriminator one step by the hinge loss, its learning rate times `rate`; return the loss."""
        real = functional.pixel_shuffle(z0[: fake.shape[0]], self._recipe.scale)
        for group in self.optimiser.param_groups:
            group["lr"] = self._settings.judge_learning_rate * rate
        self.optimiser.zero_grad(set_to_none=True)
        with torch.autocast(torch.device(self._device).type, dtype=torch.bfloat16):
            both, _ = self._judge(enlarged[: fake.shape[0]].repeat(2, 1, 1, 1), torch.cat([real, fake]))
        losses = []
        for logits in both:
            on_real, on_fake = logits.float().chunk(2)
            losses.append(functional.relu(1 - on_real).mean() + functional.relu(1 + on_fake).mean())
        loss = torch.stack(losses).mean()
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimiser.step()
        return float(loss.item())

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint must hold."""
        return {"network": self._judge.state_dict(), "optimiser": self.optimiser.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        self._judge.load_state_dict(state["network"])
        self.optimiser.load_state_dict(state["optimiser"])

    def _trajectory(self, network: nn.Module, lr: Tensor, rng: torch.Generator, table: Tensor) -> tuple[Tensor, int]:
        """Sample from pure noise to a random step of a random plan; only that step's estimate carries a gradient."""
        recipe = self._recipe
        lengths = self._settings.num_steps
        num_steps = lengths[int(torch.randint(len(lengths), (), generator=rng))]
        # plans of many shapes, uniform among them: a timestep that all shared would be learned as a case of its own
        n, a = (float(x) for x in torch.rand(2, generator=rng) * torch.tensor([2.0, 0.5]) + torch.tensor([1.0, 0.25]))
        plan = make_plan(recipe.num_timesteps, num_steps, "tds", a, n)
        stop = int(torch.randint(1, num_steps, (), generator=rng))
        shape = (lr.shape[0], 3 * recipe.scale**2, *lr.shape[-2:])
        x = torch.randn(shape, generator=rng).to(lr.device)
        steps = ddim_coefficients(table, plan, 0.0, recipe.prediction_type).float().to(lr.device)
        for k in range(stop):
            with torch.no_grad():
                prediction = predict(network, recipe, x, lr, _all(plan[k], lr), table)
            x = ddim_step(x, prediction, None, steps[k].reshape(NUM_COEFFICIENTS, 1, 1, 1, 1))
        prediction = predict(network, recipe, x, lr, _all(plan[stop], lr), table)
        from_x, from_prediction = steps[stop][:2]
        return from_x * x + from_prediction * prediction, plan[stop]


def visibility(truth: Tensor, masking_std: float) -> Tensor:
    """Return how much an error shows at each position, (B,1,H,W), of mean 1 over the batch.

    truth: (B,3,H,W) in [-1,1]. Texture hides errors and a sky shows them (contrast masking: Legge & Foley, "Contrast
    masking in human vision", JOSA 70, 1980), so the weight falls as 1 / (1 + local std / masking_std), the std being
    of luma in [0,1] in a window of 9 px. It leaves the judge free where there is texture and binds it elsewhere.
    """
    y = luma(truth) / 2
    weight = 1 / (1 + (_mean(y**2) - _mean(y) ** 2).clamp_min(0).sqrt() / masking_std)
    return weight / weight.mean()


def recoverable(truth: Tensor, scale: int, judged_std: float) -> Tensor:
    """Return in [0,1] how much there is to recover at each position, (B,1,H,W): 0.5 where its std is `judged_std`.

    truth: (B,3,H,W) in [-1,1]. What there is to recover is what vanishes when the truth is reduced and enlarged again;
    its std is of luma in [0,1] in a window of 9 px. A sky has none of it, and neither has an outline that is out of
    focus, however much contrast it has. What a judge sees there is the truth, so it asks for nothing, and the pixel
    loss alone decides.
    """
    detail = luma(truth - upsample(downsample(truth, scale), scale)) / 2
    variance = _mean(detail**2)
    return variance / (variance + judged_std**2)


def _mean(plane: Tensor) -> Tensor:
    return functional.avg_pool2d(plane, _WINDOW_PX, 1, _WINDOW_PX // 2, count_include_pad=False)


def _all(timestep: int, lr: Tensor) -> Tensor:
    return torch.full((lr.shape[0],), timestep, dtype=torch.long, device=lr.device)


def _conv(before: int, after: int, kernel: int, stride: int) -> nn.Module:
    return spectral_norm(nn.Conv2d(before, after, kernel, stride, padding=1))
