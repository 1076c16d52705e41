"""What tests of `cluster/` share: where its files are, and what stands in them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]
KUBERAY = sorted((ROOT / "cluster" / "kuberay").glob("*.yaml"))
RAY_UP = sorted((ROOT / "cluster" / "ray-up").glob("*.yaml"))
CONSTRAINTS = ROOT / "cluster" / "image" / "constraints.txt"


def documents(path: Path) -> list[dict[str, Any]]:
    """Return every document of a YAML file."""
    return [document for document in yaml.safe_load_all(path.read_text(encoding="utf-8")) if document]


def of_kind(kind: str) -> list[tuple[str, dict[str, Any]]]:
    """Return the objects of a kind with the names of their files."""
    return [(path.name, d) for path in KUBERAY for d in documents(path) if d["kind"] == kind]


def ray_clusters() -> list[tuple[str, dict[str, Any]]]:
    """Return what describes a cluster: the RayCluster's own, and the one inside the RayJob."""
    own = [(name, d["spec"]) for name, d in of_kind("RayCluster")]
    return own + [(name, d["spec"]["rayClusterSpec"]) for name, d in of_kind("RayJob")]


def pins() -> dict[str, str]:
    """Return name to version of the image's constraints."""
    lines = [line for line in CONSTRAINTS.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    return dict(line.split("==") for line in lines)


def strings(node: object, path: str = "") -> Iterator[tuple[str, str]]:
    """Yield every string below a node with the path to it."""
    if isinstance(node, dict):
        for key, value in node.items():
            yield from strings(value, f"{path}.{key}")
    elif isinstance(node, list):
        for i, value in enumerate(node):
            yield from strings(value, f"{path}[{i}]")
    elif isinstance(node, str):
        yield path, node
