"""Weights of metrics on their way to this machine, where later runs find them without a network.

From a mirror, any folder or prefix that holds the files, or by pyiqa's own downloads. A metric counts as staged when it
can be made with the network refused, which also shows that its files are whole.
"""

import logging
import os
import tempfile
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath

from tss_ray.errors import ImageError, ObjectNotFoundError, SpecError
from tss_ray.imaging.apart import Child
from tss_ray.quality.metrics import weights_folder
from tss_ray.quality.pyiqa_metrics import need_pyiqa, probe, problem

log = logging.getLogger(__name__)

_CLIP = "clip"
"""Where pyiqa keeps what it asks for by URL alone, in torch's hub folder (pyiqa/archs/clip_model.py)."""


def stage(names: Sequence[str], read: Callable[[str], bytes] | None = None) -> Path:
    """Bring what metrics need to torch's hub folder, which TORCH_HOME moves, and return that folder.

    read: a mirror's objects by their key, which is `hub/pyiqa/FILE`, `pyiqa/FILE` or `FILE`; None: pyiqa downloads.
    Raises SpecError where pyiqa is not installed, a name is none of its metrics, a file is not there, or what was
    brought does not make the metric: then it is taken away again.
    """
    need_pyiqa()
    try:
        with Child() as child:
            for name in names:
                if read is None:
                    _fetched(child, name)
                else:
                    _mirrored(child, name, read)
    except ImageError as error:
        raise SpecError("the process that tried the metrics died twice; give it more memory") from error
    return weights_folder()


def _mirrored(child: Child, name: str, read: Callable[[str], bytes]) -> None:
    """Bring one metric's files; it names them one after the other."""
    brought: list[Path] = []
    while True:
        (facts,) = child.call(probe, (name,))
        wanted = [_place(file) for file in facts.missing]
        if not wanted and not facts.fault:
            return
        useless = facts.fault or set(wanted) & set(brought)
        if useless:
            for file in brought:
                file.unlink()
            raise SpecError(problem(facts))
        for file in wanted:
            log.info("bringing %s", file)
            _write(file, _read(file, name, read))
            brought.append(file)


def _fetched(child: Child, name: str) -> None:
    """Let pyiqa download what a metric needs, in a child that was not told to stay offline."""
    (facts,) = child.call(probe, (name,))
    if facts.fault and not facts.of_hub:
        raise SpecError(problem(facts))
    if not facts.fault and not facts.missing:
        return
    with Child() as online:
        fault = online.call(download, name)
    if not fault:
        (facts,) = child.call(probe, (name,))
        fault = problem(facts) if facts.fault or facts.missing else ""
    if fault:
        raise SpecError(
            f"{name} could not be fetched: {fault}; try again where there is a network, or give --from a folder or "
            "s3:// that holds its files"
        )


def download(name: str) -> str:
    """Make a metric with the network allowed; return why that failed, or nothing."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pyiqa's imports warn of its own dependencies' deprecations
        import pyiqa

        try:
            pyiqa.create_metric(name, device="cpu")
        except Exception as error:  # noqa: BLE001 - a hundred constructors and as many ways to a network
            return f"{type(error).__name__}: {error}"
    return ""


def _place(file: str) -> Path:
    """Return where a file belongs: where the metric looked, or for a URL where pyiqa keeps those."""
    return weights_folder() / _CLIP / PurePosixPath(file).name if "://" in file else Path(file)


def _read(file: Path, name: str, read: Callable[[str], bytes]) -> bytes:
    inside = file.relative_to(weights_folder()).as_posix() if file.is_relative_to(weights_folder()) else file.name
    for key in dict.fromkeys((f"{weights_folder().name}/{inside}", inside, file.name)):
        try:
            return read(key)
        except ObjectNotFoundError:
            continue
    raise SpecError(f"{name} needs {inside}, which the mirror has not; put it there under that key")


def _write(file: Path, data: bytes) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=file.parent, prefix=f".{file.name}.", delete=False) as half:
            half.write(data)
        os.chmod(half.name, 0o644)
        os.replace(half.name, file)
    except OSError as error:
        raise SpecError(f"{file} cannot be written: {error.strerror}; make room, or set TORCH_HOME") from error
