"""From what `--model` says to a folder on this machine: an embedded name, a path, s3://bucket/prefix, hf://repo@revision.

What is fetched lies in a cache that all workers of a machine share: the first fetches under a lock, the others wait for
it and find it. A folder appears there by a rename, so it is whole or absent.
"""

import fcntl
import hashlib
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Protocol

from tss_ray.errors import ModelError
from tss_ray.models.card import CARD_FILE, WEIGHTS_FILE
from tss_ray.models.diffusers_folder import INDEX_FILE, README_FILE

log = logging.getLogger(__name__)

HUB = "hf://"
_S3 = "s3://"
_VARIANT_MARKS = (".fp16.", ".bf16.", ".non_ema.")
_UNUSED = frozenset({"safety_checker", "feature_extractor", "image_encoder"})
"""Folders of pipelines that no family reads; the first alone is 1.2 GB."""


class _Listed(Protocol):
    @property
    def key(self) -> str: ...
    @property
    def size_bytes(self) -> int: ...
    @property
    def etag(self) -> str | None: ...


class Objects(Protocol):
    """What is needed of an object store."""

    def list(self, prefix: str = "") -> Iterable[_Listed]:
        """Yield what lies there."""

    def read(self, key: str, max_bytes: int | None = None) -> bytes:
        """Return an object's bytes."""


@dataclass(frozen=True)
class Source:
    """Where models come from. cache: a folder on this machine; None: ~/.cache/tss-ray/models, the hub in its own."""

    open_objects: Callable[[str], Objects]
    cache: Path | None = None
    allow_pickles: bool = False


def is_remote(name: str) -> bool:
    """Tell whether a model must be fetched."""
    return name.startswith((HUB, _S3))


def fetch(name: str, source: Source) -> str:
    """Return a name that `load_model` takes: the folder of what was fetched; other names as they are.

    Raises ModelError where there is no such model or the hub cannot be reached, and what the object store raises.
    """
    if name.startswith(HUB):
        return str(_from_hub(name, source))
    if name.startswith(_S3):
        return str(_from_objects(name, source))
    return name


def wanted(names: Iterable[str], allow_pickles: bool) -> list[str]:
    """Return which files of a checkpoint are needed, sorted: configurations, and of weights one kind in each folder.

    Safetensors go before pickles, which are only taken if they are allowed, and full precision before its variants. A
    root with a YAML file and without what our folders and those of `diffusers` have is taken for ResShift's: its YAML
    files and all weights of the root.
    """
    names = _near(names)
    if _is_resshift(names):
        return _of_root(names, allow_pickles)
    kept = [name for name in names if _is_text(name)]
    for folder in sorted({str(PurePosixPath(name).parent) for name in names}):
        here = [name for name in names if str(PurePosixPath(name).parent) == folder]
        safe = [name for name in here if name.endswith(".safetensors")]
        weights = safe or [name for name in here if allow_pickles and name.endswith(".bin")]
        if folder == ".":  # a root may hold whole checkpoints of other programs
            weights = [name for name in weights if name == WEIGHTS_FILE]
        kept += [name for name in weights if not _is_variant(name)] or weights
    return sorted(kept)


def pickled(names: Iterable[str]) -> list[str]:
    """Return of which weights of a checkpoint there are pickles alone, sorted: each without its variants."""
    with_them = set(wanted(names := list(names), allow_pickles=True)) - set(wanted(names, allow_pickles=False))
    return sorted(name for name in with_them if name.endswith((".bin", ".pth")))


def _near(names: Iterable[str]) -> list[str]:
    """Return the files of the root and of its folders, without those that are never read."""
    parted = ((name, PurePosixPath(name).parts) for name in names)
    return [name for name, parts in parted if len(parts) <= 2 and ".." not in name and parts[0] not in _UNUSED]


def _is_resshift(names: Iterable[str]) -> bool:
    return not {INDEX_FILE, WEIGHTS_FILE} & set(names) and any(_is_root_config(name) for name in names)


def _is_root_config(name: str) -> bool:
    return "/" not in name and name.endswith((".yaml", ".yml"))


def _of_root(names: Iterable[str], allow_pickles: bool) -> list[str]:
    """Return the card, the configurations and of each weights one file: safetensors, or a pickle if that is allowed."""
    root = [name for name in names if "/" not in name]
    by_stem = {PurePosixPath(name).stem: name for name in root if allow_pickles and name.endswith(".pth")}
    by_stem |= {PurePosixPath(name).stem: name for name in root if name.endswith(".safetensors")}
    return sorted([*by_stem.values(), *(name for name in root if name == CARD_FILE or _is_root_config(name))])


def _is_text(name: str) -> bool:
    is_root = "/" not in name
    return name in (INDEX_FILE, CARD_FILE, README_FILE) if is_root else name.endswith((".json", ".txt"))


def _is_variant(name: str) -> bool:
    return any(mark in name for mark in _VARIANT_MARKS)


def _from_objects(name: str, source: Source) -> Path:
    objects = source.open_objects(name)
    listed = {each.key: each for each in objects.list()}
    keys = wanted(listed, source.allow_pickles)
    if not set(keys) - {README_FILE}:
        raise ModelError(f"{name} holds neither {CARD_FILE} nor {INDEX_FILE}; give the prefix of a model's folder")
    _refuse_pickles(name, listed, source)
    cache = source.cache or Path.home() / ".cache" / "tss-ray" / "models"
    folder = cache / f"{_short(name)}-{_fingerprint(listed[key] for key in keys)}"
    if folder.is_dir():
        return folder
    with _lock(folder):
        if not folder.is_dir():
            log.info("fetching %s, %d files, %d bytes", name, len(keys), sum(listed[key].size_bytes for key in keys))
            _fill(folder, keys, objects)
    return folder


def _refuse_pickles(name: str, listed: Iterable[str], source: Source) -> None:
    """Raise ModelError, before anything is fetched, where weights are pickles alone and these are not allowed."""
    if not source.allow_pickles and (found := pickled(listed)):
        raise ModelError(
            f"{name} has {', '.join(found)} as pickles alone, which may run code as they are read; add "
            "--allow-pickles (in a job: --set checkpoint.allow_pickles=true), which takes tensors alone of them"
        )


def _fill(folder: Path, keys: Iterable[str], objects: Objects) -> None:
    """Make the folder with what the objects hold, at once."""
    half = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        for key in keys:
            (half / key).parent.mkdir(parents=True, exist_ok=True)
            (half / key).write_bytes(objects.read(key))
        half.chmod(0o755)
        os.replace(half, folder)
    except OSError as error:
        raise ModelError(f"{folder} cannot be written: {error.strerror}; make room, or set checkpoint.cache") from error
    finally:
        shutil.rmtree(half, ignore_errors=True)


@contextmanager
def _lock(folder: Path) -> Iterator[None]:
    """Hold what belongs to a folder of the cache; it is free again when its holder dies."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        stream = (folder.parent / f".{folder.name}.lock").open("w")
    except OSError as error:
        raise ModelError(f"{folder.parent} cannot be written: {error.strerror}; set checkpoint.cache") from error
    with stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def _short(name: str) -> str:
    return PurePosixPath(name.rstrip("/")).name or "model"


def _fingerprint(listed: Iterable[_Listed]) -> str:
    told = sorted(f"{each.key}\0{each.size_bytes}\0{each.etag}" for each in listed)
    return hashlib.sha256("\n".join(told).encode()).hexdigest()[:16]


def _from_hub(name: str, source: Source) -> Path:
    try:
        from huggingface_hub import HfApi, errors, snapshot_download  # here: seconds, and an extra
    except ImportError as error:
        raise ModelError(f"{name} needs huggingface_hub; pip install 'tss-ray[models]'") from error
    repo, _, revision = name.removeprefix(HUB).partition("@")
    if len(PurePosixPath(repo).parts) != 2 or repo.count("/") != 1:
        raise ModelError(f"{name}: need hf://owner/name, with @revision if it is to stay what it is; correct it")
    wish, cache = revision or None, source.cache
    try:
        listed = HfApi().list_repo_files(repo, revision=wish)
        _refuse_pickles(name, listed, source)
        files = wanted(listed, source.allow_pickles)
        return Path(snapshot_download(repo, revision=wish, cache_dir=cache, allow_patterns=files))
    except ModelError:
        raise
    except errors.GatedRepoError as error:
        raise ModelError(
            f"{name} asks for consent; accept its terms on the hub, and log in there with a token"
        ) from error
    except (errors.RepositoryNotFoundError, errors.RevisionNotFoundError, errors.HFValidationError) as error:
        raise ModelError(f"{name}: the hub has no such repository or revision; correct it, or log in") from error
    except Exception as error:  # noqa: BLE001 - no network, or told to stay offline: each transport has errors of its own
        reason = type(error).__name__
    try:
        return Path(snapshot_download(repo, revision=wish, cache_dir=cache, local_files_only=True))
    except (OSError, ValueError) as error:
        raise ModelError(
            f"{name}: the hub cannot be reached ({reason}) and its cache has no such model; fetch it where there is a "
            "network with `tss-ray models fetch`, or give its folder"
        ) from error
