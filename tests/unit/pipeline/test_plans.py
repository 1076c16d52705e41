"""Promises of planning an image: what the spec asks for, and the same on a retry."""

import io
from concurrent.futures import Future

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from tss_ray.diffusion.timesteps import make_plan
from tss_ray.engine.engine import Engine
from tss_ray.engine.state import DenoisedImage, ImageRequest
from tss_ray.imaging.tiles import tile_grid
from tss_ray.models.base import SuperResolutionModel
from tss_ray.pipeline.plans import image_levels, image_request, row_request
from tss_ray.records import ManifestRow
from tss_ray.spec import JobSpec, PlanSpec
from tss_ray.storage.sample_photos import reduced_png

SPATIAL = PlanSpec(n_range=(1, 3), a_range=(0.4, 0.6), levels=4)


def photo(side: int = 40) -> NDArray[np.uint8]:
    with Image.open(io.BytesIO(reduced_png("chelsea"))) as image:
        return np.array(image.convert("RGB").crop((40, 10, 40 + side, 10 + side)))


def plan(spec: PlanSpec, num_steps: int = 5, rgb: NDArray[np.uint8] | None = None) -> ImageRequest:
    return image_request(spec, 50, "a", photo() if rgb is None else rgb, num_steps, 7)


def run(request: ImageRequest, model: SuperResolutionModel, num_levels: int) -> list[torch.Tensor]:
    engine, future = Engine(model, torch.device("cpu"), 4, 16, 4, num_levels), Future[DenoisedImage]()
    engine.submit(request, future)
    while not engine.idle:
        engine.step()
    return future.result(timeout=0).tiles


def test_by_default_every_position_has_the_one_plan_and_no_map_is_made() -> None:
    request = plan(PlanSpec(eta=0.3))
    assert request.levels is None
    assert tuple(request.plan[:, 0]) == make_plan(50, 5, "tds", 0.5, 1.5)
    assert request.plan.shape == (5, 1)
    assert request.eta == (0.3,)


def test_the_gain_goes_with_the_request() -> None:
    assert plan(PlanSpec()).detail_gain == 1
    assert plan(PlanSpec(detail_gain=1.7)).detail_gain == 1.7


def test_a_smooth_level_is_sampled_evenly_and_a_textured_one_is_not() -> None:
    request = plan(SPATIAL)
    assert request.plan.shape == (5, 4)
    assert tuple(request.plan[:, 0]) == make_plan(50, 5, "uniform")
    assert tuple(request.plan[:, 3]) == make_plan(50, 5, "tds", 0.6, 3.0)
    assert request.levels is not None
    assert request.levels.shape == (40, 40)
    assert set(np.unique(request.levels)) > {1}


def test_a_range_of_n_from_1_to_1_is_the_uniform_plan_bit_for_bit(tiny_model: SuperResolutionModel) -> None:
    spatial, uniform = PlanSpec(n_range=(1, 1), a_range=(0.3, 0.7), eta=0.5), PlanSpec(family="uniform", eta=0.5)
    found, expected = (run(plan(spec), tiny_model, spec.num_levels) for spec in (spatial, uniform))
    assert all(map(torch.equal, found, expected))
    other = run(plan(SPATIAL), tiny_model, SPATIAL.num_levels)
    assert not any(map(torch.equal, other, expected))


def test_ranges_follow_the_steps_of_the_image() -> None:
    spec = PlanSpec(n_range=(1, 3), levels=4, by_steps=({"up_to_steps": 2, "n_range": (1, 1)},))
    assert len({tuple(column) for column in plan(spec, 2).plan.T}) == 1
    assert len({tuple(column) for column in plan(spec, 5).plan.T}) > 1
    assert plan(spec, 2).plan.shape[1] == plan(spec, 5).plan.shape[1] == spec.num_levels


def test_noise_by_texture_rises_from_none_to_eta() -> None:
    assert plan(PlanSpec(eta=0.6, eta_by_texture=True, levels=4)).eta == pytest.approx((0, 0.2, 0.4, 0.6))
    assert plan(PlanSpec(eta=0.6, n_range=(1, 2), levels=4)).eta == pytest.approx((0.6,) * 4)


def test_no_steps_need_no_map() -> None:
    request = plan(SPATIAL, 0)
    assert request.levels is None
    assert request.plan.shape == (0, 4)


def test_a_flat_image_is_all_smooth_whatever_its_noise_and_texture_is_not() -> None:
    rng = np.random.default_rng(0)
    noisy = (128 + rng.normal(0, 12, (128, 128, 1))).clip(0, 255).astype(np.uint8).repeat(3, 2)
    assert (image_levels(noisy, 8) == 0).mean() > 0.97
    half = noisy.copy()
    half[:, 64:] = np.where(np.indices((128, 64)).sum(0)[..., None] // 4 % 2, 40, 210)
    assert image_levels(half, 8)[:, 80:].min() >= 6


def half_flat() -> NDArray[np.uint8]:
    rgb = photo(64)
    rgb[:, :32] = 128
    return rgb


def by_row(model: SuperResolutionModel, rgb: NDArray[np.uint8], num_steps: int = 3, **row: object) -> ImageRequest:
    spec = JobSpec.model_validate({"input": "in", "output": "out", "budget": {"by_tile": True}, "plan": {"levels": 4}})
    made = ManifestRow(image_key="a", input_uri="", spec_hash="", num_steps=num_steps, **row)
    return row_request(spec, model.card, made, rgb, lambda height, width: tile_grid(height, width, 16, 4))


def test_by_tile_the_flat_half_leaves_its_steps_to_the_other(tiny_model: SuperResolutionModel) -> None:
    request = by_row(tiny_model, half_flat())
    assert request.tile_plans is not None
    steps = np.array([len(plan) for plan in request.tile_plans]).reshape(5, 5)
    assert steps.sum() == 3 * 25
    assert steps[:, 0].max() == 0
    assert steps[:, 3:].min() > 3
    assert all(plan.shape[1] == 1 for plan in request.tile_plans)
    again = by_row(tiny_model, half_flat()).tile_plans
    assert again is not None
    assert all(map(np.array_equal, again, request.tile_plans))


def test_by_tile_what_has_one_tile_or_no_step_or_is_held_out_has_one_plan(tiny_model: SuperResolutionModel) -> None:
    assert by_row(tiny_model, photo(16)).tile_plans is None
    assert by_row(tiny_model, half_flat(), 0).tile_plans is None
    assert by_row(tiny_model, half_flat(), holdout=True).tile_plans is None


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 12), st.integers(1, 12), st.integers(2, 64))
def test_every_size_has_levels(height: int, width: int, num_levels: int) -> None:
    levels = image_levels(np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8), num_levels)
    assert levels.shape == (height, width)
    assert levels.max() < num_levels
