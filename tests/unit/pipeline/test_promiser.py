"""Promises of the promiser without Ray: what it knew before its node died, it finds on disk."""

from dataclasses import replace
from pathlib import Path

import pytest
from targets import make_target

from tss_ray.budget.allocation import Choice
from tss_ray.budget.controller import Controller, Seen
from tss_ray.pipeline.promiser import Promiser, block_name
from tss_ray.records import ManifestRow
from tss_ray.spec import StoreSpec, TargetSpec
from tss_ray.storage.inputs import InputItem
from tss_ray.storage.key_list import write_key_list
from tss_ray.storage.ledger import write_part
from tss_ray.storage.promises import Promised, outstanding, read_promises
from tss_ray.storage.stores import open_store

SPEC_HASH, NUM, BLOCK, TILE_PX = "abc", 120, 8, 16
SPEC = StoreSpec()


def row_of(key: str) -> ManifestRow:
    return ManifestRow(image_key=key, input_uri="", spec_hash=SPEC_HASH)


class Job:
    """The driver's and the actors' side of one run, without an engine: every forward takes what was expected."""

    def __init__(self, folder: Path, target: TargetSpec) -> None:
        self.output, self.target = str(folder), target
        self.store = open_store(self.output, SPEC)
        self.images = [Seen(f"{n:03d}.png", (n * 37 % NUM) / NUM, 1.0 + n % 2) for n in range(NUM)]
        self.done: set[str] = set()
        self.blocks = [self.images[first : first + BLOCK] for first in range(0, NUM, BLOCK)]

    def start(self) -> None:
        """List what has no row, and note which promises there are before the run."""
        items = [InputItem(i.image_key, i.image_key, 1) for i in self.images]
        self.key_list = write_key_list(self.store, SPEC_HASH, "png", lambda: items, self.done.__contains__)
        self.old = outstanding(self.store, SPEC_HASH, self.done.__contains__)
        self.first_file = sum(1 for _ in self.store.list(f"run/{SPEC_HASH}/promises-"))

    def promiser(self) -> Promiser:
        about = (self.target, TILE_PX, self.key_list, self.old, self.first_file)
        return Promiser(self.output, SPEC, SPEC_HASH, *about)

    def promise(self, promiser: Promiser, number: int) -> list[Promised]:
        """Ask for a block of which the first image cannot be read."""
        block = self.blocks[number]
        return promiser.promise(self.name(number), [i.image_key for i in block], block[1:])

    def name(self, number: int) -> str:
        return block_name([i.image_key for i in self.blocks[number]])

    def finish(self, promiser: Promiser, number: int, told: list[Promised]) -> None:
        promiser.record(self.name(number), self.taken(number, told), 1.0)

    def taken(self, number: int, told: list[Promised]) -> float:
        return sum(self.costs(number, told))

    def costs(self, number: int, told: list[Promised]) -> list[float]:
        return Controller(self.target, NUM).expected_s(
            self.blocks[number][1:], [Choice(p.multiplier, p.share) for p in told]
        )

    def commit(self, number: int, told: list[Promised]) -> None:
        first, *others = self.blocks[number]
        rows = [row_of(first.image_key).quarantined("not_an_image", "rotten")]
        for image, device_s in zip(others, self.costs(number, told), strict=True):
            known = {"texture_score": image.texture_score, "num_tiles": round(image.num_tiles), "tile_px": TILE_PX}
            rows.append(replace(row_of(image.image_key), status="done", device_seconds=device_s, **known))
        write_part(self.store, rows)
        self.done |= {row.image_key for row in rows}


@pytest.fixture
def job(tmp_path: Path, tiny_model_folder: Path) -> Job:
    made = Job(tmp_path, make_target(tiny_model_folder, cap=150.0, tiles_per_image=1.5))
    made.start()
    return made


def choices(told: list[Promised]) -> list[tuple[float, float]]:
    return [(each.multiplier, each.share) for each in told]


def state(promiser: Promiser) -> tuple[object, ...]:
    """Return what is left to do, of it held out, what was spent and what is open."""
    known = promiser._controller
    left = known.num_images - known._begun
    return left, known._held, pytest.approx(known.spent), {b: pytest.approx(s) for b, s in known._open.items() if s}


def test_an_actor_that_died_knows_what_had_begun_what_it_took_and_what_is_under_way(job: Job) -> None:
    first = job.promiser()
    told = [job.promise(first, number) for number in range(5)]
    for number in range(2):
        job.finish(first, number, told[number])
        job.commit(number, told[number])
    again = job.promiser()
    assert state(again) == state(first)
    assert again._controller.num_images == NUM - 2 * BLOCK
    for number in range(2, 5):
        assert choices(job.promise(again, number)) == choices(told[number]), "a promise is kept"
    assert state(again) == state(first), "a block that begins again is counted once"
    for number in range(2, 5):
        job.finish(first, number, told[number])
        job.finish(again, number, told[number])
    assert state(again) == state(first)
    ours, theirs = (job.promise(each, 5)[0] for each in (again, first))
    assert (ours.multiplier, ours.share) == (theirs.multiplier, pytest.approx(theirs.share, abs=0.05))


def test_what_ended_without_a_row_before_the_death_counts_as_under_way(job: Job) -> None:
    first = job.promiser()
    told = job.promise(first, 0)
    job.finish(first, 0, told)
    again = job.promiser()._controller
    assert again.spent == 0
    assert again._open == {job.name(0): pytest.approx(first._controller.spent)}


def test_a_later_run_keeps_promises_and_counts_images_that_have_not_begun_as_such(job: Job) -> None:
    before = job.promiser()
    told = [job.promise(before, number) for number in range(3)]
    job.finish(before, 0, told[0])
    job.commit(0, told[0])
    job.start()
    later = job.promiser()
    assert (later._controller.num_images, later._controller._begun, later._controller._open) == (NUM - BLOCK, 0, {})
    assert later._controller.num_seen == BLOCK
    assert choices(job.promise(later, 1)) == choices(told[1])
    again = job.promiser()
    assert state(again) == state(later)


def test_blocks_without_a_readable_image_count_as_begun(job: Job) -> None:
    promiser = job.promiser()
    keys = [image.image_key for image in job.blocks[0]]
    assert promiser.promise("rotten", keys, []) == []
    assert state(promiser) == state(job.promiser())
    assert promiser._controller._begun == BLOCK


def test_a_block_is_written_down_with_all_its_images_before_it_is_told(job: Job) -> None:
    told = job.promise(job.promiser(), 0)
    written = {key: promised for _, key, promised in read_promises(job.store, SPEC_HASH)}
    assert list(written) == [image.image_key for image in job.blocks[0]]
    assert [p.device_s for p in written.values()] == [0.0, *job.costs(0, told)]
