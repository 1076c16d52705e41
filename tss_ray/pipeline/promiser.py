"""The budget in a running job: one actor solves λ and writes it down before a block begins; actors keep to it.

One writer, so that a block that is tried twice, even at once on two machines, hears the same answer. An answer is on
disk before it is given: whoever tries the block again, in this run or the next, gives every image the same steps.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import ray

from tss_ray.budget.allocation import Choice
from tss_ray.budget.controller import Controller, Seen
from tss_ray.budget.target import assign, is_holdout
from tss_ray.errors import SpecError
from tss_ray.imaging.tiles import best_tile
from tss_ray.pipeline.upscaler import Upscaler
from tss_ray.spec import JobSpec, StoreSpec, TargetSpec
from tss_ray.storage.key_list import KeyList, read_key_table
from tss_ray.storage.ledger import read_ledger, read_rows
from tss_ray.storage.promises import PromiseBook, Promised, num_files, outstanding, read_promises
from tss_ray.storage.stores import Store, open_store


class Promiser:
    """Wrapped into an actor by `promises`. Starts anew from what is on disk when its node dies."""

    def __init__(
        self,
        output: str,
        store: StoreSpec,
        spec_hash: str,
        target: TargetSpec,
        tile_px: int,
        key_list: KeyList,
        old: dict[str, Promised],
        first_file: int,
    ) -> None:
        """Read what rows and promises there are.

        old: promises of earlier runs to images without a row. first_file: number of this run's first file of promises;
        one that is there tells that this actor's node died.
        """
        opened = open_store(output, store)
        died = num_files(opened, spec_hash) > first_file
        done = read_ledger(opened, spec_hash).names.__contains__ if died else _never  # at first no listed key has a row
        self._old = old
        self._blocks: dict[str, Promised] = {}
        begun: dict[str, dict[str, float]] = {}
        for block, key, promised in read_promises(opened, spec_hash, first_file):
            left = begun.setdefault(block, {})
            if not done(key):
                left[key] = promised.device_s
            if key not in old:
                self._blocks[block] = promised
        self._book = PromiseBook(opened, spec_hash)
        num_todo = num_holdout = 0
        for name in key_list.names:
            for key in read_key_table(opened, name)["image_key"].to_pylist():
                if not done(key):
                    num_todo += 1
                    num_holdout += is_holdout(target, key)
        self._controller = Controller(target, num_todo, num_holdout=num_holdout, **_taken(opened, target, tile_px))
        for block, left in begun.items():
            self._controller.resume(block, list(left), sum(left.values()))

    def promise(self, block: str, keys: Sequence[str], images: Sequence[Seen]) -> list[Promised]:
        """Return what each of `images`, the readable of `keys`, is promised; written down before it is returned."""
        known = self._blocks.get(block)
        fresh = known or _promised(self._controller.choose(keys, images))
        each = [self._old.get(image.image_key, fresh) for image in images]
        choices = [Choice(p.multiplier, p.share) for p in each]
        self._controller.promise_each(block, keys, images, choices)
        if known is None:
            told = dict.fromkeys(keys, replace(fresh, device_s=0.0))
            for image, of, device_s in zip(images, each, self._controller.expected_s(images, choices), strict=True):
                told[image.image_key] = replace(of, device_s=device_s)
            self._book.add(block, list(told), list(told.values()))
            self._blocks[block] = fresh
        return each

    def record(self, block: str, device_s: float, computed: float) -> None:
        """Hear what a block took, and which share of its work was computed."""
        self._controller.record(block, device_s, computed)


class BudgetedUpscaler(Upscaler):
    """An Upscaler whose blocks are told their steps when they begin, not when they were prepared."""

    def __init__(self, spec: JobSpec, use_gpu: bool, threads: int, monitor: Any, promiser: Any) -> None:  # noqa: ANN401
        """Load the model; `promiser` is the actor to ask."""
        super().__init__(spec, use_gpu, threads, monitor)
        self._job, self._promiser = spec, promiser

    def __call__(self, block: pa.Table) -> pa.Table:
        """Return the block's manifest rows, as `Upscaler` does."""
        keys = block["image_key"].to_pylist()
        name = block_name(keys)
        prepared = zip(block["num_steps"].to_pylist(), block["left_alone_by"].to_pylist(), strict=True)
        readable = [i for i, (steps, rule) in enumerate(prepared) if steps is not None and rule is None]
        seen = seen_images(block, readable, self._job)
        told = ray.get(self._promiser.promise.remote(name, keys, seen))
        rows = super().__call__(promised_steps(block, readable, seen, told, self._job))
        taken = rows["device_seconds"].drop_null().to_pylist()
        self._promiser.record.remote(name, float(sum(taken)), computed_share(rows))
        return rows


def _never(key: str) -> bool:
    return False


def _taken(output: Store, target: TargetSpec, tile_px: int) -> dict[str, Any]:
    """Return what the rows that are there tell a controller: what they took, and how their tiles spread over the bins.

    tile_px: side of a full tile.
    """
    spent, num_seen, tiles = 0.0, 0, np.zeros(len(target.bins))
    columns = ["device_seconds", "texture_score", "num_tiles", "tile_px", "left_alone_by"]
    for table in read_rows(output, columns):
        spent += pc.sum(table["device_seconds"]).as_py() or 0.0
        num_seen += table.num_rows
        seen = table.filter(pc.and_(pc.is_valid(table["num_tiles"]), pc.is_null(table["left_alone_by"])))
        bins = np.searchsorted(target.edges, seen["texture_score"].to_numpy(), side="right")
        full = seen["num_tiles"].to_numpy() * (seen["tile_px"].to_numpy() / tile_px) ** 2
        tiles += np.bincount(bins, full, len(tiles))
    return {"spent": spent, "num_seen": num_seen, "tiles_seen": tiles.tolist()}


def computed_share(rows: pa.Table) -> float:
    """Return which share of the rows' denoiser evaluations was run: all of them, where none is a duplicate."""
    columns = [rows[name].to_pylist() for name in ("nfe", "num_tiles", "num_steps")]
    asked = sum((tiles or 0) * (steps or 0) for _, tiles, steps in zip(*columns, strict=True))
    return sum(nfe or 0 for nfe in columns[0]) / asked if asked else 1.0


def block_name(keys: Sequence[str]) -> str:
    """Return 16 hex digits of a block, whatever the order of its keys."""
    return hashlib.sha256("\0".join(sorted(keys)).encode("utf-8", "surrogatepass")).hexdigest()[:16]


def seen_images(block: pa.Table, readable: Sequence[int], spec: JobSpec) -> list[Seen]:
    """Return what the promiser wants to know of the rows `readable`."""
    names = ("image_key", "texture_score", "in_height", "in_width")
    columns = {name: block[name].to_pylist() for name in names}
    found = []
    for i in readable:
        grid = best_tile(columns["in_height"][i], columns["in_width"][i], spec.tiles.sides, spec.tiles.overlap_px)
        num_tiles = grid.full_tiles(spec.tiles.tile_px)
        found.append(Seen(columns["image_key"][i], columns["texture_score"][i], num_tiles))
    return found


def promised_steps(
    block: pa.Table, readable: Sequence[int], seen: Sequence[Seen], told: Sequence[Promised], spec: JobSpec
) -> pa.Table:
    """Return the block with the steps and λ that its readable images were promised; pixels are not copied."""
    target = spec.budget.target
    if target is None:
        raise SpecError("policy target without a plan; give the file that tss-ray plan wrote to --budget")
    steps, multipliers = block["num_steps"].to_pylist(), block["budget_lambda"].to_pylist()
    for i, image, each in zip(readable, seen, told, strict=True):
        choice = Choice(each.multiplier, each.share)
        steps[i] = assign(target, choice, image.texture_score, image.image_key).num_steps
        multipliers[i] = each.multiplier
    for name, values in (("num_steps", steps), ("budget_lambda", multipliers)):
        field = block.schema.field(name)
        block = block.set_column(block.schema.get_field_index(name), field, pa.array(values, field.type))
    return block


@contextmanager
def promises(spec: JobSpec, spec_hash: str, key_list: KeyList, done: Callable[[str], bool]) -> Iterator[Any]:
    """Run the actor for as long as the job does; None where steps follow from the spec alone."""
    target = spec.budget.target
    if spec.budget.policy != "target" or target is None or not target.controller or target.cap is None:
        del done
        yield None
        return
    output = open_store(spec.output, spec.store)
    old, first_file = outstanding(output, spec_hash, done), num_files(output, spec_hash)
    del done  # it holds the whole ledger
    # no CPU, because it must answer when every CPU is taken, and restarted without end
    options = {"num_cpus": 0, "max_restarts": -1, "max_task_retries": -1}
    about = (spec.output, spec.store, spec_hash, target, spec.tiles.tile_px, key_list, old, first_file)
    promiser = ray.remote(Promiser).options(**options).remote(*about)
    try:
        yield promiser
    finally:
        ray.kill(promiser)


def _promised(choice: Choice) -> Promised:
    return Promised(choice.multiplier, choice.share)
