"""Telling a hundred million names apart without holding them: blake2b fingerprints in flat arrays."""

import hashlib
from array import array
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

_Halves = NDArray[np.uint64]
_NUM_BUCKETS = 256
_EMPTY: _Halves = np.empty(0, dtype=np.uint64)


class FingerprintLog:
    """Collects 64-bit fingerprints (8 bytes a name) and says which came more than once."""

    def __init__(self) -> None:
        self._prints = array("Q")

    def add(self, name: str) -> None:
        self._prints.append(fingerprint64(name))

    def repeated(self) -> frozenset[int]:
        """Return the fingerprints seen twice or more: suspects, for 64 bits may clash; the log is sorted in place."""
        prints = np.frombuffer(self._prints, dtype=np.uint64)
        prints.sort()
        return frozenset(np.unique(prints[1:][prints[1:] == prints[:-1]]).tolist())


class NameSet:
    """A set of names as 128-bit fingerprints: 16 bytes a name, where a set of strings needs over a hundred.

    Names are added first; `freeze` sorts them, a 256th part at a time, so that sorting needs hardly more memory than
    keeping. Then it answers. Ten billion names asked of ten billion members: the chance that one is mistaken for a
    member, and its image skipped, is below 1e-18.
    """

    def __init__(self, names: Iterable[str] = ()) -> None:
        self._logs = [array("Q") for _ in range(_NUM_BUCKETS)]
        self._buckets: list[tuple[_Halves, _Halves]] = []
        self._num_names = self.num_added = 0
        self.repeated: frozenset[bytes] = frozenset()
        """Digests of the names that were added more than once; `digest128` tells them."""
        self.update(names)
        self.freeze()

    def update(self, names: Iterable[str]) -> None:
        """Add names; the set is frozen again before it is asked."""
        logs = self._logs
        for name in names:
            digest = digest128(name)
            logs[digest[0]].frombytes(digest)
            self.num_added += 1

    def freeze(self) -> None:
        """Sort what was added."""
        repeated: set[bytes] = set(self.repeated)
        buckets = self._buckets or [(_EMPTY, _EMPTY)] * _NUM_BUCKETS
        for index, log in enumerate(self._logs):
            if log:
                buckets[index] = _merged(buckets[index], log, repeated)
                self._logs[index] = array("Q")
        self._buckets, self.repeated = buckets, frozenset(repeated)
        self._num_names = sum(len(high) for high, _ in buckets)

    def __len__(self) -> int:
        return self._num_names

    def __contains__(self, name: str) -> bool:
        digest = digest128(name)
        wanted, low = np.frombuffer(digest, dtype=np.uint64)
        highs, lows = self._buckets[digest[0]]
        at = int(highs.searchsorted(wanted))
        while at < len(highs) and highs[at] == wanted:
            if lows[at] == low:
                return True
            at += 1
        return False


def _merged(bucket: "tuple[_Halves, _Halves]", log: "array[int]", repeated: set[bytes]) -> "tuple[_Halves, _Halves]":
    """Return the sorted names of a bucket and a log, each once, and add the digests of repeated ones."""
    added = np.frombuffer(log, dtype=np.uint64).reshape(-1, 2)
    high, low = np.concatenate((bucket[0], added[:, 0])), np.concatenate((bucket[1], added[:, 1]))
    order = np.lexsort((low, high))
    high, low = high[order], low[order]
    new = np.ones(len(high), dtype=bool)
    new[1:] = (high[1:] != high[:-1]) | (low[1:] != low[:-1])
    repeated.update(halves.tobytes() for halves in np.stack((high[~new], low[~new]), axis=1))
    return high[new], low[new]


def digest128(name: str) -> bytes:
    """Return the 16 bytes that `NameSet` keeps of a name."""
    return _digest(name, 16)


def fingerprint64(name: str) -> int:
    """Return the first 64 bits that `FingerprintLog` keeps of a name."""
    return int.from_bytes(_digest(name, 8), "little")


def _digest(name: str, num_bytes: int) -> bytes:
    return hashlib.blake2b(name.encode(), digest_size=num_bytes).digest()
