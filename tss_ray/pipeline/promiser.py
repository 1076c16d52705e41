"""The budget in a running job: one actor solves λ and writes it down before a block begins; actors keep to it.

One writer, so that a block that is tried twice, even at once on two machines, hears the same answer. An answer is on
disk before it is given: whoever tries the block again, in this run or the next, gives every image the same steps.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pyarrow as pa
import ray

from tss_ray.budget.allocation import Choice
from tss_ray.budget.controller import Controller, Seen
from tss_ray.budget.target import assign, is_holdout
from tss_ray.errors import SpecError
from tss_ray.imaging.tiles import best_tile
from tss_ray.pipeline.upscaler import Upscaler
from tss_ray.spec import JobSpec, StoreSpec, TargetSpec
from tss_ray.storage.key_list import KeyList, read_key_table
from tss_ray.storage.ledger import read_rows
from tss_ray.storage.promises import PromiseBook, Promised, outstanding, read_promises
from tss_ray.storage.stores import open_store


class Promiser:
    """Wrapped into an actor by `promises`. Starts anew from what is on disk when its node dies."""

    def __init__(
        self,
        output: str,
        store: StoreSpec,
        spec_hash: str,
        target: TargetSpec,
        key_list: KeyList,
        old: dict[str, Promised],
    ) -> None:
        """Read what rows and promises there are. `old`: those of earlier runs, to images without a row."""
        opened = open_store(output, store)
        spent = 0.0
        for table in read_rows(opened, ["device_seconds"]):
            spent += sum(table["device_seconds"].drop_null().to_pylist())
        self._old = old
        self._blocks: dict[str, Promised] = {}
        for block, key, promised in read_promises(opened, spec_hash):
            if key not in old:
                self._blocks[block] = promised
        self._book = PromiseBook(opened, spec_hash)
        keys = (key for name in key_list.names for key in read_key_table(opened, name)["image_key"].to_pylist())
        num_holdout = sum(is_holdout(target, key) for key in keys)
        self._controller = Controller(target, key_list.num_todo, spent, num_holdout)

    def promise(self, block: str, keys: Sequence[str], images: Sequence[Seen]) -> list[Promised]:
        """Return what each of `images`, the readable of `keys`, is promised; written down before it is returned."""
        known = self._blocks.get(block)
        fresh = known or _promised(self._controller.choose(keys, images))
        each = [self._old.get(image.image_key, fresh) for image in images]
        self._controller.promise_each(block, keys, images, [Choice(p.multiplier, p.share) for p in each])
        if known is None:
            self._book.add(block, [image.image_key for image in images], each)
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
        told = ray.get(self._promiser.promise.remote(name, keys, seen)) if seen else []
        rows = super().__call__(promised_steps(block, readable, seen, told, self._job))
        taken = rows["device_seconds"].drop_null().to_pylist()
        self._promiser.record.remote(name, float(sum(taken)), computed_share(rows))
        return rows


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
    old = outstanding(open_store(spec.output, spec.store), spec_hash, done)
    del done  # it holds the whole ledger
    # no CPU, because it must answer when every CPU is taken, and restarted without end
    options = {"num_cpus": 0, "max_restarts": -1, "max_task_retries": -1}
    promiser = ray.remote(Promiser).options(**options).remote(spec.output, spec.store, spec_hash, target, key_list, old)
    try:
        yield promiser
    finally:
        ray.kill(promiser)


def _promised(choice: Choice) -> Promised:
    return Promised(choice.multiplier, choice.share)
