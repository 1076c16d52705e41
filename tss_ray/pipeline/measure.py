"""What metrics say of results: an operator of its own between the upscaler and the commit, where metrics are asked for.

It takes rows and reads the files of the drawn images again, output and input, from where they lie. So no pixel crosses
Ray's object store for it, what is measured is what was written (a lossy file with its losses), a worker that dies over
a metric takes no model with it, and pyiqa stays out of the actors that hold the device. The price is two reads of the
share that is drawn, and Ray's own cost of an operator: some 10 ms a block. CPU only: two pools of GPU actors do not
pipeline (ray#44767).
"""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import torch
from torch import Tensor

from tss_ray.budget.allocation import unit_hash
from tss_ray.errors import EngineError, ImageError, InputError, ObjectNotFoundError, SpecError, StorageError
from tss_ray.imaging.channels import model_planes
from tss_ray.imaging.colour import is_linear
from tss_ray.imaging.decode import decode
from tss_ray.imaging.planes import to_pixels, to_planes
from tss_ray.imaging.resample import upsample, upsample_rows
from tss_ray.pipeline.finish import resized
from tss_ray.pipeline.journal import DEATHS_ALONE, WatchedBlock
from tss_ray.pipeline.model import job_cards
from tss_ray.pipeline.monitor import MonitorLink
from tss_ray.pipeline.rows import FILE
from tss_ray.quality.detail import SCALE, detail_score
from tss_ray.quality.pyiqa_metrics import MetricFacts, PictureMetric, check_metrics, licence
from tss_ray.records import ManifestRow, MetricValue, rows_to_table, table_to_rows
from tss_ray.spec import JobSpec, MetricsSpec
from tss_ray.storage.inputs import read_uri
from tss_ray.storage.layout import IMAGE_EXTENSIONS, has_image_extension
from tss_ray.storage.stores import Store, open_store

log = logging.getLogger(__name__)

DETAIL = "detail"
"""The package's own score, which plans go by: it asks for the input and for no original, and needs no pyiqa."""
_STOPPED = "the run was stopped before it was measured"
_KILLER = f"workers died over it {DEATHS_ALONE} times; lower metrics.max_output_px"


def is_measured(metrics: MetricsSpec, row: ManifestRow) -> bool:
    """Say whether a row's image is drawn: by the hash of its key, so the same in every run; holdouts always are.

    A larger share draws what a smaller one drew, and more.
    """
    if row.status != "done" or not metrics.names:
        return False
    return bool(row.holdout) or unit_hash(row.image_key, "metrics") < metrics.share


def check_measuring(spec: JobSpec) -> tuple[MetricFacts, ...]:
    """Raise now what measuring would stumble over in every image; return the facts of the metrics.

    Raises SpecError for metrics that cannot be made on this machine or do not fit the job, InputError for references
    that are not there, and StorageError. Imports pyiqa in a child process only, and not even there where no metric of
    its was asked for.
    """
    metrics = spec.metrics
    if metrics.reference is not None and not metrics.names:
        raise SpecError("--reference without --metrics: nothing would be compared; ask for a metric, like psnry")
    ours = (MetricFacts(DETAIL),) if DETAIL in metrics.names else ()
    if ours and spec.scale != SCALE:
        raise SpecError(f"--metrics {DETAIL} judges enlargements by {SCALE}, not by {spec.scale:g}; leave it out")
    others = [name for name in metrics.names if name != DETAIL]
    if ours and not others and metrics.reference is not None:
        raise SpecError(f"--reference: {DETAIL} compares with nothing; leave it out, or ask for psnry or lpips too")
    found = ours + check_metrics(others, metrics.reference is not None)
    if metrics.reference is not None:
        store = open_store(metrics.reference, spec.store)
        store.check_readable()
        if next(iter(store.list()), None) is None:
            raise InputError(
                f"nothing found at --reference {metrics.reference}; give the folder or prefix of originals"
            )
    return found


def binding_licence(facts: Sequence[MetricFacts]) -> str | None:
    """Return the licence that the use of these metrics is bound by; None for none and for our own."""
    return licence() if any(each.name != DETAIL for each in facts) else None


class Measure:
    """The operator: a pool of processes of one thread each, with the metrics made once."""

    def __init__(self, spec: JobSpec, monitor: Any) -> None:  # noqa: ANN401
        """Make the metrics. Raises SpecError where one cannot be made on this node."""
        torch.set_num_threads(1)
        self._monitor, self._link = monitor, MonitorLink(monitor)
        self._measurer = Measurer(spec)

    def __call__(self, block: pa.Table) -> pa.Table:
        """Return the block's rows, those of drawn images with their metrics."""
        rows = table_to_rows(block)
        drawn = [row.image_key for row in rows if self._measurer.draws(row)]
        if not drawn:
            return block
        watched = WatchedBlock(self._monitor, "measure", drawn)
        in_shards = FILE in block.column_names
        files = block[FILE].to_pylist() if in_shards else [None] * len(rows)
        rows = [
            self._row(row, file, watched) if self._measurer.draws(row) else row
            for row, file in zip(rows, files, strict=True)
        ]
        watched.end()
        measured = rows_to_table(rows)
        return measured.append_column(FILE, block[FILE]) if in_shards else measured

    def _row(self, row: ManifestRow, file: bytes | None, watched: WatchedBlock) -> ManifestRow:
        if self._link.stopping:
            return self._measurer.unmeasured(row, _STOPPED)
        if row.image_key in watched.trial.killers:
            return self._measurer.unmeasured(row, _KILLER)
        if watched.trial.suspect:
            watched.alone(row.image_key)
        return self._measurer.measured(row, file)


class Measurer:
    """The work itself, without Ray."""

    def __init__(self, spec: JobSpec, make: Callable[[str], PictureMetric] = PictureMetric) -> None:
        """Make the metrics of a job. Raises SpecError where one cannot be made."""
        self._spec, self._scale = spec, job_cards(spec).main.scale
        self._metrics = {name: make(name) for name in spec.metrics.names if name != DETAIL}
        reference = spec.metrics.reference
        self._references = None if reference is None else open_store(reference, spec.store)

    def draws(self, row: ManifestRow) -> bool:
        """Say whether this row's image is to be measured."""
        return is_measured(self._spec.metrics, row)

    def unmeasured(self, row: ManifestRow, fault: str) -> ManifestRow:
        """Return the row with the reason in place of every value."""
        names = self._spec.metrics.names
        return replace(row, metrics=[MetricValue(name=n, before=None, after=None, fault=fault) for n in names])

    def measured(self, row: ManifestRow, file: bytes | None = None) -> ManifestRow:
        """Return the row with its metrics; what cannot be read or measured is told in their place.

        file: the output where it is not in the store yet, because it goes into a shard.
        """
        began = time.perf_counter()
        try:
            lr, before, after = self._pictures(row, file)
        except (ImageError, StorageError) as error:
            row = self.unmeasured(row, str(error))
        else:
            row = replace(row, metrics=self._values(row, lr, before, after))
        return replace(row, metrics_s=time.perf_counter() - began, finished_at=datetime.now(UTC))

    def _pictures(self, row: ManifestRow, file: bytes | None) -> tuple[Tensor, Tensor, Tensor]:
        """Return the input (3,h,w), its enlargement and the output (3,H,W), float in [0,1]."""
        limits, store = self._spec.limits, self._spec.store
        largest, width, height = self._spec.metrics.max_output_px, row.out_width or 0, row.out_height or 0
        if width * height > largest:
            raise ImageError("too_large", f"{width}×{height} px; raise metrics.max_output_px to measure it")
        after = as_shown(file if file is not None else read_uri(row.output_uri or "", store), largest)
        lr = as_shown(read_uri(row.input_uri, store, limits.max_input_bytes), limits.max_input_px)
        return lr, baseline(lr, self._scale, height, width), after

    def _values(self, row: ManifestRow, lr: Tensor, before: Tensor, after: Tensor) -> list[MetricValue]:
        reference, fault = None, None
        if any(metric.needs_reference for metric in self._metrics.values()):
            try:
                reference = self._reference(row, after)
            except (ImageError, StorageError) as error:
                fault = str(error)
        return [
            _detail(row, lr, before, after)
            if name == DETAIL
            else MetricValue(name=name, before=None, after=None, fault=fault)
            if self._metrics[name].needs_reference and reference is None
            else _value(self._metrics[name], before, after, reference)
            for name in self._spec.metrics.names
        ]

    def _reference(self, row: ManifestRow, after: Tensor) -> Tensor:
        store = self._references
        if store is None:
            raise StorageError("there is no reference; give metrics.reference")
        key = reference_key(store, row.image_key)
        picture = as_shown(store.read(key), self._spec.metrics.max_output_px)
        if picture.shape != after.shape:
            (_, h, w), (_, height, width) = picture.shape, after.shape
            told = f"the original {key} has {w}×{h} px, the output {width}×{height}; give originals of its size"
            raise ImageError("reference_size", told)
        return picture


def _value(metric: PictureMetric, before: Tensor, after: Tensor, reference: Tensor | None) -> MetricValue:
    try:
        values = [metric(picture, reference) for picture in (before, after)]
    except Exception as error:  # noqa: BLE001 - the boundary of the row: a hundred metrics, each with limits of its own
        log.warning("%s of a picture of %s failed: %r", metric.name, tuple(after.shape), error)
        told = f"{type(error).__name__}: {error}"[:300]
        return MetricValue(name=metric.name, before=None, after=None, fault=told)
    return MetricValue(name=metric.name, before=values[0], after=values[1], fault=None)


def _detail(row: ManifestRow, lr: Tensor, before: Tensor, after: Tensor) -> MetricValue:
    sigma = row.noise_sigma or 0.0
    try:
        values = [detail_score(picture, lr, sigma).score for picture in (before, after)]
    except EngineError as error:  # a result of another size, where settings limit that
        return MetricValue(name=DETAIL, before=None, after=None, fault=str(error))
    return MetricValue(name=DETAIL, before=values[0], after=values[1], fault=None)


def as_shown(data: bytes, max_px: int) -> Tensor:
    """Return a file's picture (3,H,W) float in [0,1] as shown; what is translucent on black. Raises ImageError."""
    image = decode(data, max_px)
    return model_planes(image.pixels, is_linear(image.icc_profile)).contiguous()


def baseline(lr: Tensor, scale: int, height: int, width: int) -> Tensor:
    """Return what 0 steps would have made of the input (3,h,w) at the output's size, rounded to 8 bits.

    The package's bicubic by the model's own `scale`, and from that to a smaller result, as results are made.
    """
    h, w = lr.shape[1:]
    if (height, width) == (h, w):
        return lr
    if (height, width) == (h * scale, w * scale):
        planes = upsample(lr[None], scale)[0]
    else:
        planes = resized(lambda first, last: upsample_rows(lr, scale, first, last), h * scale, height, width)(0, height)
    return to_planes(to_pixels(planes))


def reference_key(store: Store, image_key: str) -> str:
    """Return where an image's original lies: under its own key, or under that with another extension of images.

    Raises ObjectNotFoundError where it is not there.
    """
    if store.exists(image_key):
        return image_key
    stem = image_key.rpartition(".")[0] if has_image_extension(image_key) else image_key
    for extension in sorted(IMAGE_EXTENSIONS):
        if store.exists(stem + extension):
            return stem + extension
    raise ObjectNotFoundError(f"no original under {store.uri(image_key)}, with any extension of images; add it")
