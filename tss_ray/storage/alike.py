"""Bringing inputs together that a listing cannot tell apart, so that copies of one file meet in one block of the job.

The order is that of the listing, except that an input follows the first one that is alike. It takes a table on disk
(SQLite's temporary database, which stays in memory while it is small), for a listing may hold more than memory does.
"""

import sqlite3
from collections.abc import Iterable, Iterator

from tss_ray.errors import StorageError
from tss_ray.storage.inputs import InputItem

_CACHE_KIB = 65_536
_ORDERED = """
select image_key, uri, size_bytes, alike from (
    select rowid as place, *, min(rowid) over (partition by coalesce(alike, rowid)) as first from items
) order by first, place
"""


def alike_together(items: Iterable[InputItem]) -> Iterator[InputItem]:
    """Yield all items, those with an equal `alike` one after the other.

    Raises StorageError where the temporary folder does not hold them (about 200 bytes an item).
    """
    connection = sqlite3.connect("", isolation_level=None)
    try:
        for setting in ("journal_mode = off", f"cache_size = -{_CACHE_KIB}"):
            connection.execute(f"pragma {setting}")
        connection.execute("create table items (image_key text, uri text, size_bytes integer, alike text)")
        connection.execute("begin")
        rows = ((item.image_key, item.uri, item.size_bytes, item.alike) for item in items)
        connection.executemany("insert into items values (?, ?, ?, ?)", rows)
        connection.execute("commit")
        for row in connection.execute(_ORDERED):
            yield InputItem(*row)
    except sqlite3.OperationalError as error:
        raise StorageError(
            f"the list of inputs does not fit into the temporary folder: {error}; free space there (SQLITE_TMPDIR, "
            "TMPDIR), or leave duplicates alone with --set dedupe=false"
        ) from error
    finally:
        connection.close()


def block_start(alike: list[str | None], at: int, most: int) -> int:
    """Return where the block begins that would begin at `at`: after a group that lies across, unless it is over `most`.

    So a group of up to `most` is in one block, and every item in exactly one.
    """
    if not 0 < at < len(alike) or alike[at] is None or alike[at - 1] != alike[at]:
        return at
    first = last = at
    while first > 0 and alike[first - 1] == alike[at]:
        first -= 1
    while last < len(alike) and alike[last] == alike[at]:
        last += 1
    return at if last - first > most else last
