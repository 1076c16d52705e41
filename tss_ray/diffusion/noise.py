"""Noise that belongs to a place in an image, not to a tile, a batch, a worker or a moment.

The image's latent grid is cut into cells; each cell draws from its own generator, seeded by what it is. Overlapping
tiles so see the same noise, and a retry, another cluster size or another tiling sees it again.
"""

import hashlib

import torch
from torch import Tensor

_CELL = 16


def position_noise(
    image_key: str, seed: int, draw: int, top: int, left: int, channels: int, height: int, width: int
) -> Tensor:
    """Return standard normal noise (channels, height, width) float32 on the CPU.

    `top` and `left` are positions on the image's latent grid; `draw` 0 starts the sampler, k > 0 is what step k adds.
    """
    out = torch.empty(channels, height, width)
    for cell_y in range(top // _CELL, (top + height - 1) // _CELL + 1):
        for cell_x in range(left // _CELL, (left + width - 1) // _CELL + 1):
            cell = _cell_noise(image_key, seed, draw, cell_y, cell_x, channels)
            y, x = cell_y * _CELL - top, cell_x * _CELL - left
            inside_y = slice(max(y, 0), min(y + _CELL, height))
            inside_x = slice(max(x, 0), min(x + _CELL, width))
            out[:, inside_y, inside_x] = cell[
                :, inside_y.start - y : inside_y.stop - y, inside_x.start - x : inside_x.stop - x
            ]
    return out


def _cell_noise(image_key: str, seed: int, draw: int, cell_y: int, cell_x: int, channels: int) -> Tensor:
    identity = f"{seed}/{draw}/{cell_y}/{cell_x}/{image_key}".encode("utf-8", "surrogatepass")
    number = int.from_bytes(hashlib.blake2b(identity, digest_size=8).digest()) >> 1
    return torch.randn(channels, _CELL, _CELL, generator=torch.Generator().manual_seed(number))
