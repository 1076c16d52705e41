"""Where the graph begins: the key list that was written before it, one Ray block per slice of it."""

import uuid
from collections.abc import Iterable, Iterator
from functools import lru_cache, partial
from typing import Any

import pyarrow as pa
import ray
from ray.data.block import BlockMetadata
from ray.data.datasource import Datasource, ReadTask

from tss_ray.spec import StoreSpec
from tss_ray.storage.alike import block_start
from tss_ray.storage.key_list import ROWS_PER_FILE, KeyList, read_key_table
from tss_ray.storage.stores import open_store

MOST_ALIKE = 32
"""Inputs alike that are kept in one block; of a larger group each block does what it has."""


class KeyListSource(Datasource):  # type: ignore[misc]  # Ray's classes have no static type
    """Reads `key_list` back in blocks of these sizes; the listing itself is never in memory."""

    def __init__(
        self,
        key_list: KeyList,
        output: str,
        store: StoreSpec,
        sizes: Iterable[int],
        monitor: Any,  # noqa: ANN401
    ) -> None:
        """Take what the tasks need; nothing is read here. `sizes` add up to what is to do."""
        super().__init__()
        self._key_list, self._output, self._store = key_list, output, store
        self._monitor, self._run_id = monitor, uuid.uuid4().hex
        self._slices = list(slices(key_list, sizes))

    @property
    def num_blocks(self) -> int:
        """How many blocks there will be."""
        return len(self._slices)

    def estimate_inmemory_data_size(self) -> int | None:
        """Return a rough size: Ray only wants to know that it is small."""
        return self._key_list.num_todo * 256

    def get_read_tasks(self, parallelism: int, *_: object, **__: object) -> list[ReadTask]:
        """Return one task per block, whatever the parallelism asked for: the block is the unit of retry."""
        return [
            ReadTask(
                partial(_read_block, self._run_id, self._output, self._store, name, offset, count, self._monitor),
                BlockMetadata(num_rows=count, size_bytes=count * 256, exec_stats=None, input_files=None),
            )
            for name, offset, count in self._slices
        ]


def slices(key_list: KeyList, sizes: Iterable[int]) -> Iterator[tuple[str, int, int]]:
    """Yield (file, first row, rows) of every block; one that would reach into the next file is cut in two."""
    files, offset = iter(key_list.names), ROWS_PER_FILE
    name = ""
    for size in sizes:
        while size:
            if offset == ROWS_PER_FILE:
                name, offset = next(files), 0
            count = min(size, ROWS_PER_FILE - offset)
            yield name, offset, count
            offset, size = offset + count, size - count


def _read_block(
    run_id: str,
    output: str,
    store: StoreSpec,
    name: str,
    offset: int,
    count: int,
    monitor: Any,  # noqa: ANN401
) -> list[pa.Table]:
    """Return one slice, or nothing of it once the run was asked to stop.

    Its ends move so that no small group of inputs that are alike lies in two blocks: what is left may be nothing.
    """
    keys, alike = _key_file(run_id, output, store, name)
    first, last = (block_start(alike, at, MOST_ALIKE) for at in (offset, offset + count))
    table = keys.slice(first, last - first)
    return [table.slice(0, 0) if ray.get(monitor.stopping.remote()) else table]


@lru_cache(maxsize=2)
def _key_file(run_id: str, output: str, store: StoreSpec, name: str) -> tuple[pa.Table, list[str | None]]:
    """Read a key file once per worker and not once per block; a later run writes other keys under the same name."""
    table = read_key_table(open_store(output, store), name)
    return table, table["alike"].to_pylist()
