"""Promises of the manifest's rows."""

import dataclasses
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tss_ray.records import MANIFEST_SCHEMA, ManifestRow, rows_to_table, table_to_rows

FIELDS = dataclasses.fields(ManifestRow)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
VALUES: dict[pa.DataType, st.SearchStrategy[Any]] = {
    pa.string(): TEXT,
    pa.int64(): st.integers(-(2**63), 2**63 - 1),
    pa.float64(): st.floats(allow_nan=False),
    pa.bool_(): st.booleans(),
    MANIFEST_SCHEMA.field("metrics").type: st.lists(
        st.fixed_dictionaries(
            {"name": TEXT}
            | dict.fromkeys(("before", "after"), st.none() | st.floats(allow_nan=False))
            | {"fault": st.none() | TEXT}
        ),
        max_size=2,
    ),
    pa.timestamp("us", tz="UTC"): st.datetimes(datetime(1970, 1, 2), datetime(2200, 1, 1), timezones=st.just(UTC)),
}


@st.composite
def rows(draw: st.DrawFn) -> ManifestRow:
    values = {}
    for field in MANIFEST_SCHEMA:
        value = VALUES[field.type]
        values[field.name] = draw(st.none() | value if field.nullable else value)
    return ManifestRow(**values)


@settings(deadline=None)
@given(st.lists(rows(), max_size=3))
def test_rows_come_back_from_a_table_as_they_were(written: list[ManifestRow]) -> None:
    table = rows_to_table(written)
    assert table.schema == MANIFEST_SCHEMA
    assert table_to_rows(table) == written


def test_the_schema_is_the_dataclass_in_order() -> None:
    assert MANIFEST_SCHEMA.names == [field.name for field in FIELDS]


def test_only_what_every_row_has_may_not_be_null() -> None:
    assert {f.name for f in MANIFEST_SCHEMA if not f.nullable} == {"image_key", "input_uri", "spec_hash", "status"}


def test_columns_of_others_are_ignored() -> None:
    row = ManifestRow(image_key="a", input_uri="in/a", spec_hash="0")
    assert table_to_rows(rows_to_table([row]).append_column("pixels", pa.array([b"x"]))) == [row]


def test_a_quarantined_row_keeps_what_was_known() -> None:
    row = ManifestRow(image_key="a", input_uri="in/a", spec_hash="0", input_bytes=5)
    out = row.quarantined("truncated", "it ends early")
    assert (out.status, out.error_kind, out.error_message) == ("quarantined", "truncated", "it ends early")
    assert (out.image_key, out.input_bytes) == ("a", 5)
    assert row.status == "pending"


def test_a_row_is_frozen() -> None:
    row = ManifestRow(image_key="a", input_uri="in/a", spec_hash="0")
    with pytest.raises(dataclasses.FrozenInstanceError):
        row.status = "done"  # type: ignore[misc]
