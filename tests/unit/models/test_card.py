"""Promises of the card."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tss_ray.errors import ModelError
from tss_ray.models.card import CARD_FILE, UNetShape, read_card

WriteModel = Callable[..., Path]


def test_a_card_says_everything_about_the_model(write_model: WriteModel) -> None:
    card = read_card(write_model())
    assert (card.model_id, card.scale, card.num_timesteps, card.prediction_type) == ("tiny", 4, 50, "v")
    assert card.unet.block_out_channels == (8, 8)


def test_the_size_multiple_is_the_reduction_of_the_network() -> None:
    assert [UNetShape(block_out_channels=(8,) * depth).size_multiple for depth in (1, 2, 3, 4)] == [1, 2, 4, 8]


def test_a_folder_without_a_card_is_no_model_folder(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"has no card\.json: not a model folder; give the folder"):
        read_card(tmp_path)


@pytest.mark.parametrize(
    "changes",
    [
        {"model_id": None},
        {"sha256": None},
        {"sha256": "0" * 63},
        {"sha256": "Z" * 64},
        {"scale": 1},
        {"num_timesteps": 1},
        {"schedule": "linear"},
        {"family": "gan"},
        {"prediction_type": "score"},
        {"residual_scale": 0},
        {"colour": "blue"},
        {"unet": {"block_out_channels": []}},
        {"unet": {"attention": True}},
    ],
)
def test_a_card_that_does_not_hold_is_refused_with_the_remedy(write_model: WriteModel, changes: dict[str, Any]) -> None:
    field = next(iter(changes))
    with pytest.raises(ModelError, match=rf"(?s)does not hold.*{field}.*fetch the model again"):
        read_card(write_model(**changes))


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"\xff\xfe"])
def test_a_card_that_is_not_json_is_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / CARD_FILE).write_bytes(data)
    with pytest.raises(ModelError, match="does not hold"):
        read_card(tmp_path)
