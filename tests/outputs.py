"""Outputs as runs leave them, made without a run."""

import dataclasses
import hashlib
import io
import json

from photos import photo_bytes
from PIL import Image

from tss_ray.records import ManifestRow
from tss_ray.storage.layout import SPEC_KEY
from tss_ray.storage.ledger import read_ledger, write_part
from tss_ray.storage.stores import open_store
from tss_ray.storage.summary import write_summary
from tss_ray.verify.check import verify

SPEC_HASH = "0123456789abcdef"


def enlarged(data):
    out = io.BytesIO()
    with Image.open(io.BytesIO(data)) as image:
        image.resize((4 * image.width, 4 * image.height)).save(out, "PNG")
    return out.getvalue()


def row(key, data, result=None):
    made = ManifestRow(
        image_key=key,
        input_uri=key,
        spec_hash=SPEC_HASH,
        input_bytes=len(data),
        input_sha256=hashlib.sha256(data).hexdigest(),
    )
    if result is None:
        return made.quarantined("corrupt", "it is rotten; replace it")
    with Image.open(io.BytesIO(data)) as image:
        width, height = image.size
    return dataclasses.replace(
        made,
        status="done",
        out_format="PNG",
        out_width=4 * width,
        out_height=4 * height,
        output_bytes=len(result),
        output_sha256=hashlib.sha256(result).hexdigest(),
    )


class Output:
    """An output of 12 images and a rotten one in 4 parts, as a run leaves it."""

    def __init__(self, root, spec):
        self.source, self.store = open_store(f"{root}/in", spec), open_store(f"{root}/out", spec)
        self.uri, self.spec = f"{root}/out", spec
        rows = []
        for n in range(12):
            data = photo_bytes(n, 12, 10)
            rows.append(self.add(f"{n % 3}/{n}.png", data, enlarged(data)))
        rows.append(self.add("rotten.jpg", b"rotten", None))
        self.parts = [write_part(self.store, rows[n : n + 4]) for n in range(0, 13, 4)]
        record = {"spec_hash": SPEC_HASH, "spec": {"input": f"{root}/in", "store": spec.model_dump()}}
        self.store.write(SPEC_KEY, json.dumps(record).encode())
        write_summary(self.store, SPEC_HASH, 13, read_ledger(self.store, SPEC_HASH))

    def add(self, key, data, result):
        self.source.write(key, data)
        if result is not None:
            self.store.write(f"images/{key}", result)
        return dataclasses.replace(row(key, data, result), input_uri=self.source.uri(key))

    def verify(self, **options):
        return verify(self.uri, self.spec, None, **options)


def found(report):
    """What a report names; nothing may be counted that is not named."""
    assert sum(report.counts.values()) == len(report.examples)
    return {(finding.kind, finding.key) for finding in report.examples}
