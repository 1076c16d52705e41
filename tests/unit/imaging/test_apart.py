"""Promises of calls in a child process."""

import os
import signal

import numpy as np
import pytest
from photos import photo_bytes
from poison_files import POISON_PATH, kills_the_decoder

from tss_ray.errors import DecodeError, EngineError, ImageError
from tss_ray.imaging.apart import Child
from tss_ray.imaging.decode import decode

MAX_PX = 10_000


@pytest.fixture
def poison(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", POISON_PATH)
    monkeypatch.syspath_prepend(POISON_PATH)


def test_what_a_child_decodes_is_what_we_would_have() -> None:
    data = photo_bytes(1, 40, 30)
    with Child() as child:
        apart = child.call(decode, data, MAX_PX)
    here = decode(data, MAX_PX)
    assert np.array_equal(apart.pixels, here.pixels)
    assert (apart.mode, apart.format, apart.icc_profile) == (here.mode, here.format, here.icc_profile)


def test_a_rotten_file_is_refused_as_it_would_be_here() -> None:
    with Child() as child:
        with pytest.raises(DecodeError) as apart:
            child.call(decode, b"rotten", MAX_PX)
        with pytest.raises(DecodeError) as here:
            decode(b"rotten", MAX_PX)
        assert (apart.value.kind, str(apart.value)) == (here.value.kind, str(here.value))
        assert child.call(decode, photo_bytes(1, 8, 8), MAX_PX).pixels.shape == (8, 8, 3)


def test_a_file_that_kills_twice_is_told_and_the_next_one_is_decoded(poison: None) -> None:
    with Child() as child:
        assert child.call(decode, photo_bytes(1, 8, 8), MAX_PX).pixels.shape == (8, 8, 3)
        with pytest.raises(ImageError, match=r"signal 9.*replace the file") as error:
            child.call(decode, kills_the_decoder(photo_bytes(0, 24, 20)), MAX_PX)
        assert error.value.kind == "worker_killed"
        assert child.call(decode, photo_bytes(1, 8, 8), MAX_PX).pixels.shape == (8, 8, 3)


def test_a_child_that_somebody_else_killed_is_replaced_and_nobody_accused() -> None:
    with Child() as child:
        pid = child.call(os.getpid)
        os.kill(pid, signal.SIGKILL)
        assert child.call(decode, photo_bytes(1, 8, 8), MAX_PX).pixels.shape == (8, 8, 3)
        assert child.call(os.getpid) != pid


def test_what_a_codec_prints_is_no_answer() -> None:
    with Child() as child:
        assert child.call(os.write, 1, b"(chatter)") == 9
        assert child.call(abs, -3) == 3


def test_a_program_fault_is_no_image_fault() -> None:
    with Child() as child, pytest.raises(EngineError, match=r"(?s)ZeroDivisionError.*please report"):
        child.call(divmod, 1, 0)


def test_no_child_is_left_behind() -> None:
    with Child() as child:
        pid = child.call(os.getpid)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
