"""Tables too large for memory: (fingerprint, size) records, split over files by the first bits of the fingerprint.

What belongs together lies in the same bucket of every table, so two tables are joined bucket by bucket: a Grace hash
join (Kitsuregawa et al. 1983). 16 bytes of disk a record; in memory one bucket, a 32nd of the table.
"""

from array import array
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

NUM_BUCKETS = 32
UNKNOWN = -1
"""A size that nobody told."""
_BITS = 64 - (NUM_BUCKETS.bit_length() - 1)
_WAITING = 65536
_RECORD = np.dtype([("print", "<u8"), ("size", "<i8")])


class Spill:
    """One table; written first, then read."""

    def __init__(self, folder: Path, name: str) -> None:
        """Open its files in a folder that somebody else removes."""
        self._paths = [folder / f"{name}-{index}" for index in range(NUM_BUCKETS)]
        self._files = [path.open("wb") for path in self._paths]
        self._prints, self._sizes = array("Q"), array("q")
        self.num_records = 0

    def add(self, fingerprint: int, size: int | None) -> None:
        """Add a record; None is an unknown size."""
        self._prints.append(fingerprint)
        self._sizes.append(UNKNOWN if size is None else size)
        self.num_records += 1
        if len(self._prints) == _WAITING:
            self._flush()

    def close(self) -> None:
        """Write what waits; buckets may be read from now on."""
        self._flush()
        for file in self._files:
            file.close()

    def bucket(self, index: int) -> NDArray[Any]:
        """Return a bucket's records, fields `print` and `size`, sorted by fingerprint."""
        records: NDArray[Any] = np.fromfile(self._paths[index], dtype=_RECORD)
        return records[np.argsort(records["print"], kind="stable")]

    def _flush(self) -> None:
        records = np.empty(len(self._prints), dtype=_RECORD)
        records["print"], records["size"] = self._prints, self._sizes
        bucket = records["print"] >> np.uint64(_BITS)
        order = np.argsort(bucket, kind="stable")
        ends = np.searchsorted(bucket[order], np.arange(NUM_BUCKETS), side="right")
        begin = 0
        for file, end in zip(self._files, ends.tolist(), strict=True):
            file.write(records[order[begin:end]].tobytes())
            begin = end
        self._prints, self._sizes = array("Q"), array("q")


def join(left: NDArray[Any], right: NDArray[Any]) -> tuple[NDArray[np.uint64], NDArray[np.uint64], NDArray[np.uint64]]:
    """Return the fingerprints only in `left`, only in `right`, and in both with other sizes (if both are known)."""
    at = np.searchsorted(right["print"], left["print"])
    found = np.zeros(len(left), dtype=bool)
    inside = at < len(right)
    found[inside] = right["print"][at[inside]] == left["print"][inside]
    sizes, others = left["size"][found], right["size"][at[found]]
    differ = (sizes != others) & (sizes != UNKNOWN) & (others != UNKNOWN)
    only_right = right["print"][~np.isin(right["print"], left["print"])]
    return left["print"][~found], only_right, left["print"][found][differ]


def doubled(table: NDArray[Any]) -> NDArray[np.uint64]:
    """Return the fingerprints that come more than once."""
    prints = table["print"]
    repeated: NDArray[np.uint64] = np.unique(prints[1:][prints[1:] == prints[:-1]])
    return repeated
