"""What only the bytes can prove: every object and every input is read, hashed, and every object decoded again."""

import hashlib
from dataclasses import dataclass

from tss_ray.errors import DecodeError, ObjectNotFoundError, TssRayError
from tss_ray.imaging.decode import decode
from tss_ray.spec import StoreSpec
from tss_ray.storage.inputs import read_uri
from tss_ray.storage.parallel import ordered_map
from tss_ray.storage.protocol import Store
from tss_ray.verify.findings import Finding, Report
from tss_ray.verify.listing import Row, object_key, read_rows

_COLUMNS = [
    *("image_key", "input_uri", "status", "out_format", "out_width", "out_height"),
    *("output_bytes", "output_sha256", "input_bytes", "input_sha256"),
]


@dataclass(frozen=True)
class _Look:
    store: Store
    inputs: StoreSpec | None

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
            data = self.store.read(object_key(row))
        except ObjectNotFoundError:
            return None  # the listing told
        except TssRayError as error:
            return Finding("unreadable_object", key, str(error))
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
    for findings in ordered_map(_Look(store, inputs), read_rows(store, _COLUMNS)):
        for finding in findings:
            report.add(finding.kind, finding.key, finding.detail)
