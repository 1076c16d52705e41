"""A large image from its row to its finished one: read again, streamed, encoded to a file, uploaded."""

import hashlib
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import CancelledError
from dataclasses import replace
from typing import BinaryIO, Protocol, cast

from tss_ray.budget.policy import another_rung
from tss_ray.engine.state import DenoisedImage
from tss_ray.engine.stream import TileStream
from tss_ray.engine.thread import EngineThread
from tss_ray.errors import GateError, ImageError, StorageError
from tss_ray.imaging.channels import to_model_rgb
from tss_ray.models.card import ModelCard
from tss_ray.pipeline.finish import Streamed, finish_streamed
from tss_ray.pipeline.large import pixels_again
from tss_ray.pipeline.model import JobCards
from tss_ray.pipeline.plans import row_request
from tss_ray.pipeline.rows import PreparedImage
from tss_ray.records import ManifestRow
from tss_ray.spec import JobSpec
from tss_ray.storage.layout import output_key
from tss_ray.storage.stores import Store


class Stopping(Protocol):
    """As `pipeline.monitor.MonitorLink`."""

    @property
    def overdue(self) -> bool:
        """Whether the stop was heard of too long ago."""


class Streamer:
    """What the actor does with an image whose pixels stayed behind."""

    def __init__(
        self,
        spec: JobSpec,
        engine: EngineThread,
        cards: JobCards,
        output: Store,
        stopping: Stopping,
        described: Callable[[ManifestRow, DenoisedImage], ManifestRow],
    ) -> None:
        """Take the actor's parts; `described` writes into a row what the engine did."""
        self._spec, self._engine, self._cards, self._output = spec, engine, cards, output
        self._stopping, self._described = stopping, described

    def upscale(self, image: PreparedImage) -> ManifestRow | None:
        """Return the finished row; None if the run was stopped. What a gate refuses is run once more."""
        try:
            with pixels_again(self._spec, image) as seen:
                return self._tried(replace(seen, row=replace(seen.row, attempt=1)))
        except ImageError as error:
            return image.row.quarantined(error.kind, str(error))
        except StorageError as error:
            return image.row.quarantined("fetch_failed", str(error))

    def _tried(self, image: PreparedImage) -> ManifestRow | None:
        row = image.row
        try:
            return self._written(image)
        except GateError as error:
            num_steps = another_rung(self._spec.budget, row.num_steps or 0, self._cards.num_steps)
            row = replace(row, attempt=2, refused_for=error.kind, num_steps=num_steps)
        except CancelledError:
            return None
        try:
            return self._written(replace(image, row=row))
        except GateError as error:
            return row.quarantined(error.kind, refused(row, error.kind))
        except CancelledError:
            return None

    def _written(self, image: PreparedImage) -> ManifestRow:
        """Stream, encode, upload. The object is there before its row is: the row proves it."""
        began, row, options = time.perf_counter(), image.row, self._spec.encode
        card = self._cards.at(row.num_steps or 0)
        stream, denoised = self._begun(image, card)
        with tempfile.NamedTemporaryFile(prefix="tss-ray-large-") as file:
            try:
                written = finish_streamed(self._spec, image, stream, card, cast(BinaryIO, file), self._overdue)
            except BaseException:
                if stream is not None:
                    stream.give_up()
                raise
            denoised = denoised if stream is None else stream.future.result()
            row = self._described(row, denoised)
            file.seek(0)
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            composed, key = time.perf_counter(), output_key(row.image_key, options.format)
            try:
                self._output.write_file(key, file.name, written.content_type)
            except StorageError as error:
                return row.quarantined("upload_failed", str(error))
            return self._done(row, written, key, file.tell(), digest, composed - began - denoised.denoise_s, composed)

    def _done(
        self,
        row: ManifestRow,
        written: Streamed,
        key: str,
        num_bytes: int,
        digest: str,
        encode_s: float,
        composed: float,
    ) -> ManifestRow:
        return replace(
            row,
            status="done",
            output_uri=self._output.uri(key),
            out_mode=written.mode,
            out_format=written.format.upper(),
            out_bits=written.bits,
            output_bytes=num_bytes,
            output_sha256=digest,
            lr_consistency_psnr=written.lr_consistency_psnr,
            colour_delta_e=written.colour_delta_e,
            colour_correction=written.colour_correction,
            encode_s=max(0.0, encode_s),
            upload_s=time.perf_counter() - composed,
        )

    def _begun(self, image: PreparedImage, card: ModelCard) -> tuple[TileStream | None, DenoisedImage]:
        """Return the stream of an image's tiles and what the engine has to say of an image of none."""
        assert image.pixels is not None
        rgb = to_model_rgb(image.pixels, image.linear)
        request = row_request(self._spec, card, image.row, rgb, self._engine.grid)
        stream = self._engine.stream(request)
        nothing = DenoisedImage(request, stream.grid, [], 0.0, 0.0, 0.0)
        if request.num_steps:
            return stream, nothing
        stream.give_up()
        return None, nothing

    def _overdue(self) -> bool:
        return self._stopping.overdue


def refused(row: ManifestRow, why: str) -> str:
    """Return the message of an image whose second output was refused too."""
    return (
        f"the model's output was refused twice, the second time at {row.num_steps} steps ({row.refused_for}, then "
        f"{why}): nothing was uploaded; look at the input, and if many are refused, at the model and the device"
    )
