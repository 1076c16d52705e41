"""The contract between the rooms: who may import whom, and what a light import must not drag in."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

import tss_ray

assert tss_ray.__file__ is not None
PACKAGE = Path(tss_ray.__file__).parent

BASE = frozenset({"errors"})
IMAGES = BASE | {"records", "diffusion", "imaging"}
ALLOWED: dict[str, frozenset[str]] = {
    "errors": frozenset(),
    "spec": BASE,
    "records": BASE,
    "diffusion": BASE,
    "imaging": BASE,
    "models": BASE | {"diffusion", "imaging"},
    "budget": BASE | {"spec"},
    "quality": BASE | {"imaging"},
    "storage": BASE | {"spec", "records"},
    "engine": IMAGES | {"models"},
    "training": IMAGES | {"models", "quality"},
    "report": BASE | {"spec", "records", "diffusion", "imaging", "quality", "storage", "budget"},
    "telemetry": BASE,
    "verify": BASE | {"spec", "records", "storage", "imaging"},
    "pipeline": IMAGES | {"spec", "models", "budget", "quality", "storage", "engine", "telemetry"},
    "display": BASE | {"spec", "pipeline", "storage"},
    "status": BASE | {"spec", "display", "storage"},
    "cli_cluster": BASE | {"spec", "pipeline", "status"},
    "cli_models": BASE | {"spec", "models", "quality", "storage", "pipeline"},
    "cli_plan": BASE | {"spec", "budget", "pipeline", "report"},
    "cli_report": BASE | {"spec", "report"},
    "cli": BASE
    | {"spec", "cli_cluster", "cli_models", "cli_plan", "cli_report", "display"}
    | {"budget", "pipeline", "storage", "training", "report", "verify"},
    "job_entry": frozenset({"errors", "cli"}),
}
"""What each room may import besides itself. A new line belongs here only if DESIGN's order of rooms allows it."""

CORE = (
    "diffusion",
    "imaging",
    "engine",
    "budget",
    "models",
    "quality",
    "training",
    "report",
    "telemetry",
    "records",
    "spec",
    "errors",
)
"""The rooms that must work without Ray, boto3 and pyiqa."""

IMPORT_ALL = """
import importlib, json, pkgutil, sys
room = importlib.import_module(sys.argv[1])
for module in pkgutil.walk_packages(getattr(room, "__path__", []), room.__name__ + "."):
    importlib.import_module(module.name)
loaded = [name for name in sys.argv[2:] if name in sys.modules]
ours = [name for name in sys.modules if name.startswith("tss_ray.")]
print(json.dumps([loaded, ours]))
"""


def rooms() -> set[str]:
    found = {path.stem for path in PACKAGE.glob("*.py")} | {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    return found - {"__init__"}


def sources(room: str) -> list[Path]:
    return sorted((PACKAGE / room).rglob("*.py")) or [PACKAGE / f"{room}.py"]


def imported(path: Path) -> set[str]:
    """Return every dotted module that a file imports, at the top or inside functions."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            assert node.module is not None
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def in_a_fresh_interpreter(code: str, *arguments: str) -> list[list[str]]:
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    answer: list[list[str]] = json.loads(done.stdout.splitlines()[-1])
    return answer


@pytest.mark.parametrize("room", CORE)
def test_a_core_room_loads_neither_ray_nor_boto3_nor_pyiqa(room: str) -> None:
    loaded, ours = in_a_fresh_interpreter(IMPORT_ALL, f"tss_ray.{room}", "ray", "boto3", "botocore", "pyiqa")
    assert loaded == []
    expected = {path for path in sources(room) if path.name != "__init__.py"}
    assert {
        f"tss_ray.{path.relative_to(PACKAGE).with_suffix('').as_posix().replace('/', '.')}" for path in expected
    } <= set(ours)


LOCAL_WORK = """
import json, sys, tempfile
from tss_ray.spec import StoreSpec
from tss_ray.storage.inputs import list_inputs
from tss_ray.storage.stores import open_store
import tss_ray.storage.key_list, tss_ray.storage.ledger
with tempfile.TemporaryDirectory() as folder:
    open_store(folder, StoreSpec()).write("a.png", b"x")
    assert [item for item in list_inputs(folder, StoreSpec())]
before = [name for name in ("ray", "torch", "boto3", "botocore") if name in sys.modules]
open_store("s3://bucket/prefix", StoreSpec())
print(json.dumps([before, [name for name in ("ray", "torch", "boto3") if name in sys.modules]]))
"""


def test_storage_loads_boto3_only_when_s3_is_named_and_never_ray_or_torch() -> None:
    before, after = in_a_fresh_interpreter(LOCAL_WORK)
    assert before == []
    assert after == ["boto3"]


def test_every_room_stands_in_the_table() -> None:
    assert rooms() == ALLOWED.keys()


def test_the_table_itself_descends() -> None:
    settled: set[str] = set()
    while len(settled) < len(ALLOWED):
        ready = {room for room, allowed in ALLOWED.items() if room not in settled and allowed <= settled}
        assert ready, f"a circle among {sorted(ALLOWED.keys() - settled)}"
        settled |= ready


@pytest.mark.parametrize("room", sorted(ALLOWED))
def test_imports_descend_only(room: str) -> None:
    for path in sources(room):
        ours = {name.split(".")[1] for name in imported(path) if name.startswith("tss_ray.")}
        assert ours - {room} <= ALLOWED[room], path


def test_ray_is_imported_in_the_pipeline_room_only() -> None:
    importers = {
        room for room in ALLOWED for path in sources(room) if any(n.split(".")[0] == "ray" for n in imported(path))
    }
    assert importers == {"pipeline"}
