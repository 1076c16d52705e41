"""Verify, another try and another start, from bucket to bucket."""

import pytest
from outputs import Output, found
from typer.testing import CliRunner

from tss_ray.cli import app
from tss_ray.storage.ledger import read_ledger
from tss_ray.storage.overwrite import overwrite
from tss_ray.storage.rewrite import take_back_quarantined

pytestmark = pytest.mark.s3


@pytest.fixture
def output(bucket, s3_spec):
    return Output(f"s3://{bucket}/set", s3_spec)


def test_faults_are_found_on_s3(output, s3_server):
    assert output.verify(deep=True).ok
    output.store.delete("images/0/0.png")
    output.store.write("images/1/1.png", output.store.read("images/1/4.png"))
    output.source.write("late.png", b"x")
    wanted = {("missing_object", "0/0.png"), ("object_size", "1/1.png"), ("missing_row", "late.png")}
    assert found(output.verify()) == wanted
    flags = ["--s3-endpoint-url", s3_server.endpoint_url, "--s3-addressing", "path"]
    told = CliRunner().invoke(app, ["verify", output.uri, *flags])
    assert told.exit_code == 1
    assert "1/1.png" in told.stdout


def test_rows_are_taken_back_and_an_output_is_emptied_on_s3(output):
    assert take_back_quarantined(output.store, frozenset({"corrupt"})) == 1
    ledger = read_ledger(output.store, "0123456789abcdef")
    assert (ledger.done, ledger.quarantined, len(ledger.names)) == (12, {}, 12)
    output.store.write("images/theirs.png", b"x")
    overwrite(output.store)
    assert [info.key for info in output.store.list()] == ["images/theirs.png", "run/spec.json"]
