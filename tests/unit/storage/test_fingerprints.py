from tss_ray.storage.fingerprints import FingerprintLog, NameSet, fingerprint64


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
