"""Measuring for a plan: which images are looked at, and every rung of the ladder on some of them. Needs no Ray.

Which images are in the sample, their keys decide: the lowest hashes win, so the listing streams through a heap of a
fixed size, and the same dataset has the same sample whatever the order of its listing.
"""

import heapq
import io
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from tss_ray.budget.allocation import unit_hash
from tss_ray.budget.calibration import Calibration, Facts, RungTaken, Scanned, bin_edges, stratified
from tss_ray.budget.target import plan_settings
from tss_ray.engine.compose import compose
from tss_ray.engine.device import default_max_batch, device_name, pick_device, pick_dtype
from tss_ray.engine.pair import engine_of
from tss_ray.engine.state import DenoisedImage, ImageRequest
from tss_ray.errors import ImageError, InputError, SpecError, StorageError
from tss_ray.imaging.channels import from_model_planes, to_model_rgb
from tss_ray.imaging.decode import decode
from tss_ray.imaging.encode import Format, encode
from tss_ray.imaging.pixels import Pixels
from tss_ray.imaging.planes import to_planes
from tss_ray.imaging.resample import upsample
from tss_ray.imaging.tiles import best_tile
from tss_ray.pipeline.model import JobCards, job_models
from tss_ray.pipeline.plans import image_request
from tss_ray.pipeline.probe import probe
from tss_ray.quality.detail import detail_score
from tss_ray.quality.psnr import psnry
from tss_ray.quality.ssim import ssim
from tss_ray.spec import JobSpec
from tss_ray.storage.inputs import InputItem, list_inputs, read_uri
from tss_ray.storage.layout import output_format
from tss_ray.storage.stores import open_store

SCORES = ("detail", "psnry", "ssim")
"""`detail` needs no reference; see `quality.detail`."""

_THREADS = 16
_CROP_TILES = 2
"""A crop is at most so many tiles a side: what a rung does to quality and what it costs show on few tiles."""
_IMAGES_AT_ONCE = 8
"""Their rungs share batches, so that slots are full while seconds are counted."""
_EXAMPLES_PER_BIN = 2
_EXAMPLE_PX = 256


@dataclass(frozen=True)
class Listed:
    """A listing in passing: sums, and the sample of its keys, lowest hash first."""

    num_listed: int
    listed_bytes: int | None
    sample: tuple[InputItem, ...]


@dataclass(frozen=True)
class SampleSizes:
    """How much is looked at."""

    scan: int = 2000
    sample: int = 200
    bins: int = 6


def calibrate(
    spec: JobSpec,
    sizes: SampleSizes,
    score_name: str = "detail",
    reference: str | None = None,
    progress: Callable[[str, int, int], None] = lambda stage, done, total: None,
) -> Calibration:
    """List the input, scan a sample of it, and run every rung of `budget.ladder` on a part of that.

    reference: a folder or prefix that holds the originals under the inputs' keys. progress: told (stage, done, total).
    Raises SpecError for a score that does not fit, InputError for a sample of nothing and where no image can be read,
    StorageError, ModelError.
    """
    _check_score(score_name, reference)
    _check_sizes(sizes)
    listed = sample_keys(list_inputs(spec.input, spec.store, spec.input_layout), sizes.scan)
    progress("listing", listed.num_listed, listed.num_listed)
    scanned = list(_scan(spec, listed.sample, progress))
    scores = [each.texture_score for each in scanned if each.error_kind is None]
    edges = bin_edges(scores, sizes.bins, sizes.sample)
    chosen = stratified(scanned, edges, sizes.sample)
    uris = {item.image_key: item.uri for item in listed.sample}
    bench = _Bench(spec)
    rungs: list[RungTaken] = []
    shown = {each.image_key for each in stratified(chosen, edges, _EXAMPLES_PER_BIN * (len(edges) + 1))}
    for first in range(0, len(chosen), _IMAGES_AT_ONCE):
        group = chosen[first : first + _IMAGES_AT_ONCE]
        crops = [_crop(spec, bench.cards.main.scale, each, uris[each.image_key], reference) for each in group]
        rungs += bench.ladder(crops, score_name, shown)
        progress("ladder", first + len(group), len(chosen))
    return Calibration(_facts(spec, bench, listed, score_name), tuple(scanned), tuple(rungs), edges)


def sample_keys(items: Iterator[InputItem], size: int) -> Listed:
    """Stream a listing and keep the `size` keys of the lowest hash; `size` is 1 or more."""
    heap: list[tuple[float, str, InputItem]] = []
    num_listed, listed_bytes, sizes_known = 0, 0, True
    for item in items:
        num_listed += 1
        listed_bytes += item.size_bytes or 0
        sizes_known &= item.size_bytes is not None
        entry = (-unit_hash(item.image_key, "sample"), item.image_key, item)
        if len(heap) < size:
            heapq.heappush(heap, entry)
        elif entry[:2] > heap[0][:2]:
            heapq.heapreplace(heap, entry)
    ordered = sorted(heap, key=lambda entry: (-entry[0], entry[1]))
    return Listed(num_listed, listed_bytes if sizes_known else None, tuple(item for _, _, item in ordered))


def _check_score(score_name: str, reference: str | None) -> None:
    if score_name not in SCORES:
        raise SpecError(f"--score {score_name}: choose of {', '.join(SCORES)}")
    if score_name != "detail" and reference is None:
        raise SpecError(f"--score {score_name} compares with originals; name their folder with --reference")


def _check_sizes(sizes: SampleSizes) -> None:
    for flag, given, without in (
        ("--scan", sizes.scan, "nothing would be looked at"),
        ("--sample", sizes.sample, "no rung would be measured"),
        ("--bins", sizes.bins, "there would be no group to plan for"),
    ):
        if given < 1:
            raise InputError(f"{flag} {given}: {without}; choose 1 or more")


def _scan(spec: JobSpec, items: Sequence[InputItem], progress: Callable[[str, int, int], None]) -> Iterator[Scanned]:
    """Yield what was seen of every item, in order; only a few images are in memory at a time."""
    with ThreadPoolExecutor(_THREADS) as pool:
        for done, seen in enumerate(pool.map(lambda item: _look(spec, item), items), start=1):
            progress("scanning", done, len(items))
            yield seen


def _look(spec: JobSpec, item: InputItem) -> Scanned:
    try:
        data = read_uri(item.uri, spec.store, spec.limits.max_input_bytes)
        pixels = decode(data, spec.limits.max_input_px).pixels
    except ImageError as error:
        return Scanned(item.image_key, item.size_bytes, error.kind)
    except StorageError:
        return Scanned(item.image_key, item.size_bytes, "fetch_failed")
    seen = probe(pixels)
    height, width = pixels.shape[:2]
    grid = best_tile(height, width, spec.tiles.sides, spec.tiles.overlap_px)
    return Scanned(
        item.image_key,
        len(data),
        None,
        width,
        height,
        grid.full_tiles(spec.tiles.tile_px),
        seen.texture_score,
        seen.noise_sigma,
        seen.blur_score,
    )


@dataclass(frozen=True)
class _Crop:
    """A part of an input as files have it (h,w,c), the noise seen in it, and its original (4h,4w,c) where asked for."""

    image_key: str
    pixels: Pixels
    noise_sigma: float
    original: NDArray[np.uint8] | None


def _crop(spec: JobSpec, scale: int, seen: Scanned, uri: str, reference: str | None) -> _Crop:
    """Fetch an image again and cut the part that its key chooses; originals are of the model's own `scale`."""
    pixels = decode(read_uri(uri, spec.store, spec.limits.max_input_bytes), spec.limits.max_input_px).pixels
    tile_px, overlap_px = spec.tiles.tile_px, spec.tiles.overlap_px
    side = _CROP_TILES * tile_px - (_CROP_TILES - 1) * overlap_px
    height, width = pixels.shape[:2]
    top = int(unit_hash(seen.image_key, "top") * max(1, height - side + 1))
    left = int(unit_hash(seen.image_key, "left") * max(1, width - side + 1))
    cut = pixels[top : top + side, left : left + side]
    original = None
    if reference is not None:
        whole = _original(spec, scale, reference, seen.image_key, (height * scale, width * scale))
        rows, columns = cut.shape[0] * scale, cut.shape[1] * scale
        original = whole[top * scale :, left * scale :][:rows, :columns]
    return _Crop(seen.image_key, np.ascontiguousarray(cut), probe(cut).noise_sigma, original)


def _original(spec: JobSpec, scale: int, reference: str, key: str, size: tuple[int, int]) -> NDArray[np.uint8]:
    limit = spec.limits.max_input_px * scale**2
    try:
        pixels = decode(open_store(reference, spec.store).read(key), limit).pixels
    except (ImageError, StorageError) as error:
        raise InputError(f"no original of {key} under {reference}: {error} Or plan without --reference") from error
    if pixels.shape[:2] != size:
        raise InputError(
            f"the original of {key} is {pixels.shape[1]}×{pixels.shape[0]} px, {scale} times the input is "
            f"{size[1]}×{size[0]}; give originals of that size, or plan without --reference"
        )
    return to_model_rgb(pixels)


class _Bench:
    """The model on its device, as the job would run it."""

    def __init__(self, spec: JobSpec) -> None:
        """Load the model, and run one batch that is not counted. Raises ModelError as `load_model`."""
        self._spec = spec
        self.device = pick_device(spec.compute.gpus_per_actor != 0)
        if spec.compute.threads_per_actor and self.device.type == "cpu":
            torch.set_num_threads(spec.compute.threads_per_actor)
        self.dtype = pick_dtype(spec.compute.dtype, self.device)
        models = job_models(spec, self.device, self.dtype)
        self.cards = JobCards(*(model.card for model in models))
        self.cards.check_steps(spec.budget.ladder)
        self.max_batch = spec.compute.max_batch or default_max_batch(self.device)
        tiles = spec.tiles
        self._engine = engine_of(
            models,
            self.device,
            self.max_batch,
            tiles.tile_px,
            tiles.overlap_px,
            spec.plan.num_levels,
            tiles.sides,
        )
        flat = np.zeros((tiles.tile_px, tiles.tile_px, 3), np.uint8)
        for num_steps in (2, 1)[: len(models)]:
            self._run([self._request(f"warm-up/{number}", flat, num_steps) for number in range(self.max_batch)])

    def ladder(self, crops: Sequence[_Crop], score_name: str, shown: set[str]) -> Iterator[RungTaken]:
        """Yield every rung of every crop; the longest plans start first, so that short ones fill the batch's end."""
        asked = [(crop, num) for num in sorted(self._spec.budget.ladder, reverse=True) for crop in crops]
        requests = [self._request(crop.image_key, to_model_rgb(crop.pixels), num) for crop, num in asked]
        for (crop, num), done in zip(asked, self._run(requests), strict=True):
            yield self._taken(crop, num, done, score_name, crop.image_key in shown)

    def _request(self, key: str, rgb: NDArray[np.uint8], num_steps: int) -> ImageRequest:
        num_timesteps = self.cards.at(num_steps).num_timesteps
        return image_request(self._spec.plan, num_timesteps, key, rgb, num_steps, self._spec.seed)

    def _run(self, requests: Sequence[ImageRequest]) -> list[DenoisedImage]:
        futures: list[Future[DenoisedImage]] = [Future() for _ in requests]
        with torch.inference_mode():
            for request, future in zip(requests, futures, strict=True):
                self._engine.submit(request, future)
            while not self._engine.idle:
                self._engine.step()
        return [future.result(timeout=0) for future in futures]

    def _taken(self, crop: _Crop, num_steps: int, done: DenoisedImage, score_name: str, is_shown: bool) -> RungTaken:
        options, scale = self._spec.encode, self.cards.main.scale
        sr = compose(done, scale)
        pixels = _as_file(sr, crop.pixels, scale)
        image_format = cast(Format, output_format(crop.image_key, options.format))
        encoded = encode(pixels, image_format, quality=options.quality, lossless=options.lossless)
        return RungTaken(
            crop.image_key,
            num_steps,
            done.grid.full_tiles(self._spec.tiles.tile_px),
            done.device_seconds,
            _score(score_name, sr, done.request.lr, crop),
            len(encoded.data) / (pixels.shape[0] * pixels.shape[1]),
            _example(sr) if is_shown else None,
        )


def _as_file(sr: NDArray[np.uint8], like: Pixels, scale: int) -> Pixels:
    """Return the result with the channels and depth that its file would have."""
    alpha = upsample(to_planes(like[..., -1:])[None], scale)[0] if like.shape[2] in (2, 4) else None
    return from_model_planes(to_planes(sr), alpha, like)


def _score(name: str, sr: NDArray[np.uint8], lr: NDArray[np.uint8], crop: _Crop) -> float:
    if name == "detail" or crop.original is None:
        return detail_score(to_planes(sr), to_planes(lr), crop.noise_sigma).score
    compare = psnry if name == "psnry" else ssim
    return compare(to_planes(sr), to_planes(crop.original))


def _example(sr: NDArray[np.uint8]) -> bytes:
    height, width = sr.shape[:2]
    top, left = max(0, (height - _EXAMPLE_PX) // 2), max(0, (width - _EXAMPLE_PX) // 2)
    out = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(sr[top : top + _EXAMPLE_PX, left : left + _EXAMPLE_PX])).save(
        out, "WEBP", quality=90, method=4
    )
    return out.getvalue()


def _facts(spec: JobSpec, bench: _Bench, listed: Listed, score_name: str) -> Facts:
    return Facts(
        source=spec.input,
        num_listed=listed.num_listed,
        listed_bytes=listed.listed_bytes,
        score_name=score_name,
        ladder=spec.budget.ladder,
        model_id=bench.cards.main.model_id,
        model_sha256=bench.cards.main.sha256,
        one_step_sha256=None if bench.cards.one_step is None else bench.cards.one_step.sha256,
        device=device_name(bench.device),
        dtype=str(bench.dtype).removeprefix("torch."),
        max_batch=bench.max_batch,
        tile_px=spec.tiles.tile_px,
        overlap_px=spec.tiles.overlap_px,
        plan_settings=plan_settings(spec.plan),
        image_format=spec.encode.format,
    )
