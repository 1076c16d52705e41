"""Promises of `tss-ray report`, from committed rows and pictures to the two files."""

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tss_ray.cli import app, main
from tss_ray.storage.layout import SPEC_KEY


def report(*arguments: object) -> str:
    result = CliRunner().invoke(app, ["report", *map(str, arguments)], catch_exceptions=False)
    assert result.exit_code == 0
    return result.stdout


def read(output: Path) -> tuple[str, dict[str, object]]:
    folder = output / "report"
    return (folder / "report.html").read_text(), json.loads((folder / "report.json").read_text())


def test_a_report_lies_beside_the_output_and_holds_every_section(picture_output: Callable[..., Path]) -> None:
    output = picture_output(["a.png", "b/c.png"])
    printed = report(output)
    html, data = read(output)
    headings = re.findall(r"<h2>(.*?)</h2>", html)
    assert headings == [
        "Where the time went", "Steps", "Quality", "Folders", "Quarantine", "Worst by LR consistency", "At random",
        "Provenance",
    ]  # fmt: skip
    assert html.count("data:image/webp;base64,") == 2 * 2 * 2
    assert html.count('type="range"') == 4
    assert html.count("<svg") == 4
    assert data["totals"]["done"] == 2
    assert data["totals"]["nfe_saved"] == pytest.approx(1 - 7 / 15)
    assert "2  images upscaled" in printed
    assert str(output / "report/report.html") in printed


def test_the_page_loads_nothing(picture_output: Callable[..., Path]) -> None:
    output = picture_output(["a.png"])
    report(output)
    html, _ = read(output)
    assert not re.search(r"""(?:src|href)\s*=\s*["'](?!data:)""", html)
    assert "http" not in re.sub(r'http-equiv="Content-Security-Policy"', "", html)


def test_money_is_told_only_where_a_price_is_given(picture_output: Callable[..., Path]) -> None:
    output = picture_output(["a.png", "b.png"])
    assert "$" not in report(output, "--no-images")
    assert read(output)[1]["cost"]["usd"] is None
    printed = report(output, "--no-images", "--device-usd-per-hour", 3.6, "--devices", 2)
    data = read(output)[1]
    assert data["cost"]["usd"] == pytest.approx(0.06)  # two devices, 30 s
    idle = data["device_time"]["parts"][-1]
    assert (idle["name"], idle["seconds"]) == ("idle", pytest.approx(56 - 12 - 26))
    assert "$30.00  per 1,000 images" in printed


def test_parts_of_time_reconcile_within_a_hundredth(picture_output: Callable[..., Path]) -> None:
    output = picture_output(["a.png", "b.png"])
    report(output, "--no-images", "--devices", 3)
    for name in ("image_time", "device_time"):
        whole = read(output)[1][name]
        assert sum(part["seconds"] for part in whole["parts"]) == pytest.approx(whole["seconds"], rel=0.01)
        assert all(part["seconds"] >= 0 for part in whole["parts"])


def test_without_images_no_picture_is_read_and_the_galleries_are_tables(write_output, make_row) -> None:
    output = write_output([make_row("gone/<i>.png")])
    report(output, "--no-images")
    html, data = read(output)
    assert "<figure" not in html
    assert "gone/&lt;i&gt;.png" in html
    assert data["worst"][0]["image_key"] == "gone/<i>.png"


def test_quarantine_is_listed_with_what_can_be_done(write_output, make_row, make_fault) -> None:
    output = write_output([make_row("a"), make_fault("b"), make_fault("[c].png", "too_large")])
    printed = report(output, "--no-images")
    html, data = read(output)
    assert "b &lt;b&gt;is&lt;/b&gt; damaged; replace it" in html
    assert [fault["kind"] for fault in data["faults"]] == ["corrupt", "too_large"]
    assert re.search(r"too_large +1 +\[c\]\.png", printed)


def test_a_report_can_go_elsewhere_and_is_the_same_twice(write_output, make_row, tmp_path: Path) -> None:
    output = write_output([make_row("a")])
    texts = []
    for name in ("one", "two"):
        report(output, "--to", tmp_path / name)
        texts.append((tmp_path / name / "report.html").read_text())
    assert texts[0] == texts[1]
    assert not (output / "report").exists()


def test_provenance_names_model_licence_settings_and_versions(write_output, make_row) -> None:
    card = Path(sys.modules["tss_ray"].__path__[0]) / "models/weights/tss-x4-small/card.json"
    sha256 = json.loads(card.read_text())["sha256"]
    output = write_output([make_row("a", model_id="tss-x4-small", model_sha256=sha256, seed=5), make_row("b")])
    (output / SPEC_KEY).parent.mkdir()
    (output / SPEC_KEY).write_text(json.dumps({"spec_hash": "abc", "spec": {"input": "/photos", "store": {}}}))
    report(output, "--no-images")
    html, data = read(output)
    origin = data["provenance"]
    assert origin["licences"] == {sha256: "Apache-2.0"}
    assert {entry["value"] for entry in origin["columns"]["seed"]} == {5, None}
    assert origin["settings"]["spec"]["input"] == "/photos"
    assert "/photos" in html
    assert "duckdb" in origin["report_made_with"]


def test_settings_that_cannot_be_read_and_unknown_weights_are_no_obstacle(write_output, make_row) -> None:
    output = write_output([make_row("a", model_sha256="f" * 64)])
    (output / SPEC_KEY).parent.mkdir()
    (output / SPEC_KEY).write_text("{")
    report(output)
    origin = read(output)[1]["provenance"]
    assert (origin["settings"], origin["licences"]) == (None, {"f" * 64: None})


@pytest.mark.parametrize(
    ("arguments", "remedy"),
    [(["{tmp}/nothing"], "give the OUTPUT of a run"), (["gs://b/x"], "copy the data to S3")],
)
def test_report_refuses_with_2_and_the_remedy(
    arguments: list[str],
    remedy: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "argv", ["tss-ray", "report", *(a.replace("{tmp}", str(tmp_path)) for a in arguments)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert remedy in " ".join(capsys.readouterr().err.split())


def test_without_duckdb_the_message_names_the_extra(
    write_output, make_row, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    output = write_output([make_row("a")])
    monkeypatch.setitem(sys.modules, "duckdb", None)
    monkeypatch.setattr(sys, "argv", ["tss-ray", "report", str(output)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert "pip install 'tss-ray[report]'" in " ".join(capsys.readouterr().err.split())
