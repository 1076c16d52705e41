"""The super-resolution actor: caller threads in front, one engine thread behind.

Each call takes one block, hands its images to the engine, and while others run composes, encodes and uploads what is
finished. It returns one small block in input order, so a retry overwrites itself.
"""

import hashlib
import logging
import threading
import time
from collections.abc import Sequence
from concurrent.futures import CancelledError, Future
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import ray
import torch
from numpy.typing import NDArray

from tss_ray.budget.policy import another_rung
from tss_ray.engine.device import default_max_batch, device_name, pick_compile, pick_device, pick_dtype
from tss_ray.engine.engine import Engine
from tss_ray.engine.memory import fitting_batch
from tss_ray.engine.pair import EnginePair, engine_of
from tss_ray.engine.runner import Runner
from tss_ray.engine.state import DenoisedImage
from tss_ray.engine.thread import EngineThread
from tss_ray.errors import GateError, ImageError, StorageError
from tss_ray.imaging.channels import to_model_rgb
from tss_ray.imaging.encode import EncodedImage
from tss_ray.models.base import SuperResolutionModel
from tss_ray.pipeline.finish import finish
from tss_ray.pipeline.floor import Floor
from tss_ray.pipeline.journal import DEATHS_ALONE, KILLED, WatchedBlock
from tss_ray.pipeline.meters import meters, tell_upscaled
from tss_ray.pipeline.model import JobCards, job_models
from tss_ray.pipeline.monitor import MonitorLink, Tally, worker_logs
from tss_ray.pipeline.plans import row_request
from tss_ray.pipeline.pulse import Pulse, actor_name
from tss_ray.pipeline.rows import FILE, PreparedImage, prepared_images
from tss_ray.pipeline.streamer import Streamer, refused
from tss_ray.pipeline.twins import Identity, Twins, Upscaled, identity, twin_row
from tss_ray.records import ManifestRow, rows_to_table
from tss_ray.spec import JobSpec
from tss_ray.storage.layout import output_key
from tss_ray.storage.stores import open_store

log = logging.getLogger(__name__)

_LOOK_S = 1.0
"""How often a caller that waits for the engine looks whether the run is to stop."""
_KILLER = (
    f"workers of the model died over it {DEATHS_ALONE} times while it was alone; replace the file, or lower "
    "limits.max_input_px"
)


def make_engine(spec: JobSpec, models: Sequence[SuperResolutionModel], device: torch.device) -> Engine | EnginePair:
    """Return the engine of a job; without compute.max_batch it holds the default batch, or what fits into memory."""
    compute, tiles, num_levels = spec.compute, spec.tiles, spec.plan.num_levels

    def try_each() -> None:
        for model in models:
            Runner(model, device).try_tiles(range(1), tiles.tile_px, num_levels)

    max_batch = compute.max_batch or fitting_batch(
        default_max_batch(device),
        device,
        try_each,
        share=min(1.0, compute.gpus_per_actor or 1.0),
    )
    told = " and ".join(model.card.model_id for model in models)
    log.info("%s on %s, at most %d tiles a batch", told, device, max_batch)
    return engine_of(models, device, max_batch, tiles.tile_px, tiles.overlap_px, num_levels, tiles.sides)


class Upscaler:
    """A job's model, or both, on one device, fed by several threads."""

    def __init__(self, spec: JobSpec, use_gpu: bool, threads: int, monitor: Any) -> None:  # noqa: ANN401
        """Load what runs and start its thread. Raises ModelError if the weights are not what their card says."""
        torch.set_num_threads(threads)
        self._spec, self._monitor = spec, monitor
        device, compute = pick_device(use_gpu), spec.compute
        models = job_models(spec, device, pick_dtype(compute.dtype, device), pick_compile(compute.compile))
        self._cards, self._device_name = JobCards(*(model.card for model in models)), device_name(device)
        self._engine = EngineThread(make_engine(spec, models, device), threads)
        self._output = open_store(spec.output, spec.store)
        self._link, self._floor, self._twins = MonitorLink(monitor), Floor(), Twins()
        self._files: dict[str, bytes] = {}
        """Finished ones of blocks that go into shards, by image_key."""
        self._pulse = Pulse(self._engine, meters(), actor_name()) if ray.is_initialized() else None
        self._one_large = threading.Lock()
        self._streamer = Streamer(spec, self._engine, self._cards, self._output, self._link, self._described)

    def __call__(self, block: pa.Table) -> pa.Table:
        """Return the block's manifest rows, in order; what was not begun when the run was stopped stays pending."""
        torch.set_num_threads(1)  # of this thread: the cores belong to the engine, and calls are parallel already
        worker_logs(self._spec.telemetry, self._monitor)
        images = prepared_images(block)
        image_keys = [image.row.image_key for image in images]
        with self._floor.together():  # before the journal: who only waits is no suspect
            watched = WatchedBlock(self._monitor, "upscale", image_keys)
            rows = None if watched.trial.suspect else self._together(images)
        if rows is None:
            rows = [self._alone(image, watched) for image in images]
        watched.end()
        self._link.flush()
        self._tell(rows)
        return self._with_files(rows_to_table(rows), image_keys)

    def _with_files(self, rows: pa.Table, image_keys: list[str]) -> pa.Table:
        """Add the files that are not uploaded here, but go into a shard with the part that their rows become."""
        if self._spec.output_layout == "files":
            return rows
        files = [self._files.pop(image_key, None) for image_key in image_keys]
        return rows.append_column(FILE, pa.array(files, pa.large_binary()))

    def _tell(self, rows: list[ManifestRow]) -> None:
        tell_upscaled(meters(), rows)
        if self._pulse is not None:
            self._pulse.beat()
        stats, told = self._engine.stats, {"stage": "upscale", "num_images": len(rows)}
        log.info("%d images; the engine so far: %s, %.1f s idle", len(rows), stats, self._engine.idle_s, extra=told)

    def _together(self, images: list[PreparedImage]) -> list[ManifestRow]:
        seen: set[Identity] = set()
        begun = []
        for image in images:
            key = self._identity(image)
            twin = key is not None and (key in seen or self._twins.get(key) is not None)
            if key is not None and twin:
                self._twins.hold(key)
            elif key is not None:
                seen.add(key)
            begun.append((image, key if twin else None, None if twin else self._begin(image)))
        order = sorted(range(len(images)), key=lambda number: _size(images[number]))  # which take longest come last
        rows = {number: self._ended(*begun[number]) for number in order}
        return [rows[number] for number in range(len(images))]

    def _ended(self, image: PreparedImage, key: Identity | None, future: "Future[DenoisedImage] | None") -> ManifestRow:
        return self._twin(image, key) if key else self._finish(image, future)

    def _identity(self, image: PreparedImage) -> Identity | None:
        return identity(image.row, self._spec.encode.format) if self._spec.dedupe and image.pixels is not None else None

    def _twin(self, image: PreparedImage, key: Identity) -> ManifestRow:
        """Write an image's file as another has made it; where that one failed, this is an image like any other."""
        original = self._twins.get(key)
        self._twins.release(key)
        if original is None:
            return self._finish(image, self._begin(image))
        row = twin_row(image.row, original.row)
        try:
            row = self._stored(row, original.file)
        except (ImageError, StorageError) as error:
            row = image.row.quarantined(_upload_kind(error), str(error))
        return self._counted(row)

    def _alone(self, image: PreparedImage, watched: WatchedBlock) -> ManifestRow:
        """Try an image of a block that lost its worker, with nothing else in the engine."""
        if (image.pixels is None and not image.streamed) or self._link.stopping:
            return self._finish(image, None)
        if image.row.image_key in watched.trial.killers:
            return self._finish(PreparedImage(image.row.quarantined(KILLED, _KILLER)), None)
        with self._floor.alone():
            watched.alone(image.row.image_key)
            row = self._finish(image, self._begin(image))
            watched.survived()
        return row

    def _begin(self, image: PreparedImage) -> "Future[DenoisedImage] | None":
        if image.pixels is None or self._link.stopping:
            return None
        return self._submit(image.row, to_model_rgb(image.pixels, image.linear))

    def _submit(self, row: ManifestRow, rgb: NDArray[np.uint8]) -> "Future[DenoisedImage]":
        card = self._cards.at(row.num_steps or 0)
        return self._engine.submit(row_request(self._spec, card, row, rgb, self._engine.grid))

    def _finish(self, image: PreparedImage, future: "Future[DenoisedImage] | None") -> ManifestRow:
        row = image.row
        if image.pixels is not None or image.streamed:
            finished = self._streamed(image) if image.streamed else self._upscaled(image, future)
            if finished is None:
                return row
            row = finished
        elif row.status == "pending":  # the run was stopped before it was fetched
            return row
        return self._counted(row)

    def _counted(self, row: ManifestRow) -> ManifestRow:
        """Return a row that is finished."""
        done = row.status == "done"
        self._link.count(Tally(int(done), int(not done), row.num_steps or 0, row.device_seconds or 0.0))
        level = logging.DEBUG if done else logging.INFO
        told = {"image_key": row.image_key, "status": row.status, "error_kind": row.error_kind}
        log.log(level, "%s", row.error_message or row.status, extra=told)
        return replace(row, finished_at=datetime.now(UTC))

    def _upscaled(self, image: PreparedImage, future: "Future[DenoisedImage] | None") -> ManifestRow | None:
        """Return the finished row; None if the run was stopped. What a gate refuses is run once more."""
        row = replace(image.row, attempt=1)
        while future is not None and (denoised := self._wait(future)) is not None:
            described = self._described(row, denoised)
            try:
                return self._write(described, image, denoised)
            except GateError as error:
                if row.refused_for is not None:
                    return described.quarantined(error.kind, refused(row, error.kind))
                num_steps = another_rung(self._spec.budget, row.num_steps or 0, self._cards.num_steps)
                row = replace(row, attempt=2, refused_for=error.kind, num_steps=num_steps)
                row = replace(row, refused_device_s=denoised.device_seconds)
                future = self._submit(row, denoised.request.lr)
            except (ImageError, StorageError) as error:  # of the encoder, or a key that the store cannot hold
                return described.quarantined(_upload_kind(error), str(error))
        return None

    def _streamed(self, image: PreparedImage) -> ManifestRow | None:
        """Return the finished row of an image that is streamed, one at a time; None if the run was stopped."""
        while not self._one_large.acquire(timeout=_LOOK_S):
            if self._link.stopping:
                return None
        try:
            return None if self._link.stopping else self._streamer.upscale(image)
        finally:
            self._one_large.release()

    def _wait(self, future: "Future[DenoisedImage]") -> DenoisedImage | None:
        """Wait for the engine; None if the run was stopped before the image had begun, or too long ago."""
        while True:
            if self._link.stopping:
                future.cancel()  # which does nothing to what has begun
            overdue = self._link.overdue
            try:
                return future.result(timeout=0.0 if overdue else _LOOK_S)
            except FutureTimeout:
                if overdue:
                    return None
            except CancelledError:
                return None

    def _described(self, row: ManifestRow, denoised: DenoisedImage) -> ManifestRow:
        plan, card = self._spec.plan, self._cards.at(denoised.request.num_steps)
        a_range, n_range = plan.ranges(denoised.request.num_steps)
        return replace(
            row,
            num_tiles=denoised.grid.num_tiles,
            tile_px=denoised.grid.tile_px,
            padding_ratio=denoised.padding_ratio,
            nfe=denoised.nfe,
            plan_family=plan.family,
            plan_a_min=a_range[0],
            plan_a_max=a_range[1],
            plan_n_min=n_range[0],
            plan_n_max=n_range[1],
            plan_levels=plan.num_levels,
            eta=plan.eta,
            eta_by_texture=plan.eta_by_texture,
            seed=self._spec.seed,
            model_id=card.model_id,
            model_sha256=card.sha256,
            queue_s=denoised.queue_s,
            denoise_s=denoised.denoise_s,
            device=self._device_name,
            device_seconds=denoised.device_seconds,
        )

    def _write(self, row: ManifestRow, image: PreparedImage, denoised: DenoisedImage) -> ManifestRow:
        """Compose, encode, upload."""
        began = time.perf_counter()
        finished = finish(self._spec, image, denoised, self._cards.main.scale)
        composed = time.perf_counter()
        encoded = finished.file
        row = replace(
            row,
            status="done",
            out_mode=encoded.mode,
            out_format=finished.format.upper(),
            out_bits=encoded.bits,
            output_bytes=len(encoded.data),
            output_sha256=hashlib.sha256(encoded.data).hexdigest(),
            lr_consistency_psnr=finished.lr_consistency_psnr,
            colour_delta_e=finished.colour_delta_e,
            colour_correction=finished.colour_correction,
            encode_s=composed - began,
        )
        row = self._stored(row, encoded)
        if key := self._identity(image):
            self._twins.add(key, Upscaled(row, encoded))
        return row

    def _stored(self, row: ManifestRow, file: EncodedImage) -> ManifestRow:
        """Upload a file, or keep it for its shard. The object is there before its row is: the row proves it."""
        began = time.perf_counter()
        key = output_key(row.image_key, self._spec.encode.format)
        if self._spec.output_layout != "files":
            self._files[row.image_key] = file.data
            return row
        self._output.write(key, file.data, file.content_type)
        return replace(row, output_uri=self._output.uri(key), upload_s=time.perf_counter() - began)


def _size(image: PreparedImage) -> tuple[bool, int]:
    """Return what orders images by how long they may take; copies of one another are equal."""
    return image.streamed, (image.row.in_width or 0) * (image.row.in_height or 0)


def _upload_kind(error: ImageError | StorageError) -> str:
    return error.kind if isinstance(error, ImageError) else "upload_failed"
