"""Starting anew in an output that holds results: what is deleted, and in which order.

First the rows move: each part is copied to run/overwritten/ and then deleted, so that a reader never finds a row
without its object. Then the objects that those rows name are deleted, and each copy after its objects. Nothing else is
touched: an object that no row names may not be ours.

A crash leaves parts in one place or in both. Whichever run comes next, with --overwrite or without, first finishes what
the copies tell; a copy whose part is still there tells nothing, for that part had not moved.
"""

from tss_ray.storage.layout import (
    MANIFEST,
    OVERWRITTEN,
    RUN,
    SUMMARY_KEY,
    is_key_list,
    is_part,
    result_key,
)
from tss_ray.storage.ledger import read_part
from tss_ray.storage.parallel import ordered_map
from tss_ray.storage.protocol import Store

_COLUMNS = ["image_key", "status", "out_format", "output_shard"]


def overwrite(store: Store) -> None:
    """Delete all rows, the objects that they name, and the key lists of earlier runs."""
    store.delete(SUMMARY_KEY)
    parts = [info.key for info in store.list(MANIFEST) if is_part(info.key)]
    for _ in ordered_map(lambda name: _move(store, name), parts):
        pass
    finish_overwrite(store)
    for name in [info.key for info in store.list(RUN) if is_key_list(info.key)]:
        store.delete(name)


def finish_overwrite(store: Store) -> None:
    """Delete what an overwrite, perhaps an earlier one that was broken off, has left to delete."""
    for name in [info.key for info in store.list(OVERWRITTEN)]:
        if not store.exists(MANIFEST + name.removeprefix(OVERWRITTEN)):
            for _ in ordered_map(store.delete, _objects(store, name)):
                pass
        store.delete(name)


def _move(store: Store, name: str) -> None:
    store.write(OVERWRITTEN + name.removeprefix(MANIFEST), store.read(name))
    store.delete(name)


def _objects(store: Store, name: str) -> list[str]:
    rows = read_part(store, name, _COLUMNS).to_pylist()
    done = [row for row in rows if row["status"] == "done"]
    return sorted({row["output_shard"] or result_key(row["image_key"], row["out_format"]) for row in done})
