"""What can be wrong with an output, and the report that counts it."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

Kind = Literal[
    "missing_row",
    "doubled_row",
    "other_spec",
    "unreadable_part",
    "missing_object",
    "extra_object",
    "object_size",
    "object_sha256",
    "unreadable_object",
    "gone_input",
    "changed_input",
    "wrong_summary",
]
KINDS: tuple[Kind, ...] = get_args(Kind)
MEANS: dict[Kind, str] = {
    "missing_row": "inputs without a row; run the same command again",
    "doubled_row": "images with several rows; the next run puts that right",
    "other_spec": "parts with rows of other settings than run/spec.json",
    "unreadable_part": "parts that are not Parquet; delete them, and the next run redoes their images",
    "missing_object": "rows that say done without an object; delete their parts, and the next run redoes them",
    "extra_object": "objects under images/ that no row names",
    "object_size": "objects of another size than their rows say",
    "object_sha256": "objects with other bytes than their rows say",
    "unreadable_object": "objects that are no images of the size that their rows say",
    "gone_input": "rows whose input is not there any more; --no-inputs leaves inputs out",
    "changed_input": "inputs that are not what was upscaled",
    "wrong_summary": "run/summary.json counts otherwise; the next run writes it anew",
}
EXAMPLES = 100
"""Findings of one kind that are named; the others are only counted."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong."""

    kind: Kind
    key: str
    """Of a row or an input its image_key, of an object or a part its key in the output."""
    detail: str = ""


@dataclass
class Report:
    """What was looked at and what was found."""

    output: str
    spec_hash: str
    deep: bool
    inputs: int | None = None
    """None: not looked at."""
    rows: int = 0
    done: int = 0
    quarantined: int = 0
    objects: int = 0
    complete: bool = False
    """Whether a run came to its end here (run/summary.json is there)."""
    seconds: float = 0.0
    counts: Counter[Kind] = field(default_factory=Counter)
    examples: list[Finding] = field(default_factory=list)
    _named: Counter[Kind] = field(default_factory=Counter)

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.counts.total()

    def add(self, kind: Kind, key: str, detail: str = "") -> None:
        """Count a finding and, while there is room, name it."""
        self.counts[kind] += 1
        self.name(kind, key, detail)

    def name(self, kind: Kind, key: str, detail: str = "") -> None:
        """Name a finding that was counted already."""
        if self._named[kind] < EXAMPLES:
            self._named[kind] += 1
            self.examples.append(Finding(kind, key, detail))

    def as_json(self) -> dict[str, Any]:
        """Return what `--json` prints; the shape is a promise."""
        return {
            "ok": self.ok,
            "output": self.output,
            "spec_hash": self.spec_hash,
            "complete": self.complete,
            "deep": self.deep,
            "inputs": self.inputs,
            "rows": self.rows,
            "done": self.done,
            "quarantined": self.quarantined,
            "objects": self.objects,
            "seconds": round(self.seconds, 3),
            "findings": {kind: self.counts[kind] for kind in KINDS},
            "examples": [{"kind": f.kind, "key": f.key, "detail": f.detail} for f in self.examples],
        }
