"""Which steps were promised to which images, written before they begin: a retry and a resumed run keep to it."""

import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from tss_ray.errors import StorageError
from tss_ray.storage.layout import promises_key, promises_prefix
from tss_ray.storage.protocol import Store

ROWS_PER_FILE = 8192
_SCHEMA = pa.schema(
    [
        pa.field("block", pa.string(), nullable=False),
        pa.field("image_key", pa.string(), nullable=False),
        pa.field("multiplier", pa.float64(), nullable=False),
        pa.field("share", pa.float64(), nullable=False),
        pa.field("device_s", pa.float64(), nullable=False),
    ]
)


@dataclass(frozen=True, slots=True)
class Promised:
    """The point of the trade that an image's steps follow from; see `budget.allocation.Choice`."""

    multiplier: float
    share: float
    device_s: float = 0.0
    """That the image was expected to take; 0 for what cannot be read."""


class PromiseBook:
    """Appends promises of one spec. One process writes; every `add` is on disk when it returns.

    The last file is written again with every block, until it is full: a resumed run has few files to read.
    """

    def __init__(self, store: Store, spec_hash: str) -> None:
        """Begin a new file after those that are there."""
        self._store, self._spec_hash = store, spec_hash
        self._index = num_files(store, spec_hash)
        self._rows: list[dict[str, object]] = []

    def add(self, block: str, keys: Sequence[str], promised: Sequence[Promised]) -> None:
        """Write down a block's promises, one for each key."""
        self._rows += [
            {"block": block, "image_key": key, **asdict(each)} for key, each in zip(keys, promised, strict=True)
        ]
        out = io.BytesIO()
        pq.write_table(pa.Table.from_pylist(self._rows, schema=_SCHEMA), out, compression="zstd")
        name = promises_key(self._spec_hash, self._index)
        self._store.write(name, out.getvalue(), "application/vnd.apache.parquet")
        if len(self._rows) >= ROWS_PER_FILE:
            self._index, self._rows = self._index + 1, []


def num_files(store: Store, spec_hash: str) -> int:
    """Return how many files of promises there are."""
    return sum(1 for _ in store.list(promises_prefix(spec_hash)))


def read_promises(store: Store, spec_hash: str, first: int = 0) -> Iterator[tuple[str, str, Promised]]:
    """Yield (block, image_key, what was promised) in the order of writing, from the file of number `first` on.

    Raises StorageError for a file that is not Parquet.
    """
    names = (info.key for info in store.list(promises_prefix(spec_hash)))
    for name in sorted(name for name in names if name >= promises_key(spec_hash, first)):
        try:
            table = pq.read_table(io.BytesIO(store.read(name)))
        except pa.ArrowException as error:
            raise StorageError(
                f"{store.uri(name)} is not readable: {error}; delete it, and its images are promised anew"
            ) from error
        for row in table.to_pylist():
            yield row["block"], row["image_key"], Promised(row["multiplier"], row["share"], row["device_s"])


def outstanding(store: Store, spec_hash: str, done: Callable[[str], bool]) -> dict[str, Promised]:
    """Return what earlier runs promised to images that have no row; the first promise to an image holds."""
    found: dict[str, Promised] = {}
    for _, image_key, promised in read_promises(store, spec_hash):
        if not done(image_key):
            found.setdefault(image_key, promised)
    return found
