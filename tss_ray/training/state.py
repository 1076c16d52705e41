"""Everything that a training run changes, and so everything that a checkpoint holds."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from tss_ray.training.adversarial import Adversary
from tss_ray.training.optimiser import MuonAndAdamW
from tss_ray.training.recipe import Recipe


class TrainingState:
    """The network, its optimiser, the moving average of its weights, and in the second phase the adversary."""

    def __init__(self, network: nn.Module, recipe: Recipe, adversary: Adversary | None) -> None:
        """Start the average at the network's own weights."""
        self.network, self.adversary, self._recipe = network, adversary, recipe
        self.optimiser = self._fresh_optimiser()
        self.ema: dict[str, Tensor] = {name: value.detach().clone() for name, value in network.state_dict().items()}

    def begin_second_phase(self) -> None:
        """Go on from the averaged weights, and forget the gradients of the first phase."""
        self.network.load_state_dict(self.ema)
        self.optimiser = self._fresh_optimiser()

    @torch.no_grad()
    def average(self, decay: float) -> None:
        """Move the average towards the weights by 1 - decay."""
        torch._foreach_lerp_(list(self.ema.values()), list(self.network.state_dict().values()), 1 - decay)

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Have the network hold the average for a while."""
        trained = {name: value.detach().clone() for name, value in self.network.state_dict().items()}
        self.network.load_state_dict(self.ema)
        try:
            yield
        finally:
            self.network.load_state_dict(trained)

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint must hold."""
        return {
            "network": self.network.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "ema": self.ema,
            "adversary": None if self.adversary is None else self.adversary.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint of the same recipe."""
        self.network.load_state_dict(state["network"])
        self.optimiser.load_state_dict(state["optimiser"])
        for name, value in state["ema"].items():
            self.ema[name].copy_(value)
        if self.adversary is not None:
            self.adversary.load_state_dict(state["adversary"])

    def _fresh_optimiser(self) -> torch.optim.Optimizer | MuonAndAdamW:
        """Return the recipe's; its learning rate is set before every step."""
        if self._recipe.optimiser == "muon":
            return MuonAndAdamW(self.network, self._recipe.weight_decay)
        return torch.optim.AdamW(self.network.parameters(), weight_decay=self._recipe.weight_decay, fused=True)
