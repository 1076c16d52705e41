"""The photographs that the embedded weights are trained on: a fixed list, fetched from Debian packages and GitHub.

`photos.csv` names every photograph by package (or owner/repository), file name and sha256, and says whether it is
trained on (`train`), measured on while a recipe is tuned (`validation`), or kept for the final figures (`heldout`).
Nothing is installed: packages and repositories are downloaded into a temporary folder, searched by hash, and thrown
away. LICENCES.md beside this file says under which terms the photographs stand.
"""

import csv
import hashlib
import logging
import mmap
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal, cast

from PIL import Image

from tss_ray.errors import TrainingError

log = logging.getLogger(__name__)

Split = Literal["train", "validation", "heldout"]
Collection = Literal["debian", "github"]

COMMITS = {
    "gianni-rosato/gb82-image-set": "502f9f94cb73d1ad5c89ce06fe6b100d0a27df8f",
    "imazen/codec-corpus": "55decfe826d350815e3af3b5ac69b882fb2943d3",
}
"""Of each repository of GitHub's, the commit whose files are listed."""

_IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")
_CONTAINER_SUFFIX = ".rcc"
"""Qt's resource files: an archive that stores WebP files as they are, which is the only kind this list needs opened."""
_ENOUGH = 0.9
"""Share of the `train` photographs that a run must have: a newer package version may have replaced a few."""
_PACKAGE_TIMEOUT_S = 1800
_LARGE_PX = 8_000_000


@dataclass(frozen=True, slots=True)
class Photo:
    """One line of photos.csv; `name` is the file's name in the folder, `width` and `height` are px.

    `package` is a package of Debian's, or owner/repository at GitHub.
    """

    package: str
    name: str
    sha256: str
    width: int
    height: int
    split: Split

    @property
    def collection(self) -> Collection:
        """Where it is fetched from."""
        return "github" if "/" in self.package else "debian"


@cache
def listed() -> tuple[Photo, ...]:
    """Return the fixed list, sorted by name."""
    with Path(__file__).with_name("photos.csv").open(encoding="utf-8", newline="") as file:
        return tuple(
            Photo(
                row["package"],
                row["name"],
                row["sha256"],
                int(row["width"]),
                int(row["height"]),
                cast(Split, row["split"]),
            )
            for row in csv.DictReader(file)
        )


def photos(folder: Path, split: Split, collections: tuple[Collection, ...] = ("debian",)) -> list[Path]:
    """Return the listed photographs of a split that lie in `folder`, sorted by name (the order decides the weights).

    Files are not hashed here; `fetch_photos` did. Raises TrainingError if there is none.
    """
    wanted = (photo for photo in listed() if photo.split == split and photo.collection in collections)
    found = sorted(folder / photo.name for photo in wanted if (folder / photo.name).exists())
    if not found:
        raise TrainingError(f"{folder} holds no photograph of the split {split}; fetch them: python jobs/train_x4.py")
    return found


def open_photo(path: Path) -> Image.Image:
    """Return the RGB pixels of a photograph. Raises TrainingError if it cannot be read."""
    try:
        with Image.open(path) as file:
            return file.convert("RGB")
    except OSError as error:
        raise TrainingError(f"{path} is no photograph: {error}; delete it and start again") from error


def least_reduction(path: Path) -> int:
    """Return by how much a file must be reduced to be sharp: 1 for a lossless one (GitHub's), 2 for Debian's."""
    return 2 if path.name in debian_names() else 1


@cache
def debian_names() -> frozenset[str]:
    """Return the names of what comes from packages: JPEG and WebP for the most part, or made of such."""
    return frozenset(photo.name for photo in listed() if photo.collection == "debian")


def measured_size(photo: Image.Image) -> Image.Image:
    """Reduce a photograph to what is measured on: by 2, above 8 megapixels by 3, so that lossy sources are sharp."""
    return photo.reduce(3 if photo.width * photo.height > _LARGE_PX else 2)


def fetch_photos(folder: Path, collections: tuple[Collection, ...] = ("debian",)) -> None:
    """Put every listed photograph of `collections` into `folder`, and each one's terms into `folder`/copyright.

    What is there with the right hash is left alone, so a second call goes on where the first stopped. Raises
    TrainingError if fewer than nine tenths of the `train` photographs are there in the end; below that, what is missing
    is logged as a warning.
    """
    folder.mkdir(parents=True, exist_ok=True)
    wanted = [photo for photo in listed() if photo.collection in collections]
    missing = {photo.sha256: photo for photo in wanted if not _is_there(folder, photo)}
    faults = []
    for package in sorted({photo.package for photo in missing.values()}):
        try:
            with tempfile.TemporaryDirectory(prefix="tss-ray-photos-") as work:
                tree = _check_out(package, Path(work)) if "/" in package else _unpack(package, Path(work))
                _keep_terms(package, tree, folder)
                _keep_photos(tree, folder, {h: p for h, p in missing.items() if p.package == package})
        except (TrainingError, OSError) as fault:
            faults.append(str(fault))
    _judge(folder, wanted, faults)


def webp_streams(data: bytes | mmap.mmap) -> Iterator[bytes]:
    """Yield every whole WebP file stored uncompressed inside `data`.

    RIFF container: "RIFF", the length of what follows as little-endian uint32, "WEBP" (Google, "WebP Container
    Specification").
    """
    start = data.find(b"RIFF")
    while start >= 0:
        size = 8 + int.from_bytes(data[start + 4 : start + 8], "little")
        whole = data[start + 8 : start + 12] == b"WEBP" and start + size <= len(data)
        if whole:
            yield data[start : start + size]
        start = data.find(b"RIFF", start + (size if whole else 4))


def _is_there(folder: Path, photo: Photo) -> bool:
    path = folder / photo.name
    return path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == photo.sha256


def _unpack(package: str, work: Path) -> Path:
    """Download a package into `work` and return the folder of its files."""
    log.info("fetching the photographs of %s", package)
    _call(["apt-get", "download", package], work)
    archive = next(work.glob("*.deb"), None)
    if archive is None:
        raise TrainingError(f"apt-get download {package} left no package behind; run it by hand to see why")
    tree = work / "tree"
    _call(["dpkg-deb", "-x", archive.name, tree.name], work)
    return tree


def _check_out(repository: str, work: Path) -> Path:
    """Fetch the listed commit of a GitHub repository, and nothing of its history, into `work`; return its files."""
    log.info("fetching the photographs of %s", repository)
    _call(["git", "init", "--quiet", "tree"], work)
    tree = work / "tree"
    _call(["git", "fetch", "--quiet", "--depth=1", f"https://github.com/{repository}", COMMITS[repository]], tree)
    _call(["git", "checkout", "--quiet", "FETCH_HEAD"], tree)
    return tree


def _call(command: list[str], work: Path) -> None:
    if shutil.which(command[0]) is None:
        raise TrainingError(f"{command[0]} is not on this machine; fetch on Debian or Ubuntu and copy the folder here")
    try:
        done = subprocess.run(
            command,
            cwd=work,
            env=os.environ | {"GIT_TERMINAL_PROMPT": "0"},  # a repository that is gone looks private, and git would ask
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_PACKAGE_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise TrainingError(f"{' '.join(command)} took over {_PACKAGE_TIMEOUT_S} s; start again, it goes on") from error
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        remedy = "run apt-get update, then" if command[0] == "apt-get" else "once that is mended,"
        raise TrainingError(f"{' '.join(command)} failed: {last}; {remedy} start again")


def _keep_terms(package: str, tree: Path, folder: Path) -> None:
    """Copy Debian's copyright file, or every LICENSE of a repository, named by its path."""
    found = {package: tree / "usr/share/doc" / package / "copyright"}
    if "/" in package:
        name = package.split("/")[1]
        found = {"__".join((name, *path.relative_to(tree).parts)): path for path in tree.rglob("LICENSE")}
    for name, source in found.items():
        if source.is_file():  # a link into another package's folder points nowhere in this tree
            (folder / "copyright").mkdir(exist_ok=True)
            shutil.copyfile(source, folder / "copyright" / name)


def _keep_photos(tree: Path, folder: Path, wanted: dict[str, Photo]) -> None:
    """Write what is wanted (by sha256) and found in the tree under its listed name."""
    for data in _candidates(tree):
        photo = wanted.pop(hashlib.sha256(data).hexdigest(), None)
        if photo is not None:
            part = folder / f"{photo.name}.part"
            part.write_bytes(data)
            os.replace(part, folder / photo.name)
        if not wanted:
            return


def _candidates(tree: Path) -> Iterator[bytes]:
    for path in sorted(tree.rglob("*")):
        if path.is_symlink() or not path.is_file():
            continue
        if path.suffix.lower() in _IMAGE_SUFFIXES:
            yield path.read_bytes()
        elif path.suffix == _CONTAINER_SUFFIX and path.stat().st_size:
            with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                yield from webp_streams(data)


def _judge(folder: Path, wanted: list[Photo], faults: list[str]) -> None:
    missing = [photo for photo in wanted if not _is_there(folder, photo)]
    if not missing:
        return
    packages = ", ".join(sorted({photo.package for photo in missing}))
    reason = "; ".join(dict.fromkeys(faults)) or "the packages unpacked here are of other versions, without these files"
    train = [photo for photo in wanted if photo.split == "train"]
    lost = [photo for photo in missing if photo.split == "train"]
    if len(lost) > (1 - _ENOUGH) * len(train):
        raise TrainingError(
            f"{len(missing)} of {len(wanted)} photographs are missing from {folder} ({packages}): {reason}; "
            "run apt-get update on Debian 12 or a later release (or see that GitHub is reachable) and start again, "
            "or copy a filled folder there"
        )
    names = ", ".join(photo.name for photo in missing)
    log.warning("going on without %d photographs: %s (%s)", len(missing), names, reason)
