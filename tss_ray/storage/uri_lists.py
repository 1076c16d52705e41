"""Lists of inputs: .txt (one URI a line, # comments), .csv and .parquet (column `uri`, or the only column)."""

import csv
import io
import os
from collections.abc import Iterator
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from tss_ray.errors import InputError, SpecError
from tss_ray.spec import StoreSpec
from tss_ray.storage.fingerprints import FingerprintLog, fingerprint64
from tss_ray.storage.layout import has_image_extension
from tss_ray.storage.stores import store_at
from tss_ray.storage.uris import Location, parse_uri

LIST_EXTENSIONS = (".txt", ".csv", ".parquet")


def listed_keys(listed: Location, spec: StoreSpec) -> Iterator[tuple[str, str]]:
    """Yield (image_key, uri) of every entry; the key is what follows the longest folder common to all.

    An entry without a scheme is a path relative to the list's own folder. The list is read two or three times: for
    the common folder and for repeated entries, which are an InputError, and then to yield.
    """
    log = FingerprintLog()
    common: tuple[str, ...] | None = None
    for where in _entries(listed, spec):
        log.add(str(where))
        folder = where.parts()[:-1]
        common = folder if common is None else common[: _num_shared(common, folder)]
    suspects = log.repeated()
    if suspects:
        _refuse_repeats(listed, spec, suspects)
    for where in _entries(listed, spec):
        yield "/".join(where.parts()[len(common or ()) :]), str(where)


def _num_shared(left: tuple[str, ...], right: tuple[str, ...]) -> int:
    pairs = enumerate(zip(left, right, strict=False))
    return next((index for index, (a, b) in pairs if a != b), min(len(left), len(right)))


def _refuse_repeats(listed: Location, spec: StoreSpec, suspects: frozenset[int]) -> None:
    seen = set()
    for where in _entries(listed, spec):
        uri = str(where)
        if fingerprint64(uri) in suspects:
            if uri in seen:
                raise InputError(f"{listed} names {uri} more than once; remove the repeated lines")
            seen.add(uri)


def _entries(listed: Location, spec: StoreSpec) -> Iterator[Location]:
    """Yield the entries as locations, local paths made absolute."""
    if listed.scheme == "file":
        folder = os.path.dirname(os.path.abspath(listed.path))
    else:
        folder = str(listed).rpartition("/")[0]
    for entry in _texts(listed, spec):
        try:
            where = parse_uri(entry)
            if where.scheme == "file":
                where = parse_uri(f"{folder}/{where.path}") if not os.path.isabs(where.path) else where
            if where.scheme == "file":
                where = Location("file", "", os.path.abspath(where.path))
        except SpecError as error:
            raise InputError(f"{listed}: {error}") from error
        yield where


def _texts(listed: Location, spec: StoreSpec) -> Iterator[str]:
    read = {".txt": _lines, ".csv": _csv_cells, ".parquet": _parquet_cells}[_extension(listed.path)]
    try:
        with _open(listed, spec) as file:
            for number, text in enumerate(read(file, listed), 1):
                if not text:
                    raise InputError(f"{listed}: entry {number} is empty; remove it or fill it in")
                yield text
    except (UnicodeDecodeError, csv.Error, pa.ArrowException) as error:
        raise InputError(f"{listed} cannot be read as a list: {error}; save it as UTF-8 text or Parquet") from error
    except OSError as error:
        raise InputError(f"{listed} cannot be read: {error}; correct its name or its permissions") from error


def is_list(path: str) -> bool:
    """Say whether a file's name marks it as a list of inputs."""
    return path.lower().endswith(LIST_EXTENSIONS)


def _extension(path: str) -> str:
    return os.path.splitext(path)[1].lower()


def _open(listed: Location, spec: StoreSpec) -> BinaryIO:
    if listed.scheme == "file":
        return open(listed.path, "rb")
    folder, _, name = listed.path.rpartition("/")
    return io.BytesIO(store_at(Location(listed.scheme, listed.bucket, folder), spec).read(name))


def _lines(file: BinaryIO, listed: Location) -> Iterator[str]:
    with io.TextIOWrapper(file, encoding="utf-8-sig", newline=None) as lines:
        for line in lines:
            text = line.removesuffix("\n")
            if text.strip() and not text.lstrip().startswith("#"):
                yield text


def _csv_cells(file: BinaryIO, listed: Location) -> Iterator[str]:
    with io.TextIOWrapper(file, encoding="utf-8-sig", newline="") as text:
        rows = csv.reader(text)
        header = next(rows, [])
        column = _column(header, listed)
        if "uri" not in header and ("://" in header[0] or has_image_extension(header[0])):
            # One column without a heading: the first row is an input already.
            yield header[0]
        for row in rows:
            if row:
                yield row[column] if column < len(row) else ""


def _parquet_cells(file: BinaryIO, listed: Location) -> Iterator[str]:
    table = pq.ParquetFile(file)
    names = table.schema_arrow.names
    name = names[_column(names, listed)]
    for batch in table.iter_batches(columns=[name]):
        for cell in batch.column(0).to_pylist():
            if cell is not None and not isinstance(cell, str):
                raise InputError(f"{listed}: column {name} holds a {type(cell).__name__}; make it a string column")
            yield cell or ""


def _column(names: list[str], listed: Location) -> int:
    if "uri" in names:
        return names.index("uri")
    if len(names) == 1:
        return 0
    shown = ", ".join(names) or "none"
    raise InputError(f"{listed} has no column `uri` (columns: {shown}); rename the column that holds the URIs")
