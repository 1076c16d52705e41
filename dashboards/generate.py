"""Write the files of this folder that Grafana and Prometheus read: python dashboards/generate.py [--check].

Dashboards are built with grafana-foundation-sdk (Apache-2.0), whose types are those of Grafana's schema.
"""

import argparse
import sys
from pathlib import Path

import alert_rules
import yaml
from expressions import Board, Panel
from grafana_foundation_sdk.builders import dashboard, prometheus, stat, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import DataSourceRef, VariableRefresh, VariableSort
from panels import BOARDS

from tss_ray.telemetry.names import RUN_INFO

FOLDER = Path(__file__).parent
_DATA = DataSourceRef(type_val="prometheus", uid="$datasource")
_WIDTH, _LINES_HEIGHT, _STAT_HEIGHT = 8, 8, 4
_NOTE = "# Made by dashboards/generate.py: change that, and run it.\n"


def board_json(board: Board) -> str:
    """Return one dashboard as Grafana imports it."""
    page = (
        dashboard.Dashboard(board.title)
        .uid(f"tss-ray-{board.name}")
        .description(board.help)
        .tags(["tss-ray"])
        .refresh("10s")
        .time("now-1h", "now")
        .timezone("browser")
        .with_variable(dashboard.DatasourceVariable("datasource").type("prometheus").label("Prometheus"))
        .with_variable(_choice("session", "SessionName", "Cluster"))
        .with_variable(_choice("job", "job_id", "Job"))
    )
    for row in board.rows:
        page = page.with_row(dashboard.Row(row.title))
        for panel in row.panels:
            page = page.with_panel(_panel(panel))
    return JSONEncoder(sort_keys=True, indent=2).encode(page.build()) + "\n"


def _choice(name: str, tag: str, label: str) -> dashboard.QueryVariable:
    return (
        dashboard.QueryVariable(name)
        .label(label)
        .query(f"label_values({RUN_INFO.series}, {tag})")
        .datasource(_DATA)
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(VariableSort.ALPHABETICAL_DESC)
        .multi(True)
        .include_all(True)
        .all_value(".*")
    )


def _panel(panel: Panel) -> timeseries.Panel | stat.Panel:
    made = stat.Panel() if panel.kind == "stat" else timeseries.Panel().fill_opacity(8).line_width(1).min(0)
    made = made.title(panel.title).description(panel.help).unit(panel.unit).datasource(_DATA)
    made = made.span(_WIDTH).height(_STAT_HEIGHT if panel.kind == "stat" else _LINES_HEIGHT)
    if panel.top is not None:
        made = made.max(panel.top)
    for query in panel.queries:
        target = prometheus.Dataquery().expr(query.expr).legend_format(query.legend or panel.title).datasource(_DATA)
        made = made.with_target(target.instant() if panel.kind == "stat" else target.range())
    return made


def generated() -> dict[Path, str]:
    """Return every generated file with its text."""
    files = {FOLDER / "grafana" / f"{board.name}.json": board_json(board) for board in BOARDS}
    rules = yaml.safe_dump(alert_rules.rules(), sort_keys=False, allow_unicode=True, width=120)
    return files | {FOLDER / "prometheus" / "alerts.yml": _NOTE + rules}


def main() -> int:
    """Write the files, or with --check say which are not what they should be."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; end with 1 if a file is out of date")
    check = parser.parse_args().check
    stale = [path for path, text in generated().items() if not path.exists() or path.read_text("utf-8") != text]
    for path in stale:
        if check:
            sys.stderr.write(f"{path} is out of date; run python dashboards/generate.py\n")
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(generated()[path], encoding="utf-8")
    return int(check and bool(stale))


if __name__ == "__main__":
    sys.exit(main())
