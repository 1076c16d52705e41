"""What an engine has done so far, as numbers that add up."""

from dataclasses import dataclass


@dataclass(frozen=True)
class EngineStats:
    """What an engine has done so far. Occupancy is slots_useful / slots_run, padding px_run / px_wanted."""

    forwards: int = 0
    slots_run: int = 0
    slots_useful: int = 0
    px_run: float = 0
    """Pixels of low resolution of all tiles that were submitted; see `TileGrid.padding_ratio`."""
    px_wanted: float = 0
    warm_up_s: float = 0
    """Trying batch sizes, once for each tile size; not in any image's device_seconds."""
    device_s: float = 0
    out_of_memory: int = 0
    """How often the batch was halved."""

    @property
    def occupancy(self) -> float:
        """Useful slots / slots run, in [0,1]; 1 before the first forward."""
        return self.slots_useful / self.slots_run if self.slots_run else 1.0

    @property
    def padding_ratio(self) -> float:
        """Pixels run / pixels wanted, at least 1."""
        return self.px_run / self.px_wanted if self.px_wanted else 1.0
