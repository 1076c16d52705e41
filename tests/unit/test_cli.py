"""Promises of the commands that need neither Ray nor a model."""

import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tss_ray.cli import _parse_kinds, app, main
from tss_ray.errors import SpecError

runner = CliRunner()


def plan_steps(*arguments: object) -> str:
    result = runner.invoke(app, ["plan-steps", *map(str, arguments)], catch_exceptions=False)
    assert result.exit_code == 0
    return result.stdout


def timesteps(out: str) -> list[int]:
    return [int(line.split()[1]) for line in out.splitlines()[2:] if line.split()[0].isdecimal()]


def test_plan_steps_lists_the_default_plan() -> None:
    out = plan_steps("--steps", 7)
    assert out.startswith("tds (a = 0.5, n = 1.5): 7 of 1000 timesteps, cosine schedule\n")
    assert timesteps(out) == [999, 923, 783, 602, 396, 215, 75]


def test_plan_steps_takes_the_settings_of_a_plan() -> None:
    assert timesteps(plan_steps("--steps", 7, "--family", "exponential", "--a", 0.4, "--n", 1)) == [
        999, 856, 713, 570, 428, 285, 142
    ]  # fmt: skip
    assert plan_steps("--steps", 3, "--family", "polynomial") == plan_steps("--steps", 3)
    assert timesteps(plan_steps("--steps", 2, "--timesteps", 50)) == [49, 24]


def test_plan_steps_draws_only_when_asked_and_within_100_columns_in_a_pipe() -> None:
    assert "●" not in plan_steps("--steps", 7)
    out = plan_steps("--steps", 7, "--plot")
    assert out.count("●") == 14
    assert max(map(len, out.splitlines())) == 100
    assert "\x1b" not in out


def test_plan_steps_writes_an_svg(tmp_path: Path) -> None:
    plan_steps("--steps", 7, "--svg", tmp_path / "plan.svg")
    assert ET.parse(tmp_path / "plan.svg").getroot().tag == "{http://www.w3.org/2000/svg}svg"


@pytest.mark.parametrize(
    ("arguments", "remedy"),
    [
        (["--steps", "7", "--n", "9"], "n: Input should be less than or equal to 8 (got 9.0); correct it"),
        (["--steps", "7", "--family", "cubic"], "(got 'cubic'); correct it"),
        (["--steps", "51", "--timesteps", "50"], "choose fewer steps"),
        (["--steps", "0"], "choose 1 step or more"),
        (["--steps", "7", "--schedule", "linear"], "need cosine"),
        (["--steps", "7", "--svg", "{tmp}/none/plan.svg"], "give another file to --svg"),
    ],
)
def test_plan_steps_refuses_with_2_and_the_remedy(
    arguments: list[str],
    remedy: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "argv", ["tss-ray", "plan-steps", *(a.replace("{tmp}", str(tmp_path)) for a in arguments)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert remedy in capsys.readouterr().err


def test_another_try_names_all_or_kinds() -> None:
    assert _parse_kinds(None) is None
    assert _parse_kinds("all") == _parse_kinds("corrupt,all") == frozenset()
    assert _parse_kinds("corrupt, not_found") == {"corrupt", "not_found"}
    with pytest.raises(SpecError, match="write all, or kinds"):
        _parse_kinds(",")
