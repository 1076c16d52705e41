import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from tss_ray.diffusion.noise_schedule import cosine_alphas_cumprod
from tss_ray.errors import TrainingError
from tss_ray.models.card import read_card
from tss_ray.models.registry import load_model
from tss_ray.training import loop
from tss_ray.training.crops import CropPool, build_pool
from tss_ray.training.loop import Batch, begin, make_batch, train
from tss_ray.training.recipe import Recipe


def _checkpoint(folder: Path) -> dict[str, Any]:
    state: dict[str, Any] = torch.load(folder / "checkpoint.pt", weights_only=True)
    return state


def _assert_equal(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> None:
    assert first.keys() == second.keys()
    for name in first:
        assert torch.equal(first[name], second[name]), name


@pytest.mark.parametrize("optimiser", ["adamw", "muon"])
def test_a_run_stopped_and_resumed_equals_an_uninterrupted_one_bit_for_bit(
    tiny: Recipe, pool: CropPool, tmp_path: Path, optimiser: str
) -> None:
    tiny = tiny.model_copy(update={"optimiser": optimiser})
    whole = train(tiny, pool, tmp_path / "whole", "cpu")
    train(tiny, pool, tmp_path / "halves", "cpu", stop_at=3)
    assert _checkpoint(tmp_path / "halves")["iteration"] == 3
    torch.manual_seed(99)  # nothing may hang on the process's own generator
    halves = train(tiny, pool, tmp_path / "halves", "cpu")
    one, two = _checkpoint(tmp_path / "whole"), _checkpoint(tmp_path / "halves")
    _assert_equal(one["network"], two["network"])
    _assert_equal(one["ema"], two["ema"])
    assert whole.read_bytes() == halves.read_bytes()


def test_training_leaves_the_callers_random_numbers_alone(tiny: Recipe, pool: CropPool, tmp_path: Path) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    train(tiny, pool, tmp_path, "cpu", stop_at=1)
    assert torch.equal(torch.rand(3), expected)


def test_a_finished_run_trains_no_further_and_restores_lost_weights(
    tiny: Recipe, pool: CropPool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = train(tiny, pool, tmp_path, "cpu")
    content = weights.read_bytes()
    weights.unlink()
    monkeypatch.setattr(loop, "_step", lambda *_: pytest.fail("trained on"))
    assert train(tiny, pool, tmp_path, "cpu").read_bytes() == content


def test_a_checkpoint_of_another_recipe_is_refused(tiny: Recipe, pool: CropPool, tmp_path: Path) -> None:
    train(tiny, pool, tmp_path, "cpu", stop_at=1)
    with pytest.raises(TrainingError, match="another recipe; choose another folder"):
        train(tiny.model_copy(update={"learning_rate": 1e-3}), pool, tmp_path, "cpu")


def test_a_damaged_checkpoint_is_named_with_the_remedy(tiny: Recipe, pool: CropPool, tmp_path: Path) -> None:
    (tmp_path / "checkpoint.pt").write_bytes(b"half a file")
    with pytest.raises(TrainingError, match=r"checkpoint\.pt cannot be read.*delete it"):
        train(tiny, pool, tmp_path, "cpu")


def test_a_loss_that_is_not_finite_ends_the_run_and_spares_the_checkpoint(
    tiny: Recipe, pool: CropPool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(tiny, pool, tmp_path, "cpu", stop_at=2)
    monkeypatch.setattr(loop, "_step", lambda *_: {"loss": float("nan")})
    with pytest.raises(TrainingError, match=r"nan.* at iteration 3; lower learning_rate"):
        train(tiny, pool, tmp_path, "cpu")
    assert _checkpoint(tmp_path)["iteration"] == 2


def test_the_loss_goes_down(
    tiny: Recipe, photo_files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Against a run that learns nothing: the same iterations see the same crops, timesteps and noise."""
    losses: dict[float, list[float]] = {3e-3: [], 1e-12: []}
    step = loop._step

    def recorded(recipe: Recipe, *arguments: Any) -> dict[str, float]:
        result = step(recipe, *arguments)
        losses[recipe.learning_rate].append(result["loss"])
        return result

    monkeypatch.setattr(loop, "_step", recorded)
    waves = build_pool(photo_files[:1], tiny.crops)
    for rate in losses:
        longer = {"iterations": 30, "learning_rate": rate, "checkpoint_every": 30, "batch_size": 8}
        train(tiny.model_copy(update=longer), waves, tmp_path / str(rate), "cpu")
    learnt, untaught = (sum(values[-8:]) for values in losses.values())
    assert learnt < 0.9 * untaught
    last = json.loads((tmp_path / "0.003/log.jsonl").read_text().splitlines()[-1])
    assert last["iteration"] == 30


def test_the_weights_are_bf16_and_readable_by_all_whom_the_umask_allows(
    tiny: Recipe, pool: CropPool, tmp_path: Path
) -> None:
    weights = train(tiny, pool, tmp_path, "cpu", stop_at=1)
    assert {tensor.dtype for tensor in load_file(weights).values()} == {torch.bfloat16}
    assert weights.stat().st_mode == (tmp_path / "checkpoint.pt").stat().st_mode


def test_a_shifted_schedule_is_trained_on_and_travels_with_the_weights(
    tiny: Recipe, pool: CropPool, tmp_path: Path
) -> None:
    shifted = tiny.model_copy(update={"schedule_shift": 1.5})
    weights = [train(recipe, pool, tmp_path / str(i), "cpu").read_bytes() for i, recipe in enumerate((tiny, shifted))]
    assert weights[0] != weights[1]
    model = load_model(str(tmp_path / "1"), torch.device("cpu"), torch.float32)
    assert torch.equal(model.alphas_cumprod, cosine_alphas_cumprod(tiny.num_timesteps, shift=1.5))


def test_a_batch_is_a_pure_function_of_seed_and_iteration(tiny: Recipe, pool: CropPool) -> None:
    z0, lr, enlarged = make_batch(tiny, pool, 7)
    assert z0.shape == (4, 48, 8, 8)
    assert lr.shape == (4, 3, 8, 8)
    assert enlarged.shape == (4, 3, 32, 32)
    for first, again in zip((z0, lr, enlarged), make_batch(tiny, pool, 7), strict=True):
        assert torch.equal(first, again)
    assert not torch.equal(lr, make_batch(tiny, pool, 8)[1])


def test_batches_are_made_by_one_thread_and_the_callers_threads_stay(
    tiny: Recipe, pool: CropPool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, seen = torch.get_num_threads(), []

    def recorded(*arguments: Any) -> Batch:
        seen.append(torch.get_num_threads())
        return make_batch(*arguments)

    torch.set_num_threads(2)
    monkeypatch.setattr(loop, "make_batch", recorded)
    try:
        train(tiny, pool, tmp_path, "cpu", stop_at=2)
        assert (seen, torch.get_num_threads()) == ([1, 1], 2)
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize(("share", "allowed"), [(1.0, (1,)), (0.9, None)])
def test_weights_that_saw_pure_noise_alone_are_for_one_step_alone(
    tiny: Recipe, pool: CropPool, tmp_path: Path, share: float, allowed: tuple[int, ...] | None
) -> None:
    train(tiny.model_copy(update={"one_step_share": share}), pool, tmp_path, "cpu", stop_at=1)
    assert read_card(tmp_path).num_steps == allowed


def test_where_the_first_weights_came_from_is_nothing_that_a_checkpoint_must_share(
    tiny: Recipe, pool: CropPool, tmp_path: Path
) -> None:
    train(tiny, pool, tmp_path, "cpu", stop_at=1)
    train(tiny.model_copy(update={"initial_partial": True}), pool, tmp_path, "cpu", stop_at=2)
    assert _checkpoint(tmp_path)["iteration"] == 2


def test_of_another_network_the_tensors_that_fit_are_taken_where_the_recipe_says_so(
    tiny: Recipe, pool: CropPool, tmp_path: Path
) -> None:
    first = load_file(train(tiny, pool, tmp_path / "first", "cpu", stop_at=1))
    wider = tiny.unet.model_copy(update={"block_out_channels": (8, 16)})
    asked = {"initial_weights": str(tmp_path / "first"), "initial_partial": True, "unet": wider, "seed": 5}
    taken = begin(tiny.model_copy(update=asked), "cpu").network.state_dict()
    fresh = begin(tiny.model_copy(update=asked | {"initial_weights": None}), "cpu").network.state_dict()
    fitting = {name for name, value in first.items() if value.shape == taken[name].shape}
    assert 0 < len(fitting) < len(taken)
    for name, value in taken.items():
        assert torch.equal(value, first[name].float() if name in fitting else fresh[name]), name


def test_of_a_network_that_nothing_fits_nothing_is_taken(tiny: Recipe, pool: CropPool, tmp_path: Path) -> None:
    train(tiny, pool, tmp_path / "first", "cpu", stop_at=1)
    asked = {
        "initial_weights": str(tmp_path / "first"),
        "initial_partial": True,
        "scale": 2,
        "unet": tiny.unet.model_copy(update={"block_out_channels": (12, 12)}),
    }
    with pytest.raises(TrainingError, match="no tensor fits"):
        begin(tiny.model_copy(update=asked), "cpu")
