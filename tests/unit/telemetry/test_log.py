"""Promises of structured logs: a line is one JSON object and says which run and which image it is about."""

import io
import json
import logging
from collections.abc import Iterator

import pytest

from tss_ray.telemetry.log import configure


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    stream = io.StringIO()
    configure("json", None, stream, run_id="abc", job_id="01000000")
    yield stream
    configure("text", None)


def told(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_says_job_run_and_image(lines: io.StringIO) -> None:
    logging.getLogger("tss_ray.pipeline.x").info("it is %s", "rotten", extra={"image_key": "a.png", "other": 1})
    (line,) = told(lines)
    assert line.pop("time")
    assert line == {
        "level": "info",
        "logger": "tss_ray.pipeline.x",
        "message": "it is rotten",
        "run_id": "abc",
        "job_id": "01000000",
        "image_key": "a.png",
    }


def test_odd_keys_and_line_breaks_stay_on_one_line(lines: io.StringIO) -> None:
    logging.getLogger("tss_ray").warning("two\nlines", extra={"image_key": "a\udcff\n.png"})
    (line,) = told(lines)
    assert (line["message"], line["image_key"]) == ("two\nlines", "a\udcff\n.png")
    assert lines.getvalue().isascii(), "a key may hold what no UTF-8 can"


def test_an_exception_comes_with_its_traceback(lines: io.StringIO) -> None:
    try:
        raise RuntimeError("boom")
    except RuntimeError:
        logging.getLogger("tss_ray").exception("it failed")
    (line,) = told(lines)
    assert "RuntimeError: boom" in str(line["traceback"])


def test_json_begins_at_info_and_levels_are_kept(lines: io.StringIO) -> None:
    logging.getLogger("tss_ray").debug("no")
    assert not told(lines)
    configure("json", "debug", lines)
    logging.getLogger("tss_ray").debug("yes")
    assert [line["message"] for line in told(lines)] == ["yes"]


def test_configured_again_it_does_not_say_everything_twice(lines: io.StringIO) -> None:
    configure("json", None, lines, run_id="def")
    logging.getLogger("tss_ray").info("once")
    assert [line["run_id"] for line in told(lines)] == ["def"]


def test_text_without_a_level_leaves_the_process_as_it_was(
    lines: io.StringIO, caplog: pytest.LogCaptureFixture
) -> None:
    configure("text", None)
    logging.getLogger("tss_ray").warning("as ever")
    assert not lines.getvalue()
    assert "as ever" in caplog.text
    with caplog.at_level(logging.INFO, "tss_ray"):
        configure("text", None)
        assert logging.getLogger("tss_ray").level == logging.INFO
