"""A real Prometheus beside a real run: every panel has something to show, and every alert something to watch."""

import dataclasses
import json
import math
import re
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
import ray
import yaml
from alert_rules import ALERTS
from generate import FOLDER
from panels import BOARDS
from photos import photo_bytes
from targets import make_target

from tss_ray.pipeline.job import JobResult, run_job
from tss_ray.pipeline.meters import meters, tell_upscaled
from tss_ray.records import ManifestRow
from tss_ray.spec import StoreSpec, load_spec
from tss_ray.status import told_by
from tss_ray.telemetry import names

PROMETHEUS = shutil.which("prometheus")
QUERIES = [(panel.title, query) for board in BOARDS for panel in board.panels for query in panel.queries]
RATES_S = 8
NUM_IMAGES, NUM_ROTTEN = 36, 3

pytestmark = [
    pytest.mark.ray,
    pytest.mark.skipif(PROMETHEUS is None, reason="no prometheus on PATH; Debian's package of that name has it"),
]


class Prometheus:
    """A server on a free port of this machine; it scrapes what Ray's discovery file names, every second."""

    def __init__(self, folder: Path, discovery: str) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.url = f"http://127.0.0.1:{free.getsockname()[1]}"
        config = yaml.safe_load((FOLDER / "prometheus" / "prometheus.yml").read_text(encoding="utf-8"))
        config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
        config["rule_files"] = [str(FOLDER / "prometheus" / "alerts.yml")]
        config["scrape_configs"][0]["file_sd_configs"] = [{"files": [discovery], "refresh_interval": "1s"}]
        (folder / "prometheus.yml").write_text(yaml.safe_dump(config), encoding="utf-8")
        command = [str(PROMETHEUS), f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data"]
        with (folder / "log").open("wb") as log:
            address = f"--web.listen-address={self.url.removeprefix('http://')}"
            self._process = subprocess.Popen([*command, address], stdout=log, stderr=log)

    def close(self) -> None:
        self._process.terminate()
        self._process.wait(30)

    def ask(self, path: str, **arguments: object) -> object:
        with urllib.request.urlopen(
            f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(arguments)}", timeout=10
        ) as answer:
            return json.load(answer)["data"]

    def values(self, expr: str, since_s: float) -> list[float]:
        """Return what an expression was, of all its series, in every second since then."""
        asked = self.ask("query_range", query=expr, start=since_s, end=time.time(), step=1)
        return [float(value) for series in asked["result"] for _, value in series["values"]]

    def await_value(self, expr: str, least: float, since_s: float) -> None:
        """Wait until an expression has reached a value."""
        end, seen = time.monotonic() + 30, []
        while time.monotonic() < end:
            try:
                seen = self.values(expr, since_s)
            except urllib.error.URLError:  # it is still starting
                seen = []
            if max(seen, default=-math.inf) >= least:
                return
            time.sleep(0.5)
        raise AssertionError(f"{expr} is {seen[-5:]}, not {least}")


@dataclasses.dataclass
class Watched:
    """A run that Prometheus has seen."""

    prometheus: Prometheus
    result: JobResult
    output: Path
    began_s: float


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """A Ray that reports twice a second, with the dashboard's process, since that one writes the discovery file."""
    ray.init(
        address="local",
        num_cpus=2,
        object_store_memory=200 * 2**20,
        include_dashboard=True,
        log_to_driver=False,
        logging_level="ERROR",
        _system_config={"metrics_report_interval_ms": 500},
    )
    session = ray._private.worker._global_node.get_session_dir_path()
    server = Prometheus(tmp_path_factory.mktemp("prometheus"), f"{session}/prom_metrics_service_discovery.json")
    yield server
    server.close()
    ray.shutdown()


@pytest.fixture(scope="module")
def watched(prometheus: Prometheus, tiny_model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Watched:
    """A run under a plan and a price, with rotten inputs; and, told by the same functions, what only ill runs see."""
    folder = tmp_path_factory.mktemp("watched")
    (folder / "in").mkdir()
    for i in range(NUM_IMAGES):
        (folder / "in" / f"{i:02d}.png").write_bytes(photo_bytes(i, 80, 80) if i % 12 else b"rotten")
    target = make_target(tiny_model_folder, cap=1e6, holdout_share=0.1, controller=False)
    settings = {
        "input": str(folder / "in"),
        "output": str(folder / "out"),
        "model": str(tiny_model_folder),
        "tiles.tile_px": 16,
        "tiles.overlap_px": 4,
        "budget.policy": "target",
        "budget.target": target.model_dump(),
        "compute.threads_per_actor": 1,
        "compute.block_images": 3,
        "compute.part_rows": 6,
        "telemetry.device_usd_per_hour": 3.6,
    }
    began_s = time.time()
    prometheus.await_value("up", 1, began_s)
    result = run_job(load_spec(None, settings))
    tell_what_ill_runs_see()
    prometheus.await_value(f"sum({names.ROWS.series})", NUM_IMAGES, began_s)
    prometheus.await_value(f"sum({names.IMAGES.series})", NUM_IMAGES + 1, began_s)
    for rare in (names.OUT_OF_MEMORY, names.RETRIES):  # a rate needs two looks at least
        prometheus.await_value(f"sum(count_over_time({rare.series}[{RATES_S}s]))", 3, began_s)
    prometheus.await_value(f"1 - sum({names.RUNNING.series})", 1, began_s)
    return Watched(prometheus, result, folder / "out", began_s)


def tell_what_ill_runs_see() -> None:
    row = ManifestRow(image_key="a", input_uri="a", spec_hash="0", status="quarantined", error_kind="gate", attempt=2)
    tell_upscaled(meters(), [row])
    meters().count(names.OUT_OF_MEMORY)


def test_every_panel_has_something_to_show(watched: Watched) -> None:
    bare = []
    for title, query in QUERIES:
        expr = query.expr.replace("$job", ".*").replace("$session", ".*").replace("$__rate_interval", f"{RATES_S}s")
        if not any(map(math.isfinite, watched.prometheus.values(expr.removesuffix(" or vector(0)"), watched.began_s))):
            bare.append((title, query.expr))
    assert bare == []


def test_every_alert_watches_what_there_is_and_none_fires_at_once(watched: Watched) -> None:
    for alert in ALERTS:
        for selector in re.findall(r"ray_tss_\w+(?:\{[^}]*\})?", alert.expr):
            assert watched.prometheus.values(selector, watched.began_s), f"{alert.name}: {selector}"
    rules = watched.prometheus.ask("rules")["groups"][0]["rules"]
    assert {rule["name"]: rule["health"] for rule in rules} == {alert.name: "ok" for alert in ALERTS}
    assert "firing" not in {rule["state"] for rule in rules}


def test_the_counters_say_what_the_run_did(watched: Watched) -> None:
    def last(expr: str) -> float:
        return watched.prometheus.values(expr, watched.began_s)[-1]

    totals = watched.result.totals
    assert (totals.done, totals.quarantined) == (NUM_IMAGES - NUM_ROTTEN, NUM_ROTTEN)
    assert last(f'sum({names.IMAGES.series}{{status="done"}})') == totals.done
    assert last(f'sum({names.IMAGES.series}{{kind!="gate",status="quarantined"}})') == totals.quarantined
    assert last(f"sum({names.STEPS_RUN.series})") == totals.steps
    assert last(f"sum({names.RUN_PIXELS.series})") == totals.run_px
    assert last(f"sum({names.RUN_PIXELS_TOP_RUNG.series})") == totals.run_px_top_rung
    assert last(f'sum({names.PIXELS.series}{{direction="out"}})') == totals.out_px
    assert last(f'sum({names.BYTES.series}{{direction="out"}})') == totals.output_bytes
    assert last(f"sum({names.ROWS.series})") == totals.done + totals.quarantined
    assert last(f"sum({names.DEVICE_SECONDS.series})") == pytest.approx(totals.device_seconds, rel=1e-6)
    for stage in names.STAGES:
        assert last(f'sum({names.STAGE_SECONDS.series}_count{{stage="{stage}"}})') > 0
    assert last(f"sum({names.RUNNING.series})") == 0


def test_what_the_run_wrote_of_itself_is_what_it_did(watched: Watched) -> None:
    told = told_by(str(watched.output), StoreSpec())
    assert told is not None
    assert (told.state, told.done, told.quarantined, told.num_todo) == (
        "ended",
        NUM_IMAGES - NUM_ROTTEN,
        NUM_ROTTEN,
        NUM_IMAGES,
    )
    assert told.steps == watched.result.totals.steps
    assert told.usd == pytest.approx(3.6 / 3600 * watched.result.wall_s, rel=0.5)
