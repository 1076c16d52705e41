"""What steps were worth, as parts of a run's page: gains over resampling, the saving against the top rung, the plan."""

from tss_ray.report.chart import Axis, Point, Series, chart
from tss_ray.report.figures import Figures, Saving
from tss_ray.report.page import escape, section, table
from tss_ray.report.words import between, count, number, percent

_MAX_GAIN_CHARTS = 6


def gains(figures: Figures) -> str:
    """Return what metrics gained over resampling, and where; nothing where none were asked for."""
    if not figures.gains:
        return ""
    directions = _lower_is_better(figures)
    rows = [
        (
            g.name,
            {True: "lower is better", False: "higher is better", None: ""}[directions.get(g.name)],
            count(g.images),
            *(number(v, 3) for v in (g.before_p1, g.after_p1, g.before_p5, g.after_p5, g.before_p50, g.after_p50)),
            between(g.gain, 3),
        )
        for g in figures.gains
    ]
    head = ["metric", "", "images", "p1 before", "after", "p5 before", "after", "p50 before", "after", "gain [95%]"]
    told = "Before: the bicubic enlargement of the input. After: the file. Images of the holdout are not among these."
    charts = "".join(_texture_gain(figures, gain.name) for gain in figures.gains[:_MAX_GAIN_CHARTS])
    return f"<h3>Gain over resampling</h3><p>{told}</p>" + table(head, rows, num_left=2) + charts


def _texture_gain(figures: Figures, name: str) -> str:
    points = tuple(
        Point((each.low + each.high) / 2, each.gain.mean, each.gain.low, each.gain.high)
        for each in figures.texture_gains
        if each.name == name
    )
    axis = Axis("texture score", (0.0, 0.2, 0.4, 0.6, 0.8, 1.0))
    return chart(f"Gain against texture: {name}, after − before", axis, [Series(name, points)]) if points else ""


def _lower_is_better(figures: Figures) -> dict[str, bool]:
    """Return what the runs noted of their metrics' directions."""
    facts = [run.metrics for run in figures.provenance["runs"]]
    return {name: bool(fact.get("lower_is_better")) for each in facts for name, fact in each.items()}


def saving(figures: Figures) -> str:
    """Return the run beside its holdout and its plan; nothing where it has neither."""
    found, parts = figures.saving, []
    if found is not None:
        parts.append(f"<p>{escape(saving_text(found))}</p>")
        rows = [
            (
                q.name,
                {True: "no difference seen", False: "differs", None: "cannot be told"}[q.is_equal],
                count(q.images),
                number(q.mean_holdout, 4),
                number(q.mean_others, 4),
                between(q.lost, 4),
            )
            for q in found.quality
        ]
        head = ["metric", "", "holdout images", "holdout", "others", "holdout − others [95%]"]
        parts.append(table(head, rows, num_left=2))
    if figures.predictions:
        plan = [(p.name, number(p.predicted, 3), number(p.actual, 3), percent(p.error)) for p in figures.predictions]
        parts.append("<h3>The plan</h3>" + table(["", "predicted", "actual", "off by"], plan))
    if not parts:
        return ""
    return section(
        "Against the top rung and the plan",
        "".join(parts),
        "The holdout ran the top rung whatever it cost; which images are in it, their keys decide.",
    )


def saving_text(saving: Saving) -> str:
    """Return the saving in a sentence."""
    if saving.nfe_saved is None:
        return "The saving against the top rung cannot be told: fewer than two images ran by the plan."
    low, high = percent(saving.nfe_saved.low), percent(saving.nfe_saved.high)
    told = f"{percent(saving.nfe_saved.mean)} of NFE saved against the top rung for every image (95%: {low} to {high})"
    known = [entry for entry in saving.quality if entry.is_equal is not None]
    different = [entry.name for entry in known if not entry.is_equal]
    if not known:
        return f"{told}; at which quality cannot be told from a holdout of {count(saving.holdout)}."
    if different:
        return f"{told}; the {count(saving.holdout)} images of the holdout differ in {', '.join(different)}."
    return f"{told}, at equal quality as far as {count(saving.holdout)} images of the holdout can tell."
