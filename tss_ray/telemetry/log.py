"""Structured logs: one JSON object a line, with the job, the run and the image that a line is about."""

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Literal, TextIO

FIELDS = (
    "image_key",
    "status",
    "error_kind",
    "stage",
    "num_images",
    "num_listed",
    "num_todo",
    "num_done",
    "num_quarantined",
    "seconds",
)
"""What a line may carry beside its message, given as `extra`; with `job_id` and `run_id` the contract with whoever
collects the logs."""

LogFormat = Literal["text", "json"]
LogLevel = Literal["debug", "info", "warning"]
_TEXT = "%(levelname)s %(name)s: %(message)s"
_OURS = "tss_ray"


class JsonFormatter(logging.Formatter):
    """A line is `time` (UTC, ISO 8601), `level`, `logger`, `message`, what is always said, FIELDS, and `traceback`."""

    def __init__(self, **always: str) -> None:
        """`always` stands on every line."""
        super().__init__()
        self._always = always

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, without a line break in it."""
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **self._always,
        }
        line |= {name: getattr(record, name) for name in FIELDS if hasattr(record, name)}
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=True, default=str)  # a key may hold what is no valid UTF-8


def configure(log_format: LogFormat, level: LogLevel | None, stream: TextIO | None = None, **always: str) -> None:
    """Let the package's loggers of this process write to `stream` (standard error) as asked for; again replaces it.

    Without a level JSON says `info` and more, and text is left as the process has it.
    """
    ours = logging.getLogger(_OURS)
    before = [handler for handler in ours.handlers if isinstance(handler, _Handler)]
    for handler in before:
        ours.removeHandler(handler)
    if log_format == "text" and level is None:
        if before:
            ours.propagate = True
            ours.setLevel(logging.NOTSET)
        return
    handler = _Handler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter(**always) if log_format == "json" else logging.Formatter(_TEXT))
    ours.addHandler(handler)
    ours.setLevel((level or "info").upper())
    ours.propagate = False


class _Handler(logging.StreamHandler[TextIO]):
    """Ours, told apart from those that somebody else added."""
