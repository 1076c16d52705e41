"""The manifest as one table that SQL can ask, whatever it holds: a million parts or ten, a folder or a bucket.

DuckDB reads the committed Parquet parts once into a table in a temporary folder, of the columns that reports ask about;
memory is bounded, and what does not fit lies on disk. Parts of a bucket are fetched by our own store first (boto3's
credentials, our retries). Columns that older parts lack are null. The list `metrics` becomes columns, `niqe` and
`niqe, before`; DOUBLE columns that `records` does not define are metrics too. Import nothing from here before it is
needed: it loads duckdb (extra `report`).
"""

import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from tss_ray.errors import InputError, SpecError, StorageError
from tss_ray.records import MANIFEST_SCHEMA
from tss_ray.spec import StoreSpec
from tss_ray.storage.layout import MANIFEST
from tss_ray.storage.local import LocalStore
from tss_ray.storage.stores import Store, open_store

if TYPE_CHECKING:
    import duckdb

_FETCHERS = 16
_MEMORY = "2GB"
"""What DuckDB may hold before it goes to disk; Python and Arrow come on top."""

COPIED = (
    "image_key",
    "status",
    "error_kind",
    "error_message",
    "num_steps",
    "num_tiles",
    "nfe",
    "num_steps_top_rung",
    "texture_score",
    "lr_consistency_psnr",
    "fetch_s",
    "decode_s",
    "probe_s",
    "queue_s",
    "denoise_s",
    "encode_s",
    "upload_s",
    "device_seconds",
    "output_bytes",
    "padding_ratio",
    "tile_px",
    "refused_device_s",
    "metrics_s",
    "holdout",
)
_DERIVED = {
    "in_px": "in_width * in_height",
    "out_px": "out_width * out_height",
    "run_px": "nfe * tile_px * tile_px",
    "run_px_top_rung": "num_tiles * num_steps_top_rung * tile_px * tile_px",
    # Integers, because DuckDB hands time zones to pytz, which need not be there.
    "started_us": "epoch_us(started_at)",
    "finished_us": "epoch_us(finished_at)",
}
ORIGINS = (
    "spec_hash",
    "model_id",
    "model_sha256",
    "seed",
    "budget_policy",
    "plan_family",
    "plan_a_min",
    "plan_a_max",
    "plan_n_min",
    "plan_n_max",
    "plan_levels",
    "eta",
    "eta_by_texture",
    "out_format",
    "device",
    "node",
)
"""Columns that tell how a run was made."""
_KINDS = {
    "string": "varchar",
    "int64": "bigint",
    "double": "double",
    "bool": "boolean",
    "timestamp[us, tz=UTC]": "timestamptz",
}
"""Arrow's kinds of `records` as DuckDB calls them."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """An open manifest: the table `rows`, and the view `parts` of all columns as they lie there."""

    connection: "duckdb.DuckDBPyConnection"
    metrics: tuple[str, ...]
    """lr_consistency_psnr and every metric of the rows, as columns of `rows`."""
    paired: tuple[str, ...] = ()
    """Of `metrics`, those with a value of the bicubic enlargement too, in the column `before(name)`."""

    def ask(self, sql: str, parameters: list[Any] | None = None) -> list[dict[str, Any]]:
        """Return the answer to a query, a dictionary a row; only for answers that are small.

        Raises StorageError where memory or the temporary folder does not suffice.
        """
        import duckdb

        try:
            answer = self.connection.execute(sql, parameters or [])
        except (duckdb.OutOfMemoryException, duckdb.IOException) as error:
            raise StorageError(
                f"asking the manifest failed: {error}; free space in the temporary folder (TMPDIR)"
            ) from error
        names = [column[0] for column in answer.description or []]
        return [dict(zip(names, row, strict=True)) for row in answer.fetchall()]

    def ask_one(self, sql: str, parameters: list[Any] | None = None) -> dict[str, Any]:
        """Return the only row of an answer."""
        (row,) = self.ask(sql, parameters)
        return row


def before(metric: str) -> str:
    """Return the column that holds what the bicubic enlargement has of a metric."""
    return f"{metric}, before"


@contextmanager
def open_manifest(output: str, spec: StoreSpec) -> Iterator[Manifest]:
    """Open the manifest below an output; what was made for it on disk goes when it is closed.

    Raises InputError where there is no committed row, StorageError for a part that cannot be read, SpecError where
    duckdb is not installed.
    """
    with open_manifests([output], spec) as (manifest,):
        yield manifest


@contextmanager
def open_manifests(outputs: list[str], spec: StoreSpec) -> Iterator[list[Manifest]]:
    """Open several manifests in one database: the k-th (from 0) has the tables `rows_k`, the first also `rows`."""
    duckdb = _duckdb()
    with tempfile.TemporaryDirectory(prefix="tss-ray-report-", ignore_cleanup_errors=True) as folder:
        settings = {
            "memory_limit": _MEMORY,
            "temp_directory": f"{folder}/spill",
            "preserve_insertion_order": "false",
            # Nothing is fetched from anywhere: what a report needs is in the wheel.
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
        }
        connection = duckdb.connect(f"{folder}/rows.duckdb", config=settings)
        connection.execute("set enable_progress_bar = false")
        try:
            yield [_open(connection, output, spec, Path(folder), k) for k, output in enumerate(outputs)]
        finally:
            connection.close()


def _duckdb() -> Any:  # noqa: ANN401
    try:
        import duckdb
    except ModuleNotFoundError as error:
        raise SpecError("reports need duckdb, which is not installed; pip install 'tss-ray[report]'") from error
    return duckdb


def _open(connection: "duckdb.DuckDBPyConnection", output: str, spec: StoreSpec, folder: Path, index: int) -> Manifest:
    import duckdb

    store = open_store(output, spec)
    files = _part_files(store, output, folder / f"parts-{index}")
    listed = ", ".join("'" + file.replace("'", "''") + "'" for file in files)
    try:
        connection.execute(f"create view found_{index} as select * from read_parquet([{listed}], union_by_name = true)")
        found = connection.execute(f"describe found_{index}").fetchall()
        kinds = {str(row[0]): str(row[1]) for row in found}
        for needed in ("image_key", "status"):
            if needed not in kinds:
                raise StorageError(f"the parts below {output} have no column {needed}; give the folder of an output")
        lacking = [field for field in MANIFEST_SCHEMA if field.name not in kinds]
        nulls = "".join(f", null::{_kind(field.type)} as {field.name}" for field in lacking)
        connection.execute(f"create view parts_{index} as select *{nulls} from found_{index}")
        metrics = tuple(n for n, kind in kinds.items() if kind == "DOUBLE" and n not in MANIFEST_SCHEMA.names)
        paired = _listed_metrics(connection, index) if "metrics" in kinds else ()
        metrics = (*(name for name in metrics if name not in paired), *paired)
        columns = [*COPIED, *ORIGINS, *(f'"{name}"' for name in metrics if name not in paired)]
        columns += [sql for name in paired for sql in _metric_columns(name)]
        columns += [f"{sql} as {name}" for name, sql in _DERIVED.items()]
        connection.execute(f"create table rows_{index} as select {', '.join(columns)} from parts_{index}")
    except duckdb.Error as error:
        raise StorageError(
            f"the manifest below {output} cannot be read: {error}; delete a damaged part, and the next run redoes its "
            "images; if space ran out, free some in the temporary folder (TMPDIR)"
        ) from error
    if not index:
        connection.execute("create view rows as select * from rows_0")
        connection.execute("create view parts as select * from parts_0")
    return Manifest(connection, ("lr_consistency_psnr", *metrics), paired)


def _listed_metrics(connection: "duckdb.DuckDBPyConnection", index: int) -> tuple[str, ...]:
    """Return the names of the metrics in the rows' lists."""
    found = connection.execute(
        f"select distinct m.name from (select unnest(metrics) as m from parts_{index} where metrics is not null) "
        "where m.name is not null order by 1"
    ).fetchall()
    return tuple(str(row[0]) for row in found)


def _metric_columns(name: str) -> tuple[str, str]:
    """Return SQL of what a row's list says of a metric, after and before."""
    text = "'" + name.replace("'", "''") + "'"
    after, earlier = (f"[m.{side} for m in metrics if m.name = {text}][1]" for side in ("after", "before"))
    return f"{after} as {quoted(name)}", f"{earlier} as {quoted(before(name))}"


def quoted(column: str) -> str:
    """Return SQL for the name of a column."""
    return '"' + column.replace('"', '""') + '"'


def _kind(kind: pa.DataType) -> str:
    """Return what DuckDB calls a kind of Arrow that `records` has."""
    if pa.types.is_list(kind):
        return _kind(kind.value_type) + "[]"
    if pa.types.is_struct(kind):
        return f"struct({', '.join(f'{quoted(field.name)} {_kind(field.type)}' for field in kind)})"
    return _KINDS[str(kind)]


def _part_files(store: Store, output: str, folder: Path) -> list[str]:
    """Return paths that DuckDB reads: the parts themselves, or copies of those that lie in no folder.

    A name of a file that is there is taken letter by letter, whatever `*` or `[` it holds.
    """
    keys = [info.key for info in store.list(MANIFEST) if info.key.endswith(".parquet")]
    if not keys:
        raise InputError(f"no manifest below {output}; give the OUTPUT of a run of `tss-ray upscale`")
    if isinstance(store, LocalStore):
        return [store.uri(key) for key in keys]
    folder.mkdir()

    def fetch(numbered: tuple[int, str]) -> str:
        path = folder / f"{numbered[0]:08d}.parquet"
        path.write_bytes(store.read(numbered[1]))
        return str(path)

    with ThreadPoolExecutor(_FETCHERS, thread_name_prefix="parts") as threads:
        return list(threads.map(fetch, enumerate(keys)))
