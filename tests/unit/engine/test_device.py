"""Promises about what a device is asked to do."""

import logging

import pytest

from tss_ray.engine import device
from tss_ray.engine.device import pick_compile


def test_compiling_is_off_unless_asked_for() -> None:
    assert not pick_compile("auto")
    assert not pick_compile("off")


def test_without_a_compiler_the_job_goes_on_without_and_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(device.shutil, "which", lambda name: None)
    with caplog.at_level(logging.WARNING):
        assert not pick_compile("on")
    assert "install g++" in caplog.text
    monkeypatch.setattr(device.shutil, "which", lambda name: "/usr/bin/g++" if name == "g++" else None)
    assert pick_compile("on")
