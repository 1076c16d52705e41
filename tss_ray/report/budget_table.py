"""A plan of a budget as tables for the terminal. Takes the record that plan.json holds."""

from collections.abc import Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table

Record = Mapping[str, Any]


def plan_tables(record: Record) -> RenderableType:
    """Return what is predicted, what each bin gets, and what else could be had."""
    return Group(_predicted(record), "", _bins(record), "", _what_if(record))


def prediction_rows(record: Record) -> list[tuple[str, str]]:
    """Return (name, figure with its interval) of everything that is predicted."""
    predicted, facts, storage, dataset = (record[name] for name in ("predicted", "facts", "storage", "dataset"))
    other = record["uniform_at_equal_cost"]
    rows = [
        ("goal", goal_text(record)),
        ("images", f"{facts['num_listed']} listed, about {predicted['images']} readable"),
        ("looked at", f"{dataset['scanned']} images, {dataset['ran_the_ladder']} of them on every rung"),
        ("cost", "no price was given" if predicted["usd"] is None else f"{between(predicted['usd'], 2)} USD"),
        ("device time", f"{between(predicted['device_hours'], 3)} h on {facts['device']}"),
        ("time", f"{between(predicted['wall_hours'], 3)} h on {_devices(record['terms']['num_devices'])}"),
        ("mean steps", between(predicted["mean_steps"], 2)),
        (f"quality ({facts['score_name']})", between(predicted["quality"], 4)),
        ("uniform steps", "cannot cost as little" if other is None else _uniform_text(record)),
        ("storage", f"{storage['lists'] + storage['reads']} reads and lists, {storage['writes']} writes"),
        ("bytes", f"{storage['read_bytes'] / 2**30:.3f} GiB in, {storage['written_bytes'] / 2**30:.3f} GiB out"),
        ("steps", ", ".join(f"{r['steps']}: {r['share']:.1%}" for r in record["rung_shares"] if r["share"] > 0)),
    ]
    if storage["usd"] or storage["usd_per_month"]:
        rows.append(("storage cost", f"{storage['usd']:.2f} USD, {storage['usd_per_month']:.2f} USD a month to keep"))
    return rows


def what_if_rows(record: Record) -> list[tuple[str, str, str, str, str]]:
    """Return (name, device hours, cost, mean steps, quality) of other goals and prices."""
    terms, rows = record["terms"], []
    for row in record["what_if"]:
        point = row["point"]
        if point is None:
            rows.append((row["name"], "impossible", "–", "–", "–"))
            continue
        hours = point["device_s"] / terms["busy_share"] / 3600
        usd = "–" if row["usd"] is None else f"{row['usd']:.2f} USD"
        rows.append((row["name"], f"{hours:.3f} h", usd, f"{point['steps']:.2f}", f"{point['quality']:.4f}"))
    return rows


def goal_text(record: Record) -> str:
    """Return the goal in words."""
    goal = record["goal"]
    words = {
        "max_cost_usd": "at most {:g} USD",
        "max_device_hours": "at most {:g} device-hours",
        "deadline_hours": "done in {:g} hours",
        "max_mean_steps": "at most {:g} steps in the mean",
        "min_quality": "a quality of at least {:g}",
        "best": "as good as the ladder gets",
    }
    return words[goal["kind"]].format(goal["value"])


def between(estimate: Mapping[str, float], decimals: int) -> str:
    """Return a figure and its 95% interval."""
    return f"{estimate['value']:.{decimals}f} [{estimate['low']:.{decimals}f}, {estimate['high']:.{decimals}f}]"


def _devices(num: int) -> str:
    return "1 device" if num == 1 else f"{num} devices"


def _uniform_text(record: Record) -> str:
    other = record["uniform_at_equal_cost"]
    gain = record["predicted"]["quality"]["value"] - other["quality"]
    return f"quality {other['quality']:.4f} at equal cost: the plan gains {gain:+.4f}"


def _predicted(record: Record) -> Table:
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in prediction_rows(record):
        table.add_row(name, value)
    return table


def _bins(record: Record) -> Table:
    ladder = [rung["steps"] for rung in record["rung_shares"]]
    table = Table(title="quality by texture and steps, and what the plan gives", title_justify="left", box=None)
    for heading in ("texture", "tiles", "sampled", *map(str, ladder), "steps"):
        table.add_column(heading, justify="right")
    for each in record["bins"]:
        given = ", ".join(f"{s['steps']}: {s['share']:.0%}" for s in each["shares"] if s["share"] >= 0.005)
        qualities = [f"{rung['value']:.3f}" for rung in each["quality"]]
        table.add_row(
            f"{each['from']:.2f}–{each['to']:.2f}",
            f"{each['tiles']['value']:.0f}",
            str(each["sampled"]),
            *qualities,
            given,
        )
    return table


def _what_if(record: Record) -> RenderableType:
    rows = what_if_rows(record)
    if not rows:
        return ""
    table = Table(title="what if", title_justify="left", box=None)
    for heading in ("", "device time", "cost", "mean steps", "quality"):
        table.add_column(heading, justify="right")
    for row in rows:
        table.add_row(*row)
    return table
