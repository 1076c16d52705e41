import json
import re
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import quality_judge
import tss_measure
import tss_study
from photos import photo_bytes

_SMALL = ("--steps", "1,2,7,14", "--crops", "1", "--band-crops", "1", "--band-steps", "20")


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tiny_model_folder: Path):
    """Return a function that runs the script on a tiny model with metrics that cost nothing."""
    monkeypatch.setattr(quality_judge, "metric", lambda _: lambda picture, reference: float(picture.std()))
    monkeypatch.setattr(tss_study.logging, "basicConfig", lambda **_: None)

    def main(*arguments: str) -> int:
        monkeypatch.setattr(sys, "argv", ["tss_study.py", "--model", str(tiny_model_folder), *arguments])
        return tss_study.main()

    return main


def _line(capsys) -> dict[str, object]:
    return dict(json.loads(capsys.readouterr().out.splitlines()[-1]))


def test_the_last_line_has_the_keys_that_the_protocol_names(run, capsys, tmp_path: Path) -> None:
    assert run("--limit", "2", "--variants", "uniform,tds,tds+sds", "--out", str(tmp_path), *_SMALL) == 0
    line = _line(capsys)
    listed = tss_study.__doc__.partition("null where something was not measured:")[2]
    assert set(re.findall(r"^  (\w+)", listed, re.MULTILINE)) == set(line)
    assert line["tss"] == "tds+sds"
    assert line["crops"] == 2
    assert all(line[key] is not None for key in line)
    rows = pq.read_table(tmp_path / "tss_study.parquet").to_pylist()
    methods = [f"{num} {name}" for name in ("uniform", "tds", "tds+sds") for num in (1, 2, 7, 14)]
    assert [row["method"] for row in rows] == ["bicubic", *methods, "original"] * 2
    one = {row["method"]: row["psnry"] for row in rows[: len(methods) + 1]}
    assert one["1 uniform"] == one["1 tds+sds"]
    assert len({one["7 uniform"], one["7 tds"], one["7 tds+sds"]}) == 3
    bands = pq.read_table(tmp_path / "tss_bands.parquet").to_pylist()
    assert {row["step"] for row in bands} == set(range(19))
    assert len({row["photo"] for row in bands}) == 1
    reached = pq.read_table(tmp_path / "tss_reach.parquet").to_pylist()
    assert {row["method"] for row in reached} == {"4 uniform", "4 tds", "4 late_only"}


def test_the_page_needs_no_other_file_and_says_where_its_figures_come_from(run, capsys, tmp_path: Path) -> None:
    assert run("--limit", "2", "--variants", "uniform,tds", "--out", str(tmp_path), *_SMALL) == 0
    page = (tmp_path / "tss_study.html").read_text(encoding="utf-8")
    sha256 = json.loads((Path(sys.argv[2]) / "card.json").read_text(encoding="utf-8"))["sha256"]
    assert sha256 in page
    assert "prefers-color-scheme: dark" in page
    assert page.count("<svg") > 10
    assert not re.search(r"<script|<link|src=|url\(|href=", page)
    assert page.count('class="claim"') == 16


def test_a_killed_run_goes_on_and_ends_with_the_same_values(run, capsys, tmp_path: Path, monkeypatch) -> None:
    arguments = ("--limit", "2", "--variants", "uniform,tds", "--out", str(tmp_path), *_SMALL)
    assert run(*arguments) == 0
    first = pq.read_table(tmp_path / "tss_study.parquet").to_pylist()
    (folder,) = (tmp_path / "parts").iterdir()
    sorted(folder.glob("values-*"))[0].unlink()
    measured = []
    original = tss_measure.measure
    monkeypatch.setattr(tss_study, "measure", lambda *args: measured.append(args[2].photo) or original(*args))
    assert run(*arguments, "--resume") == 0
    assert len(measured) == 1
    second = pq.read_table(tmp_path / "tss_study.parquet").to_pylist()
    assert [row | {"seconds": 0} for row in first] == [row | {"seconds": 0} for row in second]


def test_other_settings_are_never_resumed_from(run, capsys, tmp_path: Path) -> None:
    for variants in ("uniform,tds", "uniform,tds:n=3"):
        assert run("--limit", "1", "--variants", variants, "--out", str(tmp_path), "--resume", *_SMALL) == 0
    assert len(list((tmp_path / "parts").iterdir())) == 2
    rows = pq.read_table(tmp_path / "tss_study.parquet").to_pylist()
    assert {row["variant"] for row in rows} == {"bicubic", "uniform", "tds:n=3", "original"}


def test_a_folder_of_one_s_own_is_measured_beside_the_sample(run, capsys, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    for number in range(2):
        (folder / f"{number}.png").write_bytes(photo_bytes(number, 440, 440))
    (folder / "notes.txt").write_text("no image")
    assert run("--folder", str(folder), "--limit", "2", "--variants", "uniform,tds", *_SMALL) == 0
    line = _line(capsys)
    assert (line["source"], line["crops"]) == ("folder", 2)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--tuning",), "--photos"),
        (("--resume",), "--out"),
        (("--variants", "best"), "--variants"),
        (("--tss", "tds+sds", "--variants", "uniform"), "--variants"),
    ],
)
def test_what_cannot_be_done_is_refused_before_anything_is_measured(run, capsys, arguments, says: str) -> None:
    assert run(*arguments) == 2
    assert says in capsys.readouterr().err


def test_tuning_sees_the_photographs_of_validation_alone(run, capsys, tmp_path: Path, monkeypatch) -> None:
    photo = tmp_path / "photo.png"
    photo.write_bytes(photo_bytes(0, 440, 440))
    asked = []
    monkeypatch.setattr(tss_study, "photos", lambda folder, split: asked.append(split) or [photo])
    assert run("--photos", str(tmp_path), "--tuning", "--variants", "uniform,tds", *_SMALL) == 0
    assert asked == ["validation"]
    assert _line(capsys)["source"] == "tuning"
