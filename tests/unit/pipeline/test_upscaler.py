"""Promises of the actor around the gates: refused once is run again, refused twice is a row and no object."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from checkpoints import write_ldm, write_sd_controlnet, write_sd_upscaler
from PIL import Image
from safetensors.torch import load_file, save_file

from tss_ray.models.card import CARD_FILE, WEIGHTS_FILE
from tss_ray.pipeline import finish
from tss_ray.pipeline.rows import PreparedImage
from tss_ray.pipeline.upscaler import Upscaler
from tss_ray.records import ManifestRow
from tss_ray.spec import load_spec

RGB = np.random.default_rng(0).integers(60, 200, (16, 16, 3), np.uint8)


@pytest.fixture
def make(tmp_path: Path, never_stops: None) -> Callable[..., Upscaler]:
    """Return a maker of actors without Ray, all told that nothing stops."""

    def made(model: Path, **settings: object) -> Upscaler:
        base = {"input": "in", "output": str(tmp_path / "out"), "model": str(model)}
        tiles = {
            "tiles.tile_px": 16,
            "tiles.overlap_px": 4,
            "budget.ladder": [0, 2, 3],
            "budget.thresholds": [0.1, 0.5],
        }
        return Upscaler(load_spec(None, base | tiles | settings), False, 1, None)

    return made


def upscale(actor: Upscaler, pixels: np.ndarray = RGB, **changes: Any) -> ManifestRow:
    fields = {
        "image_key": "a.png",
        "input_uri": "in/a.png",
        "spec_hash": "0",
        "num_steps": 3,
        "out_width": 64,
        "out_height": 64,
    }
    (row,) = actor._together([PreparedImage(ManifestRow(**(fields | changes)), pixels)])
    return row


def spoilt(folder: Path, value: float) -> Path:
    """Return the model folder, its last bias set to `value`."""
    weights = load_file(folder / WEIGHTS_FILE)
    name = next(name for name in weights if name.endswith("conv_out.bias"))
    weights[name] = torch.full_like(weights[name], value)
    save_file(weights, folder / WEIGHTS_FILE)
    card = json.loads((folder / CARD_FILE).read_text())
    card["sha256"] = hashlib.sha256((folder / WEIGHTS_FILE).read_bytes()).hexdigest()
    (folder / CARD_FILE).write_text(json.dumps(card))
    return folder


@pytest.mark.parametrize(
    ("value", "kind"), [(float("nan"), "output_nan"), (1e6, "output_black"), (-1e6, "output_off_colour")]
)
def test_what_a_broken_model_paints_is_a_row_and_no_object(
    make: Callable[..., Upscaler], write_model: Callable[..., Path], tmp_path: Path, value: float, kind: str
) -> None:
    row = upscale(make(spoilt(write_model(), value)))
    assert (row.status, row.error_kind, row.refused_for) == ("quarantined", kind, kind)
    assert (row.attempt, row.num_steps, row.nfe) == (2, 2, 2)
    assert row.error_message is not None
    assert row.error_message.endswith("look at the input, and if many are refused, at the model and the device")
    assert not (tmp_path / "out" / "images").exists()


def test_what_is_refused_once_is_kept_at_another_rung(
    make: Callable[..., Upscaler], write_model: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    actor, verdicts = make(write_model()), iter(["output_black", None, None])
    monkeypatch.setattr(finish, "refusal", lambda *_: next(verdicts))
    row = upscale(actor)
    assert (row.status, row.attempt, row.refused_for, row.num_steps, row.nfe) == ("done", 2, "output_black", 2, 2)
    again = upscale(actor, num_steps=2)
    assert (again.attempt, again.refused_for) == (1, None)
    assert again.output_sha256 == row.output_sha256


def test_a_key_that_the_store_cannot_hold_is_a_row(
    make: Callable[..., Upscaler], write_model: Callable[..., Path]
) -> None:
    row = upscale(make(write_model()), image_key="/".join(["d" * 250] * 20))
    assert (row.status, row.error_kind) == ("quarantined", "bad_key")


def test_small_images_of_a_block_are_finished_first_and_rows_keep_their_order(
    make: Callable[..., Upscaler], tiny_model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    actor, finished = make(tiny_model_folder), []
    finish_one = actor._finish
    monkeypatch.setattr(actor, "_finish", lambda image, *rest: finished.append(image) or finish_one(image, *rest))
    sides = {"large.png": 40, "small.png": 12, "middle.png": 24}
    told = {"spec_hash": "0", "num_steps": 1}
    block = [
        PreparedImage(
            ManifestRow(
                image_key=key,
                input_uri=key,
                in_width=side,
                in_height=side,
                out_width=4 * side,
                out_height=4 * side,
                **told,
            ),
            np.resize(RGB, (side, side, 3)),
        )
        for key, side in sides.items()
    ]
    rows = actor._together(block)
    assert [image.row.image_key for image in finished] == ["small.png", "middle.png", "large.png"]
    assert [row.image_key for row in rows] == list(sides)


def test_what_was_not_fetched_when_the_run_was_stopped_stays_pending(
    make: Callable[..., Upscaler], write_model: Callable[..., Path]
) -> None:
    row = ManifestRow(image_key="a.png", input_uri="in/a.png", spec_hash="0")
    assert make(write_model())._together([PreparedImage(row)]) == [row]


@pytest.mark.parametrize(
    ("write", "decoder", "settings"),
    [
        (write_ldm, "vqvae", {}),
        (write_sd_upscaler, "vae", {"checkpoint.prompt": "a cat", "checkpoint.guidance_scale": 2.0}),
        (write_sd_controlnet, "vae", {"checkpoint.controlnet_conditioning_scale": 0.9}),
    ],
)
def test_a_checkpoint_of_diffusers_goes_all_the_way_to_a_file(
    make: Callable[..., Upscaler], tmp_path: Path, write: Any, decoder: str, settings: dict[str, Any]
) -> None:
    folder = write(tmp_path / "model")
    file = folder / decoder / "diffusion_pytorch_model.safetensors"
    weights = load_file(file)
    for name in ("decoder.conv_out.weight", "decoder.conv_out.bias"):  # a picture that a gate lets through: grey
        weights[name] = torch.zeros_like(weights[name])
    save_file(weights, file, {"format": "pt"})
    row = upscale(make(folder, **settings), np.full((16, 16, 3), 130, np.uint8))
    assert (row.status, row.error_message, row.model_id) == ("done", None, "model")
    with Image.open(tmp_path / "out" / "images" / "a.png") as image:
        assert (image.size, image.mode) == ((64, 64), "RGB")
        assert abs(np.asarray(image).astype(int) - 130).max() <= 3
