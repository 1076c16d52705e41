"""How large a result becomes: the asked factor, held back by rules."""

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TargetSize:
    """The size of a result in px, and the rule that left the image alone, if one did."""

    width: int
    height: int
    left_alone_by: str | None = None


def target_size(
    width: int,
    height: int,
    scale: float,
    *,
    max_side_px: int | None = None,
    target_megapixels: float | None = None,
    skip_larger_than_px: int | None = None,
    skip_sharper_than: float | None = None,
    skip_sharper_from_px: int = 1,
    blur: float | None = None,
) -> TargetSize:
    """Return the size of an image of width×height px enlarged by `scale`, at most.

    `max_side_px` bounds the longer side, `target_megapixels` (10⁶ px) the area; an image that is there already, or
    whose longer side exceeds `skip_larger_than_px`, is left alone: nothing is ever reduced. So is one of a `blur` (see
    `imaging.blur`; None: no edge to tell by) below `skip_sharper_than`, if its longer side has `skip_sharper_from_px`.
    """
    if skip_larger_than_px is not None and max(width, height) > skip_larger_than_px:
        return TargetSize(width, height, "skip_larger_than_px")
    sharp = skip_sharper_than is not None and blur is not None and blur < skip_sharper_than
    if sharp and max(width, height) >= skip_sharper_from_px:
        return TargetSize(width, height, "skip_sharper_than")
    bounds = [(scale, "scale")]
    if max_side_px is not None:
        bounds.append((max_side_px / max(width, height), "max_side_px"))
    if target_megapixels is not None:
        bounds.append((math.sqrt(target_megapixels * 1e6 / (width * height)), "target_megapixels"))
    factor, rule = min(bounds)
    to_width, to_height = max(width, round(width * factor)), max(height, round(height * factor))
    if (to_width, to_height) == (width, height) and rule != "scale":
        return TargetSize(width, height, rule)
    return TargetSize(to_width, to_height)
