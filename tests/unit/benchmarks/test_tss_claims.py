from collections.abc import Callable

import numpy as np
import pytest
from band_snr import BANDS
from quality_values import Value
from tss_claims import claims, headline
from tss_compare import SIX, Claim
from tss_measure import StudyValue
from tss_trajectory import PatchCurve, ReachRow

_PHOTOS = ("river", "hill", "house", "bird", "car")
_MEASURED = (*SIX, "musiq")


@pytest.fixture
def values(make_value: Callable[..., Value]) -> Callable[..., list[StudyValue]]:
    """Return a function that makes values of five photographs: 10 for every metric, changed per method."""

    def make(methods: tuple[str, ...], **changes: dict[str, float]) -> list[StudyValue]:
        found = []
        for method in methods:
            for number, photo in enumerate(_PHOTOS):
                scores = {metric: 10 + number + changes.get(metric, {}).get(method, 0.0) for metric in _MEASURED}
                fields = vars(make_value(method, photo=photo)) | scores | {"clipiqa": None, "lpips": None}
                found.append(StudyValue(variant=method.split()[1], **fields))
        return found

    return make


def _curves(
    high: tuple[float, ...], other: tuple[float, ...], textures: tuple[float, ...] = (0.1,)
) -> list[PatchCurve]:
    """Curves of five photographs over ten even times from 1 to 0.1; `other` is the lower bands."""
    times = np.linspace(1, 0.1, 10)
    snr = np.stack([np.array(other), np.array(other), np.array(high)], axis=1)
    assert snr.shape[1] == len(BANDS)
    return [PatchCurve(photo, texture, times, snr) for photo in _PHOTOS for texture in textures]


def _find(found: tuple[Claim, ...], words: str) -> Claim:
    (claim,) = (claim for claim in found if words in claim.sentence)
    return claim


def test_nothing_measured_is_said_of_every_claim() -> None:
    found = claims([], [], [], "tds+sds")
    assert {claim.verdict for claim in found} == {"not measured"}
    assert len({claim.sentence for claim in found}) == len(found)


def test_the_paper_s_curve_bears_out_the_paper_s_claims_about_stages() -> None:
    high = (0, 2, 4, 6, 5, 4, 3, 8, 13, 18)
    low = (0, 0, 0, 0, 0, 0, 0, 5, 10, 15)
    found = claims([], _curves(high, low), [], "tds+sds")
    for words in ("unlike low and medium", "gains most in the late", "error of high frequencies grows"):
        assert _find(found, words).verdict == "holds"


def test_a_curve_that_gains_early_and_evenly_does_not() -> None:
    even = tuple(range(0, 30, 3))
    early = (0, 9, 18, 27, 27, 27, 27, 27, 27, 27)
    found = claims([], _curves(even, early), [], "tds+sds")
    for words in ("unlike low and medium", "gains most in the late", "error of high frequencies grows"):
        assert _find(found, words).verdict == "does not hold"


def test_textured_patches_that_recover_late_bear_out_the_claims_about_texture() -> None:
    smooth = _curves((0, 0, 0, 0, 10, 12, 12, 12, 12, 12), (0,) * 10, (0.01, 0.02))
    middle = _curves((0, 0, 0, 0, 0, 6, 6, 6, 6, 12), (0,) * 10, (0.1, 0.11))
    textured = _curves((0, 1, 2, 3, 3, 3, 3, 6, 9, 12), (0,) * 10, (0.3, 0.31))
    found = claims([], [*textured, *smooth, *middle], [], "tds+sds")
    assert _find(found, "Smooth patches recover").verdict == "holds"
    assert _find(found, "narrower range").verdict == "holds"
    swapped = [PatchCurve(c.photo, 1 - c.texture, c.time, c.snr) for c in (*textured, *smooth, *middle)]
    assert _find(claims([], swapped, [], "tds+sds"), "Smooth patches recover").verdict == "does not hold"


def test_tss_that_matches_twice_the_steps_is_found_to(values) -> None:
    better = {"7 tds+sds": 1.0}
    found = values(("14 uniform", "7 tds+sds"), psnry=better, ssim=better, fsim=better, gmsd={"7 tds+sds": -1.0})
    assert _find(claims(found, [], [], "tds+sds"), "what uniform does at 14").verdict == "holds"
    worse = values(("14 uniform", "7 tds+sds"), psnry=better, ssim=better, fsim=better, gmsd={"7 tds+sds": 1.0})
    assert _find(claims(worse, [], [], "tds+sds"), "what uniform does at 14").verdict == "does not hold"


def test_a_worse_niqe_is_not_no_worse(values) -> None:
    better, lower = {"7 tds+sds": 1.0}, {"7 tds+sds": -1.0}
    found = values(("14 uniform", "7 tds+sds"), psnry=better, ssim=better, fsim=better, gmsd=lower, niqe=better)
    assert _find(claims(found, [], [], "tds+sds"), "what uniform does at 14").verdict == "does not hold"


def test_late_only_that_improves_niqe_speaks_against_the_paper(values) -> None:
    methods = ("7 uniform", "7 late_only")
    words = "late-only does not improve"
    improved = claims(values(methods, niqe={"7 late_only": -1.0}), [], [], "tds")
    assert _find(improved, words).verdict == "does not hold"
    assert _find(claims(values(methods, niqe={"7 late_only": 1.0}), [], [], "tds"), words).verdict == "holds"


def test_nearness_to_the_end_is_compared_at_equal_steps() -> None:
    def rows(method: str, high: float) -> list[ReachRow]:
        return [ReachRow("sample", photo, 0, 0, method, 0.0, 0.0, high) for photo in _PHOTOS]

    reached = rows("4 uniform", 10) + rows("4 tds", 12) + rows("14 uniform", 20) + rows("14 tds", 21)
    claim = _find(claims([], [], reached, "tds"), "higher SNR of high frequencies")
    assert [evidence.interval.mean for evidence in claim.evidence if evidence.interval] == [2, 1]
    assert claim.verdict == "holds"


def test_the_headline_has_the_differences_of_its_names(values) -> None:
    methods = ("7 uniform", "14 uniform", "7 tds+sds")
    found = values(methods, niqe={"7 tds+sds": -0.5}, psnry={"14 uniform": 0.25}, gmsd={"7 tds+sds": 0.125})
    assert headline(found, "tds+sds", 0.04321) == {
        "tss7_minus_uniform14_niqe": -0.5,
        "tss7_minus_uniform14_psnry": -0.25,
        "tss7_minus_uniform14_ssim": 0.0,
        "tss7_minus_uniform14_gmsd": 0.125,
        "wins_at_equal_steps": 1,
        "sds_overhead": 0.0432,
    }
    assert set(headline([], "tds", None).values()) == {None}
