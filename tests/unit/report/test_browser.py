"""The page in a real browser, where there is one: nothing to complain of, nothing asked of a network."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tss_ray.report.build import ReportOptions, make_report

BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
FLAGS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--enable-logging=stderr")

pytestmark = pytest.mark.skipif(BROWSER is None, reason="no chromium on PATH")


def complaints(page: Path, profile: Path) -> tuple[list[str], str]:
    """Return what the console said, refused requests among it, and the document after its script ran."""
    command = [str(BROWSER), *FLAGS, f"--user-data-dir={profile}", "--dump-dom", page.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=240)
    return [line for line in done.stderr.splitlines() if ":CONSOLE" in line], done.stdout


def test_the_page_opens_without_a_complaint(picture_output: Callable[..., Path], make_row, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    html = make_report(str(picture_output(["a.png", "b.png"])), ReportOptions(device_usd_per_hour=1, devices=1)).html
    widths = "<script>document.title = [...document.images].map((i) => i.naturalWidth).join()</script></body>"
    page.write_text(html.replace("</body>", widths), encoding="utf-8")
    said, document = complaints(page, tmp_path / "profile")
    assert said == []
    assert f"<title>{','.join(['288'] * 8)}</title>" in document


def test_a_request_would_be_refused_and_seen(picture_output: Callable[..., Path], tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    html = make_report(str(picture_output(["a.png"])), ReportOptions(images=False)).html
    page.write_text(html.replace("</body>", '<img src="http://127.0.0.1:9/x.png"></body>'), encoding="utf-8")
    said, _ = complaints(page, tmp_path / "profile")
    assert any("Content Security Policy" in line for line in said)
