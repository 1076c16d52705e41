"""Telling a hundred million names apart without holding them: blake2b fingerprints in flat arrays."""

import hashlib
from array import array
from bisect import bisect_left
from collections.abc import Iterable

import numpy as np


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
    """A frozen set of names as 128-bit fingerprints: 16 bytes a name, where a set of strings needs over a hundred.

    Ten billion names asked of ten billion members: the chance that one is mistaken for a member, and its image
    skipped, is below 1e-18.
    """

    def __init__(self, names: Iterable[str]) -> None:
        halves = array("Q")
        for name in names:
            halves.frombytes(_digest(name, 16))
        high, low = np.frombuffer(halves, dtype=np.uint64).reshape(-1, 2).T
        order = np.lexsort((low, high))
        high, low = high[order], low[order]
        new = np.ones(len(high), dtype=bool)
        new[1:] = (high[1:] != high[:-1]) | (low[1:] != low[:-1])
        self._high, self._low = high[new], low[new]

    def __len__(self) -> int:
        return len(self._high)

    def __contains__(self, name: str) -> bool:
        high, low = np.frombuffer(_digest(name, 16), dtype=np.uint64)
        at = bisect_left(self._high, high)
        while at < len(self._high) and self._high[at] == high:
            if self._low[at] == low:
                return True
            at += 1
        return False


def fingerprint64(name: str) -> int:
    """Return the first 64 bits that `FingerprintLog` keeps of a name."""
    return int.from_bytes(_digest(name, 8), "little")


def _digest(name: str, num_bytes: int) -> bytes:
    return hashlib.blake2b(name.encode(), digest_size=num_bytes).digest()
