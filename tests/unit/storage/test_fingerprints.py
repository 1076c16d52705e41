from tss_ray.storage.fingerprints import FingerprintLog, NameSet, digest128, fingerprint64


def test_a_log_names_exactly_what_came_twice():
    log = FingerprintLog()
    for name in ["a", "b", "c", "b", "b", "d", "a"]:
        log.add(name)
    assert log.repeated() == {fingerprint64("a"), fingerprint64("b")}


def test_an_empty_log_repeats_nothing():
    assert FingerprintLog().repeated() == frozenset()


def test_a_name_set_holds_what_was_added_and_nothing_else():
    names = NameSet(f"k{n % 5000}" for n in range(6000))
    assert len(names) == 5000
    assert all(f"k{n}" in names for n in range(5000))
    assert not any(f"k{n}" in names for n in range(5000, 10000))
    assert "a" not in NameSet([])


def test_a_name_set_knows_what_was_added_more_than_once():
    names = NameSet()
    names.update(["a", "b", "c"])
    names.update(["b", "d"])
    names.freeze()
    assert (len(names), names.num_added) == (4, 5)
    assert names.repeated == {digest128("b")}
    names.update(["a", "e"])
    names.freeze()
    assert names.repeated == {digest128("a"), digest128("b")}
    assert all(name in names for name in "abcde")
    assert "f" not in names
