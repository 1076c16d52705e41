"""The last operator: rows become one Parquet part, and of the part a line of totals goes back to the driver."""

import time
from dataclasses import asdict, dataclass, fields

import pyarrow as pa

from tss_ray.pipeline.meters import meters, tell_committed
from tss_ray.pipeline.rows import FILE
from tss_ray.records import ManifestRow, table_to_rows
from tss_ray.spec import OutputLayout, StoreSpec
from tss_ray.storage.lease import check_lease
from tss_ray.storage.ledger import part_digest, write_part
from tss_ray.storage.shards import write_shard
from tss_ray.storage.stores import open_store


@dataclass(frozen=True)
class Totals:
    """Sums over committed rows: what the closing table is made of."""

    done: int = 0
    quarantined: int = 0
    resampled: int = 0
    """Of the done ones, those that got no steps."""
    duplicates: int = 0
    """Of the done ones, those that got the result of another."""
    steps: int = 0
    nfe: int = 0
    run_px: int = 0
    """Pixels that the denoiser ran, of all tiles and steps."""
    run_px_top_rung: int = 0
    in_px: int = 0
    out_px: int = 0
    output_bytes: int = 0
    device_seconds: float = 0.0

    def __add__(self, other: "Totals") -> "Totals":
        return Totals(**{f.name: getattr(self, f.name) + getattr(other, f.name) for f in fields(self)})


@dataclass(frozen=True)
class Commit:
    """Write a block of rows as one part; a retry overwrites the same name."""

    output: str
    store: StoreSpec
    run_id: str
    """Of the lease without which nothing is committed."""
    layout: OutputLayout = "files"
    """In shards the rows bring their files in a column FILE."""

    def __call__(self, block: pa.Table) -> pa.Table:
        """Return one row: the totals of what was committed. Raises LeaseLostError where another run has the output."""
        rows = table_to_rows(block)
        store = open_store(self.output, self.store)
        check_lease(store, self.run_id)
        began = time.perf_counter()
        if self.layout != "files" and rows:
            rows = write_shard(store, self.layout, part_digest(rows), rows, block[FILE].to_pylist())
        write_part(store, rows)
        tell_committed(meters(), len(rows), time.perf_counter() - began)
        return pa.Table.from_pylist([asdict(total(rows))])


def total(rows: list[ManifestRow]) -> Totals:
    """Add rows up; None counts as zero, and pending rows are not counted: they were not committed."""
    done = [row for row in rows if row.status == "done"]
    return Totals(
        done=len(done),
        quarantined=sum(row.status == "quarantined" for row in rows),
        resampled=sum(not row.num_steps for row in done),
        duplicates=sum(row.duplicate_of is not None for row in done),
        steps=sum(row.num_steps or 0 for row in done),
        nfe=sum(row.nfe or 0 for row in done),
        run_px=sum(row.run_px for row in done),
        run_px_top_rung=sum(row.run_px_top_rung for row in done),
        in_px=sum((row.in_width or 0) * (row.in_height or 0) for row in done),
        out_px=sum((row.out_width or 0) * (row.out_height or 0) for row in done),
        output_bytes=sum(row.output_bytes or 0 for row in done),
        device_seconds=sum(row.device_seconds or 0.0 for row in done),
    )
