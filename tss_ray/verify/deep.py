"""What only the bytes can prove: every object and every input is read, hashed, and every object decoded again."""

import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from tss_ray.errors import DecodeError, ObjectNotFoundError, TssRayError
from tss_ray.imaging.decode import decode
from tss_ray.spec import StoreSpec
from tss_ray.storage.inputs import read_uri
from tss_ray.storage.parallel import ordered_map
from tss_ray.storage.protocol import Store
from tss_ray.storage.shards import OpenShards, member_name
from tss_ray.verify.findings import Finding, Report
from tss_ray.verify.listing import Row, object_key, read_rows

_COLUMNS = [
    *("image_key", "input_uri", "status", "out_format", "out_width", "out_height", "output_shard"),
    *("output_bytes", "output_sha256", "input_bytes", "input_sha256"),
]


@dataclass(frozen=True)
class _Look:
    store: Store
    inputs: StoreSpec | None
    shards: OpenShards

    def __call__(self, row: Row) -> list[Finding]:
        findings = [] if row["status"] != "done" else [self._object(row)]
        if self.inputs is not None and row["input_sha256"] is not None:
            findings.append(self._input(row, self.inputs))
        return [finding for finding in findings if finding is not None]

    def _object(self, row: Row) -> Finding | None:
        key, width, height = str(row["image_key"]), row["out_width"], row["out_height"]
        assert isinstance(width, int)
        assert isinstance(height, int)
        try:
            data = self._data(row)
        except ObjectNotFoundError:
            return None  # the listing told
        except TssRayError as error:
            return Finding("unreadable_object", key, str(error))
        if data is None:
            return Finding("missing_object", key, f"{row['output_shard']} does not hold it")
        digest = hashlib.sha256(data).hexdigest()
        if digest != row["output_sha256"]:
            # What the listing told by its size is not told again.
            told = len(data) != row["output_bytes"]
            return None if told else Finding("object_sha256", key, f"{digest}, its row says {row['output_sha256']}")
        try:
            seen = decode(data, max_px=width * height).pixels.shape[:2]
        except DecodeError as error:
            return Finding("unreadable_object", key, str(error))
        same = seen == (height, width)
        return None if same else Finding("unreadable_object", key, f"{seen[1]}×{seen[0]} px, not {width}×{height}")

    def _data(self, row: Row) -> bytes | None:
        if row["output_shard"] is None:
            return self.store.read(object_key(row))
        shard = str(row["output_shard"])
        return self.shards.members(shard).get(member_name(shard, str(row["image_key"]), str(row["out_format"])))

    def _input(self, row: Row, spec: StoreSpec) -> Finding | None:
        key = str(row["image_key"])
        try:
            data = read_uri(str(row["input_uri"]), spec)
        except ObjectNotFoundError:
            return None  # the listing told
        except TssRayError as error:
            return Finding("changed_input", key, str(error))
        same = len(data) != row["input_bytes"] or hashlib.sha256(data).hexdigest() == row["input_sha256"]
        return None if same else Finding("changed_input", key, "other bytes of the same number")


def verify_deep(store: Store, report: Report, inputs: StoreSpec | None) -> None:
    """Read everything again, 16 at a time (`inputs` None: objects only), and add what is found to the report."""
    shards = OpenShards(store)
    named: Counter[str] = Counter()

    def rows() -> Iterator[Row]:
        for row in read_rows(store, _COLUMNS):
            if row["output_shard"] is not None:
                named[str(row["output_shard"])] += 1
            yield row

    for findings in ordered_map(_Look(store, inputs, shards), rows()):
        for finding in findings:
            report.add(finding.kind, finding.key, finding.detail)
    for shard, number in shards.num_members.items():
        if number > named[shard]:
            report.add("extra_object", shard, f"it holds {number} images, rows name {named[shard]}")
