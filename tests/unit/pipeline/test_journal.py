"""Promises of the crash journal: the culprit is found, the innocent are not accused, nothing is kept for ever."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tss_ray.pipeline.journal import DEATHS_ALONE, CrashJournal, Trial

INNOCENT = Trial()


@pytest.fixture
def dead_nodes() -> set[str]:
    return set()


@pytest.fixture
def journal(dead_nodes: set[str]) -> CrashJournal:
    return CrashJournal(lambda node: node not in dead_nodes)


def begin(journal: CrashJournal, block: str = "b", node: str = "n") -> Trial:
    return journal.begin("prepare", block, node)


def test_a_block_that_ends_leaves_no_trace(journal: CrashJournal) -> None:
    assert begin(journal) == INNOCENT
    journal.end("prepare", "b")
    assert begin(journal) == INNOCENT


def test_blocks_in_flight_are_counted_once_by_stage(journal: CrashJournal) -> None:
    begin(journal)
    begin(journal)
    begin(journal, "c")
    journal.begin("upscale", "b", "n")
    assert (journal.num_open("prepare"), journal.num_open("upscale")) == (2, 1)
    for _ in range(2):
        journal.end("prepare", "b")
    assert (journal.num_open("prepare"), journal.num_open("upscale")) == (1, 1)


def test_a_block_begun_again_without_an_end_is_suspect_and_others_are_not(journal: CrashJournal) -> None:
    begin(journal)
    assert begin(journal).suspect
    assert not begin(journal, "c").suspect
    assert not journal.begin("upscale", "b", "n").suspect


def test_who_dies_alone_so_often_is_not_tried_again(journal: CrashJournal) -> None:
    begin(journal)
    for _ in range(DEATHS_ALONE):
        assert begin(journal) == Trial(suspect=True)
        journal.alone("prepare", "b", "culprit")
    assert begin(journal) == Trial(suspect=True, killers=frozenset({"culprit"}))


def test_who_survives_alone_is_acquitted(journal: CrashJournal) -> None:
    begin(journal)
    for _ in range(4 * DEATHS_ALONE):
        begin(journal)
        journal.alone("prepare", "b", "unlucky")
        begin(journal)
        journal.alone("prepare", "b", "unlucky")
        journal.alone("prepare", "b", "next")
        journal.alone("prepare", "b", None)
    assert begin(journal).killers == frozenset()


def test_nobody_is_accused_of_the_end_of_a_node(journal: CrashJournal, dead_nodes: set[str]) -> None:
    begin(journal, node="lost")
    dead_nodes.add("lost")
    assert begin(journal, node="n") == INNOCENT
    for i in range(2 * DEATHS_ALONE):
        begin(journal, node=f"spot-{i}")
        journal.alone("prepare", "b", "unlucky")
        dead_nodes.add(f"spot-{i}")
    assert begin(journal).killers == frozenset()


def test_a_journal_that_lost_its_memory_accuses_nobody(journal: CrashJournal) -> None:
    journal.alone("prepare", "b", "someone")
    journal.end("prepare", "b")
    assert begin(journal) == INNOCENT


@settings(deadline=None, max_examples=200)
@given(st.lists(st.booleans(), min_size=1, max_size=12))
def test_every_killer_is_convicted_no_one_else_is_and_the_block_ends(kills: list[bool]) -> None:
    journal, keys, deaths = CrashJournal(lambda node: True), [str(i) for i in range(len(kills))], 0
    while True:
        trial = begin(journal)
        todo = [k for k in keys if k not in trial.killers]
        if trial.suspect:
            died = False
            for key in todo:
                journal.alone("prepare", "b", key)
                if kills[int(key)]:
                    died = True
                    break
        else:
            died = any(kills[int(key)] for key in todo)
        if not died:
            break
        deaths += 1
    journal.end("prepare", "b")
    assert trial.killers == {k for k in keys if kills[int(k)]}
    assert deaths == (1 + DEATHS_ALONE * sum(kills) if any(kills) else 0)
