"""Promises of the licence guard."""

import pytest

from tss_ray.models.licences import judge


@pytest.mark.parametrize(
    ("licence", "commercial", "research", "unsaid"),
    [
        ("Apache-2.0", "fine", "fine", "fine"),
        ("MIT", "fine", "fine", "fine"),
        ("CC-BY-4.0", "fine", "fine", "fine"),
        ("openrail++", "warn", "warn", "warn"),
        ("creativeml-openrail-m", "warn", "warn", "warn"),
        ("stabilityai-ai-community", "warn", "fine", "warn"),
        ("CreativeML OpenRAIL-M", "warn", "warn", "warn"),
        ("S-Lab License 1.0", "refuse", "fine", "warn"),
        ("cc-by-nc-sa-4.0", "refuse", "fine", "warn"),
        ("CC-BY-NC", "refuse", "fine", "warn"),
        ("SUPIR Software License", "refuse", "warn", "warn"),
        ("unknown", "refuse", "warn", "warn"),
        ("Apache-2.0 WITH surprises", "refuse", "warn", "warn"),
    ],
)
def test_a_licence_is_judged_by_use(licence: str, commercial: str, research: str, unsaid: str) -> None:
    found = [judge(licence, use)[0] for use in ("commercial", "research", None)]
    assert found == [commercial, research, unsaid]


def test_whatever_is_not_fine_says_why() -> None:
    for licence in ("openrail", "s-lab", "cc-by-nc-4.0", "supir", "unknown", "stabilityai-community"):
        assert judge(licence, "commercial")[1]
