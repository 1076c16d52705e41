"""The door: YAML files and flags in, checked settings or errors that end with the remedy out."""

from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import ValidationError

from tss_ray.errors import SpecError
from tss_ray.spec.group import CREDENTIALS, Group
from tss_ray.spec.job import JobSpec

AnyGroup = TypeVar("AnyGroup", bound=Group)


def load_spec(path: Path | None, overrides: dict[str, Any]) -> JobSpec:
    """Build a spec from a YAML file and overrides, dotted keys like `plan.n` (flags win over the file).

    Raises SpecError for an unreadable file, an unknown key, or a value out of bounds.
    """
    settings: Any = {}
    if path is not None:
        try:
            settings = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise SpecError(f"cannot read the spec {path}: {error}; correct the file or its name") from error
        if not isinstance(settings, dict):
            raise SpecError(f"{path} holds a {type(settings).__name__}: need a mapping of settings; see jobs/*.yaml")
    for dotted, value in overrides.items():
        *parents, leaf = dotted.split(".")
        node = settings
        for parent in parents:
            node = node.setdefault(parent, {})
            if not isinstance(node, dict):
                raise SpecError(f"{dotted}: {parent} is not a group of settings; remove it or correct the key")
        node[leaf] = value
    return load_group(JobSpec, settings)


def parse_settings(settings: list[str]) -> dict[str, Any]:
    """Turn `key=value` into overrides; values are YAML, so numbers, lists and null read as such.

    Raises SpecError for what is neither.
    """
    overrides = {}
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals or not key:
            raise SpecError(f"--set {setting}: need KEY=VALUE, like --set plan.n=3; correct it")
        try:
            overrides[key] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise SpecError(f"--set {setting}: the value is not YAML: {error}; quote it") from error
    return overrides


def load_group(group: type[AnyGroup], settings: dict[str, Any]) -> AnyGroup:
    """Build one group of settings alone, such as PlanSpec. Raises SpecError for an unknown key or a bad value."""
    try:
        return group.model_validate(settings)
    except ValidationError as error:
        raise SpecError(_explain(error)) from error


def _explain(error: ValidationError) -> str:
    """Put pydantic's findings on one line each, ending with the remedy."""
    lines = []
    for fault in error.errors():
        where = ".".join(str(part) for part in fault["loc"]) or "spec"
        if fault["type"] == "extra_forbidden":
            lines.append(f"{where}: no such setting; remove it or correct its spelling")
        elif fault["type"] == "missing":
            lines.append(f"{where}: missing; give it as an argument or in the spec file")
        elif fault["type"] == CREDENTIALS:
            lines.append(f"{where}: {fault['msg']}")  # and not what was given
        else:
            message = fault["msg"].removeprefix("Value error, ")
            lines.append(f"{where}: {message} (got {fault['input']!r}); correct it")
    return "\n".join(lines)
