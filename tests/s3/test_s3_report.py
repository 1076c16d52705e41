"""A report of an output in a bucket: parts, pictures and the two files go through our own store."""

import io
import json

import pytest
from photos import photo_bytes
from PIL import Image

from tss_ray.records import ManifestRow
from tss_ray.report.build import ReportOptions, make_report, report_folder, write_report
from tss_ray.storage.ledger import write_part
from tss_ray.storage.stores import open_store

pytestmark = pytest.mark.s3


def test_a_bucket_is_reported_on_and_the_report_lies_there(bucket, s3_spec):
    inputs, output = open_store(f"s3://{bucket}/in", s3_spec), open_store(f"s3://{bucket}/out", s3_spec)
    for index, key in enumerate(("a b.png", "c/ü%20.png")):
        inputs.write(key, photo_bytes(index, 30, 20))
        enlarged = io.BytesIO()
        Image.open(io.BytesIO(inputs.read(key))).resize((120, 80)).save(enlarged, "PNG")
        output.write(f"images/{key}", enlarged.getvalue())
        sizes = {"in_width": 30, "in_height": 20, "out_width": 120, "out_height": 80, "num_steps": 4}
        uris = {"input_uri": inputs.uri(key), "output_uri": output.uri(f"images/{key}")}
        row = ManifestRow(image_key=key, spec_hash="abc", status="done", lr_consistency_psnr=40.0, **uris, **sizes)
        write_part(output, [row])
    made = make_report(f"s3://{bucket}/out", ReportOptions(store=s3_spec))
    assert made.html.count("data:image/webp;base64,") == 8
    written = write_report(made, report_folder(f"s3://{bucket}/out"), s3_spec)
    assert written[0] == f"s3://{bucket}/out/report/report.html"
    assert json.loads(output.read("report/report.json"))["totals"]["done"] == 2
