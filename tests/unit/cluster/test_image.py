"""Promises of the container file. No builder is needed: it is read as text."""

import re
import tomllib

from cluster_files import CONSTRAINTS, ROOT, pins
from packaging.requirements import Requirement
from packaging.version import Version

CONTAINERFILE = ROOT / "cluster" / "image" / "Containerfile"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def instructions() -> list[tuple[str, str]]:
    """Return (instruction, arguments); continued lines are joined, comments dropped."""
    lines = [line for line in CONTAINERFILE.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    return [(line.split(None, 1)[0], line.split(None, 1)[1]) for line in joined.splitlines() if line.strip()]


def test_every_instruction_is_one_and_the_base_comes_first() -> None:
    names = [name for name, _ in instructions()]
    assert names[0] == "FROM"
    assert set(names) <= {"FROM", "ENV", "COPY", "RUN", "USER", "WORKDIR", "CMD"}


def test_the_base_is_pinned_to_the_patch_and_a_python_that_the_package_takes() -> None:
    (base,) = [rest for name, rest in instructions() if name == "FROM"]
    found = re.fullmatch(r"python:(\d+\.\d+\.\d+)-slim-\w+", base)
    assert found, base
    requires = Requirement(f"tss-ray{PROJECT['requires-python']}").specifier
    assert Version(found[1]) in requires
    assert f"Python {Version(found[1]).major}.{Version(found[1]).minor}" in CONSTRAINTS.read_text(encoding="utf-8")


def test_every_source_of_a_copy_exists_and_is_tracked() -> None:
    copied = [rest.split()[:-1] for name, rest in instructions() if name == "COPY"]
    assert copied
    for source in (s for sources in copied for s in sources):
        assert (ROOT / source).exists(), source


def test_every_dependency_is_pinned_within_what_the_package_asks_for() -> None:
    found = pins()
    for line in PROJECT["dependencies"]:
        wanted = Requirement(line)
        assert Version(found[wanted.name]) in wanted.specifier, line
    assert list(found) == sorted(found)
    assert len(found) > len(PROJECT["dependencies"])


def test_nothing_is_installed_without_a_version() -> None:
    for run in (rest for name, rest in instructions() if name == "RUN"):
        for call in re.findall(r"pip install ([^&]*)", run):
            words = [w for w in call.split() if not w.startswith("-")]
            assert all("==" in w or w.startswith("/build") for w in words), call
        assert not re.search(r"\b(apt|apt-get|curl|wget)\b", run)


def test_the_last_user_is_not_root_and_nothing_secret_is_baked_in() -> None:
    assert [rest for name, rest in instructions() if name == "USER"][-1] == "1000:100"
    assert not re.search(r"(?i)secret|password|access_key|token", " ".join(rest for _, rest in instructions()))
