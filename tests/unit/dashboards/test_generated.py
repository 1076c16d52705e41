"""Promises of the files in dashboards/: they are what the code says, and ask only for metrics that a job has."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from alert_rules import ALERTS
from expressions import Board, Query
from generate import FOLDER, generated
from panels import BOARDS

from tss_ray.telemetry.names import METRICS

PROMTOOL = shutil.which("promtool")
QUERIES = [query for board in BOARDS for panel in board.panels for query in panel.queries]
SERIES = {
    metric.series + part: metric
    for metric in METRICS
    for part in (("_bucket", "_count") if metric.kind == "histogram" else ("",))
}


def asked(expr: str) -> set[str]:
    return set(re.findall(r"ray_tss_\w+", expr))


def promtool(*arguments: object) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([str(PROMTOOL), *map(str, arguments)], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("path", sorted(generated()), ids=lambda path: path.name)
def test_the_files_are_up_to_date(path: Path) -> None:
    assert path.read_text(encoding="utf-8") == generated()[path], "run python dashboards/generate.py"


def test_only_metrics_that_a_job_has_are_asked_for_and_those_not_shown_are_known() -> None:
    seen = set().union(*(asked(each.expr) for each in [*QUERIES, *ALERTS]))
    assert seen <= SERIES.keys()
    shown = {SERIES[name].name for name in seen}
    unseen = {metric.name for metric in METRICS} - shown
    assert unseen == {"tss_run_info", "tss_listed_images", "tss_warm_up_seconds"}


@pytest.mark.parametrize("query", QUERIES, ids=lambda query: query.expr)
def test_every_panel_follows_the_choices_at_the_top_of_the_page(query: Query) -> None:
    selectors = re.findall(r"ray_tss_\w+(\{[^}]*\})?", query.expr)
    assert selectors
    assert all('job_id=~"$job"' in chosen and 'SessionName=~"$session"' in chosen for chosen in selectors)
    assert query.rare == query.expr.endswith("or vector(0)")


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.name)
def test_a_dashboard_holds_every_panel_once_and_in_its_row(board: Board) -> None:
    made = json.loads((FOLDER / "grafana" / f"{board.name}.json").read_text(encoding="utf-8"))
    panels = [panel for panel in made["panels"] if panel["type"] != "row"]
    assert [panel["title"] for panel in panels] == [panel.title for panel in board.panels]
    exprs = [target["expr"] for panel in panels for target in panel["targets"]]
    assert exprs == [query.expr for panel in board.panels for query in panel.queries]
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in made["panels"]]
    assert len(set(places)) == len(places)
    assert all(panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24 for panel in made["panels"])
    assert {each["name"] for each in made["templating"]["list"]} == {"datasource", "session", "job"}


def test_every_alert_has_a_test_in_which_it_fires_and_one_in_which_it_does_not() -> None:
    tests = yaml.safe_load((FOLDER / "prometheus" / "alerts_test.yml").read_text(encoding="utf-8"))["tests"]
    told = [(rule["alertname"], bool(rule["exp_alerts"])) for test in tests for rule in test["alert_rule_test"]]
    assert set(told) == {(alert.name, fires) for alert in ALERTS for fires in (True, False)}


@pytest.mark.skipif(PROMTOOL is None, reason="no promtool on PATH; Debian's package prometheus has it")
def test_the_alerts_fire_when_they_should_and_only_then() -> None:
    done = promtool("test", "rules", FOLDER / "prometheus" / "alerts_test.yml")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.skipif(PROMTOOL is None, reason="no promtool on PATH; Debian's package prometheus has it")
def test_prometheus_takes_the_configuration() -> None:
    done = promtool("check", "config", FOLDER / "prometheus" / "prometheus.yml")
    assert done.returncode == 0, done.stdout + done.stderr
