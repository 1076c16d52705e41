"""What an image becomes in a crowd is what it becomes alone, to the bit."""

from collections.abc import Callable
from typing import Any

import torch

from tss_ray.engine.state import DenoisedImage, ImageRequest


def same_bits(one: DenoisedImage, other: DenoisedImage) -> bool:
    """Whether two results have the same tiles."""
    return all(torch.equal(a, b) for a, b in zip(one.tiles, other.tiles, strict=True))


def assert_a_crowd_changes_nothing(
    run_all: Callable[..., dict[str, DenoisedImage]], crowd: list[ImageRequest], **how: Any
) -> dict[str, DenoisedImage]:
    """Run every image alone and all together, in this order; return what each became alone."""
    alone = {request.image_key: run_all([request], **how)[request.image_key] for request in crowd}
    for key, image in run_all(crowd, **how).items():
        assert same_bits(image, alone[key]), key
    return alone
