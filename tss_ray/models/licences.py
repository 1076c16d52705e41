"""Whether a licence lets its model be put to a use: what its text is commonly read to say, and no legal advice."""

import re
from typing import Literal

Use = Literal["commercial", "research"]
Verdict = Literal["fine", "warn", "refuse"]

_READ = "read its licence and put it into card.json beside the model"
_RULES: tuple[tuple[str, Verdict, Verdict, str], ...] = (
    (r"(apache-2\.0|mit|isc|unlicense|bsd-[23]-clause|cc0-1\.0|cc-by-(sa-)?[34]\.0)", "fine", "fine", ""),
    (r".*openrail.*", "warn", "warn", "it forbids the uses that its annex lists, and they go with what is made by it"),
    (r"supir.*", "refuse", "warn", "it is non-commercial and counts making a data set for a product as commercial"),
    (r"s-lab.*", "refuse", "fine", "it is non-commercial"),
    (r".*(-nc-|-nc$|non-?commercial|research-only).*", "refuse", "fine", "it is non-commercial"),
    (r"stabilityai.*|stability-ai.*", "warn", "fine", "beyond a yearly revenue it asks for a paid licence"),
)
"""Pattern of the licence's name in small letters; for commerce, for research; why."""


def judge(licence: str, use: Use | None) -> tuple[Verdict, str]:
    """Return what to do about a licence for a use, and why; use None: as research, but what is refused is warned of."""
    name = licence.strip().lower().replace(" ", "-").replace("_", "-")
    for pattern, commercial, research, why in _RULES:
        if re.fullmatch(pattern, name):
            if use is None:
                return ("fine" if commercial == "fine" else "warn"), why
            return (commercial if use == "commercial" else research), why
    return ("refuse" if use == "commercial" else "warn"), f"nothing is known of it: {_READ}"
