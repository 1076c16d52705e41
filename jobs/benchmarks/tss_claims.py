"""What the paper claims, each claim with the evidence of what was measured; and the figures of the study's last line.

Qin et al., "Accelerating Diffusion-based Super-Resolution with Dynamic Time-Spatial Sampling" (IJCAI 2025,
arXiv 2505.12048). Sections are named with each claim; the sentences are ours. The paper measures NIQE, CLIPIQA, MUSIQ
and QAlign on networks a hundred times as large; here every claim is asked of this model.
"""

from collections.abc import Callable, Sequence

from band_snr import BANDS
from bootstrap import interval, interval_of_difference
from quality_values import BINS, Value, texture_bin
from tss_compare import SIX, Claim, Evidence, Rule, better, compare, no_worse, wins
from tss_trajectory import PatchCurve, ReachRow, by_texture

FEW, MANY = 7, 14
"""The steps of TSS, and of the uniform plan that it is to match: the paper's 7 against 15 of another method."""
_LOW, _MEDIUM, _HIGH = range(len(BANDS))
_RATE = "dB per tenth of the timesteps"
_PERCEPTUAL = ("niqe", "musiq", "clipiqa")
"""The paper's metrics that can be had; the last two only where their weights are."""
_FIDELITY = ("psnry", "ssim", "fsim", "gmsd")

Figure = float | int | str | None


def claims(
    values: Sequence[Value], curves: Sequence[PatchCurve], reached: Sequence[ReachRow], tss: str
) -> tuple[Claim, ...]:
    """Return every claim with its evidence. `tss` names the variant that stands for TSS."""
    return (
        *_frequency_claims(curves),
        *_texture_claims(curves),
        *_time_claims(values, reached),
        *_tss_claims(values, tss),
    )


def headline(values: Sequence[Value], tss: str, sds_overhead: float | None) -> dict[str, Figure]:
    """Return the figures of the last line but for what says where they come from."""
    found: dict[str, Figure] = {}
    for metric in ("niqe", "psnry", "ssim", "gmsd"):
        difference = compare(values, f"{FEW} {tss}", f"{MANY} uniform", metric)
        found[f"tss{FEW}_minus_uniform{MANY}_{metric}"] = None if difference is None else round(difference.mean, 5)
    return found | {
        "wins_at_equal_steps": wins(values, f"{FEW} {tss}", f"{FEW} uniform"),
        "sds_overhead": None if sds_overhead is None else round(sds_overhead, 4),
    }


def _frequency_claims(curves: Sequence[PatchCurve]) -> tuple[Claim, ...]:
    """Section 3.1."""

    def rate(label: str, rule: Rule, of: Callable[[PatchCurve], float]) -> Evidence:
        return _over_patches(label, rule, curves, of, _RATE)

    def ahead(band: int) -> Evidence:
        label = f"early gain, high − {BANDS[band]}"
        return rate(label, "above", lambda curve: curve.rate("early", _HIGH) - curve.rate("early", band))

    def latest(band: int, other: str) -> Evidence:
        label = f"{BANDS[band]} band, late gain − {other} gain"
        return rate(label, "above", lambda curve: curve.rate("late", band) - curve.rate(other, band))

    return (
        Claim(
            "High frequencies, unlike low and medium ones, gain SNR in the early steps (timesteps 1000 to 700).",
            "paper",
            (
                rate("early gain of the high band", "above", lambda curve: curve.rate("early", _HIGH)),
                *map(ahead, (_LOW, _MEDIUM)),
            ),
        ),
        Claim(
            "In every band SNR gains most in the late steps (timesteps 400 to 0).",
            "paper",
            tuple(latest(band, other) for band in range(len(BANDS)) for other in ("early", "middle")),
        ),
        Claim(
            "In the middle steps (timesteps 700 to 400) the error of high frequencies grows.",
            "paper",
            (rate("middle gain of the high band", "below", lambda curve: curve.rate("middle", _HIGH)),),
        ),
    )


def _texture_claims(curves: Sequence[PatchCurve]) -> tuple[Claim, ...]:
    """Section 3.2."""
    bins = by_texture(curves)
    smooth, textured = bins[BINS[0]], bins[BINS[-1]]

    def difference(
        label: str, first: Sequence[PatchCurve], second: Sequence[PatchCurve], of: Callable[[PatchCurve], float]
    ) -> Evidence:
        sides = [[of(curve) for curve in side] for side in (first, second)]
        photos = [[curve.photo for curve in side] for side in (first, second)]
        return Evidence(label, interval_of_difference(*sides, *photos), "above")

    return (
        Claim(
            "Smooth patches recover their high frequencies earlier than textured ones.",
            "paper",
            (
                difference(
                    "share of the timesteps left when half of the SNR is there, smooth − textured",
                    smooth,
                    textured,
                    lambda curve: curve.half_way(_HIGH),
                ),
            ),
        ),
        Claim(
            "Textured patches recover in a narrower range of early and late steps than smooth ones.",
            "paper",
            (
                difference(
                    "share of the high band's gains outside the middle steps, textured − smooth",
                    textured,
                    smooth,
                    lambda curve: curve.concentration(_HIGH),
                ),
            ),
        ),
    )


def _time_claims(values: Sequence[Value], reached: Sequence[ReachRow]) -> tuple[Claim, ...]:
    """Section 5.3: time dynamic sampling, the early stage, the families."""
    few = {name: f"{FEW} {name}" for name in ("tds", "uniform", "late_only", "trigonometric", "exponential")}
    steps = sorted({int(row.method.split()[0]) for row in reached})
    families = {"polynomial (tds)": few["tds"]} | {name: few[name] for name in ("trigonometric", "exponential")}
    late = compare(values, few["late_only"], few["uniform"], "niqe")
    return (
        Claim(f"At {FEW} steps TDS is better than uniform.", "paper", _perceptual(values, few["tds"], few["uniform"])),
        Claim(
            "At an equal number of steps TDS has the higher SNR of high frequencies.",
            "paper",
            tuple(_reach(reached, f"{num} tds", f"{num} uniform") for num in steps),
        ),
        Claim(
            f"At {FEW} steps late-only does not improve NIQE over uniform.",
            "paper",
            (Evidence(f"niqe: {few['late_only']} − {few['uniform']}", late, "not below"),),
        ),
        Claim(
            f"At {FEW} steps TDS, dense at both ends, is better than late-only.",
            "paper",
            (*_perceptual(values, few["tds"], few["late_only"]), _reach(reached, few["tds"], few["late_only"])),
        ),
        Claim(
            f"At {FEW} steps each of the three families is better than uniform.",
            "paper",
            tuple(
                better(values, method, few["uniform"], "niqe", f"niqe: {FEW} {name} − {few['uniform']}")
                for name, method in families.items()
            ),
        ),
    )


def _tss_claims(values: Sequence[Value], tss: str) -> tuple[Claim, ...]:
    """Sections 5.2 and 5.4, and what this project asks of TSS."""
    few_tss, few_uniform, few_tds = (f"{FEW} {name}" for name in (tss, "uniform", "tds"))
    many, sds, noise = f"{MANY} uniform", f"{FEW} tds+sds", f"{FEW} tds+sds+noise"
    binned = {name: [value for value in values if texture_bin(value.texture) == name] for name in (BINS[0], BINS[-1])}
    return (
        Claim(
            f"At {FEW} steps SDS on top of TDS is better than TDS alone.", "paper", _perceptual(values, sds, few_tds)
        ),
        Claim(
            "SDS improves smooth and textured crops alike.",
            "paper",
            tuple(
                better(part, sds, few_tds, "niqe", f"niqe, {name} crops: {sds} − {few_tds}")
                for name, part in binned.items()
            ),
        ),
        Claim(
            f"TSS at {FEW} steps does what uniform does at {MANY}: no worse NIQE, better PSNR-Y, SSIM, FSIM and GMSD.",
            "project",
            (
                no_worse(values, few_tss, many, "niqe"),
                *(better(values, few_tss, many, metric) for metric in _FIDELITY),
            ),
        ),
        Claim(
            f"At {FEW} steps TSS is better than uniform on at least four of six metrics.",
            "project",
            tuple(better(values, few_tss, few_uniform, metric) for metric in SIX),
            needed=4,
        ),
        Claim(
            f"TSS raises MUSIQ over uniform at {FEW} steps.", "paper", (better(values, few_tss, few_uniform, "musiq"),)
        ),
        Claim(
            f"At {FEW} steps noise put back where there is texture improves NIQE.",
            "project",
            (better(values, noise, sds, "niqe"),),
        ),
    )


def _perceptual(values: Sequence[Value], first: str, second: str) -> tuple[Evidence, ...]:
    return tuple(better(values, first, second, metric, is_optional=metric != "niqe") for metric in _PERCEPTUAL)


def _over_patches(
    label: str, rule: Rule, curves: Sequence[PatchCurve], of: Callable[[PatchCurve], float], unit: str
) -> Evidence:
    return Evidence(label, interval([of(curve) for curve in curves], [curve.photo for curve in curves]), rule, unit)


def _reach(reached: Sequence[ReachRow], first: str, second: str) -> Evidence:
    """Compare the high band's SNR against the end of the watched plan, crop by crop."""

    def crop(row: ReachRow) -> tuple[str, str, int, int]:
        return row.source, row.photo, row.top, row.left

    subtrahends = {crop(row): row.high for row in reached if row.method == second}
    pairs = [
        (row.photo, row.high - subtrahends[crop(row)])
        for row in reached
        if row.method == first and crop(row) in subtrahends
    ]
    found = interval([difference for _, difference in pairs], [photo for photo, _ in pairs])
    return Evidence(f"SNR of the high band: {first} − {second}", found, "above", "dB")
