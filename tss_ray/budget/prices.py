"""What a device-hour and a request cost: numbers that the user gives, never guessed here."""

from pathlib import Path
from typing import Annotated

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tss_ray.errors import SpecError

_EXAMPLE = "devices: {my-gpu: 2.50}"
_GIB = 2**30
_KEYS_PER_LISTING = 1000

Usd = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class StoragePrices(BaseModel):
    """USD of a bucket; what is not given costs nothing in a plan, and the plan says so."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    usd_per_1000_reads: Usd = 0.0
    usd_per_1000_writes: Usd = 0.0
    usd_per_1000_lists: Usd = 0.0
    usd_per_gib_month: Usd = 0.0


class Prices(BaseModel):
    """A file of named prices: USD per hour of one device of each name."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    devices: dict[str, Annotated[float, Field(gt=0, allow_inf_nan=False)]] = Field(default_factory=dict)
    storage: StoragePrices = StoragePrices()


class Requests(BaseModel):
    """What a job asks of its storage."""

    model_config = ConfigDict(frozen=True)

    lists: int
    reads: int
    writes: int
    read_bytes: int
    written_bytes: int

    def usd(self, prices: StoragePrices) -> float:
        """Return the price of the requests; keeping what was written is not counted."""
        return (
            self.lists * prices.usd_per_1000_lists
            + self.reads * prices.usd_per_1000_reads
            + self.writes * prices.usd_per_1000_writes
        ) / 1000

    def usd_per_month(self, prices: StoragePrices) -> float:
        """Return the price of keeping what was written for a month."""
        return self.written_bytes / _GIB * prices.usd_per_gib_month


def job_requests(
    num_images: int, readable_share: float, read_bytes: int, written_bytes: int, block_images: int, part_rows: int
) -> Requests:
    """Return what a job of so many images asks for: inputs, outputs, promises, rows, key lists."""
    done = round(num_images * readable_share)
    extra = -(-num_images // block_images) + -(-num_images // part_rows) + -(-num_images // 8192)
    return Requests(
        lists=-(-num_images // _KEYS_PER_LISTING),
        reads=num_images + extra,
        writes=done + extra,
        read_bytes=read_bytes,
        written_bytes=written_bytes,
    )


def read_prices(path: Path | None) -> Prices:
    """Read a YAML file of prices; no file is no prices. Raises SpecError for what does not hold."""
    if path is None:
        return Prices()
    try:
        return Prices.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")) or {})
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise SpecError(f"cannot read the prices {path}: {error}; write a line such as {_EXAMPLE}") from error
    except ValidationError as error:
        where = ".".join(str(part) for part in error.errors()[0]["loc"])
        raise SpecError(
            f"{path}: {where}: {error.errors()[0]['msg']}; write prices in USD, such as {_EXAMPLE}"
        ) from error


def device_usd_per_hour(given: float | None, prices: Prices, name: str | None) -> float | None:
    """Return the price of a device-hour, or None where none was given.

    `given` wins; else that of `name`; else the only one of the file. Raises SpecError for an unknown name or a price
    that is not above 0.
    """
    if given is not None:
        if not given > 0:
            raise SpecError(f"--device-usd-per-hour {given:g}: need a price above 0; correct it")
        return given
    if name is not None:
        if name not in prices.devices:
            known = ", ".join(sorted(prices.devices)) or "none"
            raise SpecError(f"no price of {name!r} (known: {known}); add it under `devices` in the file of --prices")
        return prices.devices[name]
    return next(iter(prices.devices.values())) if len(prices.devices) == 1 else None
