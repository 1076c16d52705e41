"""Numbers as people read them; what is not known is a dash."""

from tss_ray.quality.bootstrap import Interval

NONE = "–"


def count(value: float | None) -> str:
    """Return a whole number with its thousands apart."""
    return NONE if value is None else f"{value:,.0f}"


def number(value: float | None, decimals: int = 2) -> str:
    """Return a number with so many decimals."""
    return NONE if value is None else f"{value:,.{decimals}f}"


def between(interval: Interval | None, decimals: int = 2) -> str:
    """Return a mean and the ends of its interval."""
    if interval is None:
        return NONE
    return f"{interval.mean:+,.{decimals}f} [{interval.low:+,.{decimals}f}, {interval.high:+,.{decimals}f}]"


def percent(share: float | None) -> str:
    """Return a share in [0,1] as a percentage."""
    return NONE if share is None else f"{share:.1%}"


def usd(value: float | None) -> str:
    """Return dollars to the cent, or to three figures below a dollar."""
    if value is None:
        return NONE
    return f"${value:,.2f}" if abs(value) >= 1 or value == 0 else f"${value:.3g}"


def duration(seconds: float | None) -> str:
    """Return seconds in the unit that leaves a short number."""
    if seconds is None:
        return NONE
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if abs(seconds) >= 2 * size:
            return f"{seconds / size:,.1f} {unit}"
    return f"{seconds:.3g} s" if abs(seconds) < 10 else f"{seconds:.1f} s"


def megapixels(value: float) -> str:
    """Return megapixels in the unit that leaves a short number."""
    return f"{value / 1000:,.1f} GP" if value >= 10_000 else f"{value:,.1f} MP"


def shortened(text: str, most: int) -> str:
    """Return text of at most so many characters, cut in the middle."""
    keep = (most - 1) // 2
    return text if len(text) <= most else f"{text[:keep]}…{text[-keep:]}"
