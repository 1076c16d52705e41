"""What a run has to do, written once as Parquet files, and output names checked before the first image."""

import io
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from tss_ray.errors import ImageError, SpecError
from tss_ray.storage.alike import alike_together
from tss_ray.storage.fingerprints import FingerprintLog, fingerprint64
from tss_ray.storage.inputs import InputItem
from tss_ray.storage.layout import check_key, keys_key, output_key
from tss_ray.storage.protocol import Store
from tss_ray.storage.shards import sample_key

ROWS_PER_FILE = 8192
KEYS_SCHEMA = pa.schema(
    [
        pa.field("image_key", pa.string(), nullable=False),
        pa.field("uri", pa.string(), nullable=False),
        pa.field("size_bytes", pa.int64()),
        pa.field("alike", pa.string()),
    ]
)


@dataclass(frozen=True, slots=True)
class KeyList:
    """A written list."""

    names: tuple[str, ...]
    """Keys of the Parquet files, in the listing's order; files of an older list may lie beside them."""
    num_listed: int
    num_todo: int


def write_key_list(
    store: Store,
    spec_hash: str,
    image_format: str,
    list_items: Callable[[], Iterable[InputItem]],
    done: Callable[[str], bool],
    together: bool = False,
    layout: str = "files",
) -> KeyList:
    """Write what is not `done` under `run/<spec_hash>/` of the output store, streaming.

    `list_items` is called again only where two output names seem to be equal, for 64-bit fingerprints are all that is
    kept of them (8 bytes a key). Keys that cannot become an output name are listed too: their rows say so.
    `together`: what is alike is listed one after the other; else the order is that of `list_items`.
    Raises SpecError where two inputs, done or not, would write the same output.
    """
    names: list[str] = []
    waiting: list[InputItem] = []
    log = FingerprintLog()
    num_listed = num_todo = 0

    def todo() -> Iterator[InputItem]:
        nonlocal num_listed
        for item in list_items():
            num_listed += 1
            target = _target(item, image_format, layout)
            if target is not None:
                log.add(target)
            if not done(item.image_key):
                yield item

    for item in alike_together(todo()) if together else todo():
        num_todo += 1
        waiting.append(item)
        if len(waiting) == ROWS_PER_FILE:
            names.append(_write(store, spec_hash, len(names), waiting))
            waiting = []
    suspects = log.repeated()
    if suspects:
        _refuse_collision(list_items(), image_format, layout, suspects)
    if waiting:
        names.append(_write(store, spec_hash, len(names), waiting))
    return KeyList(tuple(names), num_listed, num_todo)


def read_key_table(store: Store, name: str) -> pa.Table:
    """Return one file of a list as a table of KEYS_SCHEMA."""
    return pq.read_table(io.BytesIO(store.read(name)))


def read_key_file(store: Store, name: str) -> list[InputItem]:
    """Return what one file of a list holds."""
    return [InputItem(**row) for row in read_key_table(store, name).to_pylist()]


def _write(store: Store, spec_hash: str, index: int, items: list[InputItem]) -> str:
    columns = {name: [getattr(item, name) for item in items] for name in KEYS_SCHEMA.names}
    out = io.BytesIO()
    pq.write_table(pa.Table.from_pydict(columns, schema=KEYS_SCHEMA), out, compression="zstd")
    name = keys_key(spec_hash, index)
    store.write(name, out.getvalue(), "application/vnd.apache.parquet")
    return name


def _target(item: InputItem, image_format: str, layout: str) -> str | None:
    """Return what no other input may have: the output's name, or that of its sample; None for a key without one."""
    try:
        check_key(item.image_key)
    except ImageError:
        return None
    if layout == "webdataset":
        return sample_key(item.image_key, image_format)
    return output_key(item.image_key, image_format)


def _refuse_collision(items: Iterable[InputItem], image_format: str, layout: str, suspects: frozenset[int]) -> None:
    """Compare the suspects' names in full. Raises SpecError for the first two that are equal."""
    first: dict[str, str] = {}
    for item in items:
        target = _target(item, image_format, layout)
        if target is None or fingerprint64(target) not in suspects:
            continue
        if target in first:
            raise SpecError(
                f"inputs {first[target]} and {item.image_key} would both be written as {target}; rename one of them, "
                "or run them as two jobs with two outputs"
            )
        first[target] = item.image_key
