"""The super-resolution actor: caller threads in front, one engine thread behind.

Each call takes one block, hands its images to the engine, and while others run composes, encodes and uploads what is
finished. It returns one small block in input order, so a retry overwrites itself.
"""

import hashlib
import time
from concurrent.futures import CancelledError, Future
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import torch

from tss_ray.engine.device import default_max_batch, device_name, pick_device, pick_dtype
from tss_ray.engine.engine import Engine
from tss_ray.engine.state import DenoisedImage
from tss_ray.engine.thread import EngineThread
from tss_ray.errors import EncodeError, StorageError
from tss_ray.imaging.channels import to_model_rgb
from tss_ray.models.registry import load_model
from tss_ray.pipeline.finish import finish
from tss_ray.pipeline.monitor import StopSignal, Tally
from tss_ray.pipeline.plans import image_request
from tss_ray.pipeline.rows import PreparedImage, prepared_images
from tss_ray.records import ManifestRow, rows_to_table
from tss_ray.spec import JobSpec
from tss_ray.storage.layout import output_key
from tss_ray.storage.stores import open_store


class Upscaler:
    """One model on one device, fed by several threads."""

    def __init__(self, spec: JobSpec, use_gpu: bool, threads: int, monitor: Any) -> None:  # noqa: ANN401
        """Load the model and start its thread. Raises ModelError if the weights are not what their card says."""
        torch.set_num_threads(threads)
        self._spec, self._monitor = spec, monitor
        device = pick_device(use_gpu)
        model = load_model(spec.model, device, pick_dtype(spec.compute.dtype, device))
        self._card, self._device_name = model.card, device_name(device)
        max_batch = spec.compute.max_batch or default_max_batch(device)
        tiles, num_levels = spec.tiles, spec.plan.num_levels
        self._engine = EngineThread(Engine(model, device, max_batch, tiles.tile_px, tiles.overlap_px, num_levels))
        self._output = open_store(spec.output, spec.store)
        self._stopping = StopSignal(monitor)

    def __call__(self, block: pa.Table) -> pa.Table:
        """Return the block's manifest rows, in order; what was not begun when the run was stopped stays pending."""
        begun = [(image, self._begin(image)) for image in prepared_images(block)]
        return rows_to_table([self._finish(image, future) for image, future in begun])

    def _begin(self, image: PreparedImage) -> "Future[DenoisedImage] | None":
        if image.pixels is None or self._stopping:
            return None
        spec, row = self._spec, image.row
        rgb, num_steps = to_model_rgb(image.pixels, image.linear), row.num_steps or 0
        request = image_request(spec.plan, self._card.num_timesteps, row.image_key, rgb, num_steps, spec.seed)
        return self._engine.submit(request)

    def _finish(self, image: PreparedImage, future: "Future[DenoisedImage] | None") -> ManifestRow:
        row = image.row
        if image.pixels is not None:
            denoised = None if future is None else self._wait(future)
            if denoised is None:
                return row
            try:
                row = self._write(self._described(row, denoised), image, denoised)
            except EncodeError as error:
                row = row.quarantined(error.kind, str(error))
            except StorageError as error:
                row = row.quarantined("upload_failed", str(error))
        self._monitor.add.remote(Tally(int(row.status == "done"), int(row.status == "quarantined"), row.num_steps or 0))
        return replace(row, finished_at=datetime.now(UTC))

    def _wait(self, future: "Future[DenoisedImage]") -> DenoisedImage | None:
        """Wait for the engine; None if the run was stopped before the image had begun."""
        while True:
            try:
                return future.result(timeout=1.0)
            except FutureTimeout:
                if self._stopping:
                    future.cancel()
            except CancelledError:
                return None

    def _described(self, row: ManifestRow, denoised: DenoisedImage) -> ManifestRow:
        plan = self._spec.plan
        a_range, n_range = plan.ranges(denoised.request.num_steps)
        return replace(
            row,
            num_tiles=denoised.grid.num_tiles,
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
            model_id=self._card.model_id,
            model_sha256=self._card.sha256,
            queue_s=denoised.queue_s,
            denoise_s=denoised.denoise_s,
            device=self._device_name,
            device_seconds=denoised.device_seconds,
        )

    def _write(self, row: ManifestRow, image: PreparedImage, denoised: DenoisedImage) -> ManifestRow:
        """Compose, encode, upload. The object is there before its row is: the row proves it."""
        began = time.perf_counter()
        finished = finish(self._spec, image, denoised, self._card.scale)
        composed = time.perf_counter()
        encoded, key = finished.file, output_key(row.image_key, self._spec.encode.format)
        self._output.write(key, encoded.data, encoded.content_type)
        return replace(
            row,
            status="done",
            output_uri=self._output.uri(key),
            out_mode=encoded.mode,
            out_format=finished.format.upper(),
            out_bits=encoded.bits,
            output_bytes=len(encoded.data),
            output_sha256=hashlib.sha256(encoded.data).hexdigest(),
            lr_consistency_psnr=finished.lr_consistency_psnr,
            colour_delta_e=finished.colour_delta_e,
            colour_correction=finished.colour_correction,
            encode_s=composed - began,
            upload_s=time.perf_counter() - composed,
        )
