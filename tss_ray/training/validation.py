"""The table and the pictures in the middle of a run: what the network makes of photographs that it never sees."""

import io
import json
import logging
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw
from rich.console import Console
from rich.table import Table
from torch import Tensor

from tss_ray.diffusion.noise import position_noise
from tss_ray.diffusion.sampler import ddim_coefficients, ddim_step
from tss_ray.diffusion.timesteps import make_plan
from tss_ray.errors import TrainingError
from tss_ray.imaging.resample import downsample, upsample
from tss_ray.models.residual_unet import residual_pixels
from tss_ray.quality.lr_consistency import lr_consistency_psnr
from tss_ray.quality.metrics import metric
from tss_ray.quality.psnr import psnry
from tss_ray.training.crops import window_texture
from tss_ray.training.degrade import on_8_bits
from tss_ray.training.photos import measured_size, open_photo
from tss_ray.training.recipe import Recipe

log = logging.getLogger(__name__)

Predict = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(x (B,3·scale²,h,w), lr (B,3,h,w) in [-1,1], timesteps (B,) int64) -> the prediction, of x's shape."""

_HEADINGS = {"psnry": "PSNR-Y", "psnry_gain": "gain", "ssim": "SSIM", "niqe": "NIQE", "lr_consistency_psnr": "LR cons."}


@dataclass(frozen=True, slots=True)
class ValidationRow:
    """Means over the crops; `num_steps` 0 is the bicubic enlargement, `psnry_gain` is in dB over it.

    PSNR-Y and LR consistency in dB; ssim and niqe are None where pyiqa or niqe's parameters are missing.
    """

    num_steps: int
    psnry: float
    psnry_gain: float
    ssim: float | None
    niqe: float | None
    lr_consistency_psnr: float


class Validator:
    """Clean pairs, made once: `hr` (N,3,crop_px,crop_px) and `lr` reduced by `scale`, in [0,1] on the 8-bit grid."""

    def __init__(self, recipe: Recipe, photo_paths: Sequence[Path]) -> None:
        """Take the most textured window of each photograph, reduced first so that lossy files are sharp.

        Raises TrainingError if a photograph cannot be read, none is large enough, or the crop does not fit the network;
        SpecError if a row has more steps than the model timesteps.
        """
        self._recipe = recipe
        multiple = recipe.scale * recipe.unet.size_multiple
        if recipe.validation.crop_px % multiple:
            raise TrainingError(
                f"validation.crop_px={recipe.validation.crop_px}: need a multiple of {multiple}, as the network does; "
                "correct validation.crop_px"
            )
        self._plans = {num: make_plan(recipe.num_timesteps, num, "tds") for num in recipe.validation.steps}
        crops = {
            path.name: crop for path in photo_paths if (crop := _crop(path, recipe.validation.crop_px)) is not None
        }
        if not crops:
            raise TrainingError(
                f"none of {len(photo_paths)} photographs of the split validation holds a crop; fetch them, lower "
                "validation.crop_px, or set validation.every to 0"
            )
        names = list(crops)[: recipe.validation.num_crops]
        self.hr = torch.stack([crops[name] for name in names])
        self.lr = on_8_bits(downsample(self.hr, recipe.scale))
        channels, (height, width) = 3 * recipe.scale**2, self.lr.shape[-2:]
        noise = [position_noise(name, recipe.seed, 0, 0, 0, channels, height, width) for name in names]
        self._noise = torch.stack(noise)
        self._metrics = {name: metric(name) for name in ("ssim", "niqe")}
        self._outputs = {0: on_8_bits(upsample(self.lr * 2 - 1, recipe.scale) / 2 + 0.5)}
        self._bicubic = self._row(0)

    def measure(self, predict: Predict, alphas_cumprod: Tensor, device: str) -> list[ValidationRow]:
        """Enlarge all crops at each number of steps and return a row for each, after the bicubic one.

        Deterministic DDIM (eta 0) on TDS plans of the default a and n, from the same noise at every number of steps;
        outputs are rounded to 8 bits before anything is measured. `alphas_cumprod` is (T,) float64 on the CPU. The
        outputs stay for `grid`, and nobody else's random numbers are drawn.
        """
        for num_steps, plan in self._plans.items():
            self._outputs[num_steps] = self._enlarge(predict, alphas_cumprod, plan, device)
        return [self._bicubic, *(self._row(num_steps) for num_steps in self._plans)]

    def grid(self, path: Path) -> None:
        """Write a PNG of the crops, pixel for pixel: a line for each with bicubic, each number of steps, the original.

        The steps are those of the last `measure`; before it there are only the bicubic and the original.
        """
        columns = {f"{num} step{'s' * (num > 1)}" if num else "bicubic": sr for num, sr in self._outputs.items()}
        columns["original"] = self.hr
        lines = torch.stack(list(columns.values()), 3)  # (N,3,crop,columns,crop)
        num, _, side = lines.shape[:3]
        pixels = (lines.permute(0, 2, 3, 4, 1).reshape(num * side, -1, 3) * 255).round().to(torch.uint8)
        sheet = Image.fromarray(pixels.numpy())
        for column, label in enumerate(columns):
            ImageDraw.Draw(sheet).text((column * side + 4, 2), label, fill="white", stroke_width=2, stroke_fill="black")
        part = path.with_name(f"{path.name}.tmp")
        sheet.save(part, "PNG")
        os.replace(part, path)

    @torch.inference_mode()
    def _enlarge(self, predict: Predict, alphas_cumprod: Tensor, plan: tuple[int, ...], device: str) -> Tensor:
        recipe = self._recipe
        lr = (self.lr * 2 - 1).to(device)
        x = self._noise.to(device)
        coefficients = ddim_coefficients(alphas_cumprod, plan, 0.0, recipe.prediction_type).float().to(device)
        for timestep, c in zip(plan, coefficients, strict=True):
            timesteps = torch.full((len(x),), timestep, device=device)
            x = ddim_step(x, predict(x, lr, timesteps).float(), None, c[:, None, None, None, None])
        sr = residual_pixels(x, recipe.scale, recipe.residual_scale) + upsample(lr, recipe.scale)
        return on_8_bits(sr.cpu() / 2 + 0.5)

    def _row(self, num_steps: int) -> ValidationRow:
        sr = self._outputs[num_steps]
        fidelity = _mean([psnry(a, b) for a, b in zip(sr, self.hr, strict=True)])
        consistency = [lr_consistency_psnr(a, b, self._recipe.scale) for a, b in zip(sr, self.lr, strict=True)]
        return ValidationRow(
            num_steps=num_steps,
            psnry=fidelity,
            psnry_gain=fidelity - self._bicubic.psnry if num_steps else 0.0,
            ssim=self._ask("ssim", sr),
            niqe=self._ask("niqe", sr),
            lr_consistency_psnr=_mean(consistency),
        )

    def _ask(self, name: str, sr: Tensor) -> float | None:
        """Return the mean of a metric of pyiqa, or None where it is unavailable or not finite (niqe on flat crops)."""
        asked = self._metrics[name]
        value = math.nan if asked is None else _mean([asked(a, b) for a, b in zip(sr, self.hr, strict=True)])
        return value if math.isfinite(value) else None


def append_rows(path: Path, iteration: int, rows: Sequence[ValidationRow]) -> None:
    """Add a JSON line for each row, by rename; lines of this and later iterations go.

    A run that was killed goes on from an older checkpoint, and measures them again.
    """
    before = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    kept = [line for line in before if json.loads(line)["iteration"] < iteration]
    added = [json.dumps({"iteration": iteration} | {k: _rounded(v) for k, v in asdict(row).items()}) for row in rows]
    part = path.with_name(f"{path.name}.tmp")
    part.write_text("".join(f"{line}\n" for line in (*kept, *added)), encoding="utf-8")
    os.replace(part, path)


def as_table(iteration: int, rows: Sequence[ValidationRow]) -> str:
    """Return the rows as a table for the log."""
    table = Table(title=f"validation at iteration {iteration}", title_justify="left")
    for heading in ("steps", *_HEADINGS.values()):
        table.add_column(heading, justify="right")
    for row in rows:
        values = [getattr(row, name) for name in _HEADINGS]
        table.add_row(str(row.num_steps or "bicubic"), *("–" if v is None else f"{v:.3f}" for v in values))
    console = Console(file=io.StringIO(), width=100)
    with console.capture() as captured:
        console.print(table)
    return captured.get().rstrip("\n")


def _crop(path: Path, crop_px: int) -> Tensor | None:
    """Return the (3,crop_px,crop_px) window with the most texture, or None if the reduced photograph is smaller."""
    pixels = np.asarray(measured_size(open_photo(path)))
    if min(pixels.shape[:2]) < crop_px:
        log.warning("%s is left out: reduced, it holds no crop of %d px; lower validation.crop_px", path.name, crop_px)
        return None
    tops, lefts, texture = window_texture(pixels, crop_px)
    best = int(texture.argmax())
    window = pixels[tops[best] : tops[best] + crop_px, lefts[best] : lefts[best] + crop_px]
    return torch.from_numpy(window.copy()).permute(2, 0, 1).contiguous().float() / 255


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
