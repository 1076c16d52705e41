"""The join on disk against the join of two dictionaries."""

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tss_ray.verify import spill
from tss_ray.verify.spill import NUM_BUCKETS, Spill, doubled, join

PRINTS = st.integers(0, 40).map(lambda n: n * (2**64 // 41))  # few, spread over the buckets
TABLES = st.lists(st.tuples(PRINTS, st.one_of(st.none(), st.integers(0, 2))), max_size=60)


def table(folder, name, records):
    made = Spill(Path(folder), name)
    for record in records:
        made.add(*record)
    made.close()
    assert made.num_records == len(records)
    return made


@settings(max_examples=60, deadline=None)
@given(left=TABLES, right=st.dictionaries(PRINTS, st.one_of(st.none(), st.integers(0, 2))), waiting=st.integers(1, 70))
def test_a_join_finds_what_dictionaries_find(left, right, waiting):
    found = {"left": [], "right": [], "differ": [], "doubled": []}
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder:
        patch.setattr(spill, "_WAITING", waiting)
        one, two = table(folder, "one", left), table(folder, "two", list(right.items()))
        for index in range(NUM_BUCKETS):
            only_left, only_right, differ = join(one.bucket(index), two.bucket(index))
            found["left"] += only_left.tolist()
            found["right"] += only_right.tolist()
            found["differ"] += differ.tolist()
            found["doubled"] += doubled(one.bucket(index)).tolist()
    prints = [fingerprint for fingerprint, _ in left]
    assert sorted(found["left"]) == sorted(p for p in prints if p not in right)
    assert sorted(found["right"]) == sorted(right.keys() - set(prints))
    assert sorted(found["differ"]) == sorted(
        p for p, size in left if p in right and None not in (size, right[p]) and size != right[p]
    )
    assert sorted(found["doubled"]) == sorted({p for p in prints if prints.count(p) > 1})


def test_a_bucket_is_sorted_and_holds_its_share_of_the_table(tmp_path):
    prints = np.random.default_rng(0).integers(0, 2**64, 200_000, dtype=np.uint64)
    made = table(tmp_path, "t", [(int(p), 1) for p in prints])
    sizes = []
    for index in range(NUM_BUCKETS):
        bucket = made.bucket(index)["print"]
        assert (np.diff(bucket) >= 0).all()
        assert set((bucket >> np.uint64(59)).tolist()) == {index}
        sizes.append(len(bucket))
    assert sum(sizes) == len(prints)
    assert max(sizes) < 1.1 * len(prints) / NUM_BUCKETS
