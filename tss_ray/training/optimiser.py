"""Muon for the convolutions and AdamW for everything else, as one optimiser."""

from typing import Any

import torch
from torch import Tensor, nn

from tss_ray.errors import TrainingError


class MuonAndAdamW:
    """Every kernel as a matrix (out, k·k·in), moved along the orthogonalised momentum of its gradient.

    After Keller Jordan et al., "Muon" (github.com/KellerJordan/Muon, MIT), in torch's own implementation, which takes
    matrices alone; steps are scaled to AdamW's root mean square, as Liu et al. (arXiv 2502.16982) do, so that one
    learning rate serves both. Biases, norms, linear layers and 1×1 convolutions are AdamW's.
    """

    def __init__(self, network: nn.Module, weight_decay: float) -> None:
        """Take the parameters; the learning rate is set in `param_groups` before every step.

        Raises TrainingError if the network is not in channels_last: its kernels would be copied, and never move.
        """
        self._kernels = [p for p in network.parameters() if _is_kernel(p)]
        others = [p for p in network.parameters() if not _is_kernel(p)]
        self._matrices = [nn.Parameter(_matrix(p.detach())) for p in self._kernels]
        if any(m.data_ptr() != p.data_ptr() for m, p in zip(self._matrices, self._kernels, strict=True)):
            raise TrainingError("the kernels are not in channels_last; move the network to that memory format first")
        self._muon = torch.optim.Muon(self._matrices, weight_decay=weight_decay, adjust_lr_fn="match_rms_adamw")
        self._adamw = torch.optim.AdamW(others, weight_decay=weight_decay, fused=True)

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """The groups of both."""
        return [*self._muon.param_groups, *self._adamw.param_groups]

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients of both."""
        for kernel in self._kernels:
            kernel.grad = None
        self._adamw.zero_grad(set_to_none)

    def step(self) -> None:
        """Move every parameter that has a gradient."""
        for matrix, kernel in zip(self._matrices, self._kernels, strict=True):
            matrix.grad = None if kernel.grad is None else _matrix(kernel.grad)
        self._muon.step()  # type: ignore[no-untyped-call]
        self._adamw.step()

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint must hold."""
        return {"muon": self._muon.state_dict(), "adamw": self._adamw.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        self._muon.load_state_dict(state["muon"])
        self._adamw.load_state_dict(state["adamw"])


def _is_kernel(parameter: Tensor) -> bool:
    return parameter.ndim == 4 and parameter.shape[-1] > 1


def _matrix(kernel: Tensor) -> Tensor:
    """Return (out,in,k,k) as (out, k·k·in); of one in channels_last, a view of the same memory."""
    return kernel.permute(0, 2, 3, 1).flatten(1)
