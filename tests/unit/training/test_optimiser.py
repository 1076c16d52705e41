import pytest
import torch
from torch import nn

from tss_ray.errors import TrainingError
from tss_ray.training.optimiser import MuonAndAdamW


def _network() -> nn.Sequential:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 6, 3), nn.GroupNorm(2, 6), nn.Conv2d(6, 32, 1), nn.Conv2d(32, 5, 3))
    return net.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def _backward(net: nn.Sequential) -> None:
    net(torch.randn(2, 3, 9, 9, generator=torch.Generator().manual_seed(1))).square().mean().backward()


def _at(optimiser: MuonAndAdamW, rate: float) -> MuonAndAdamW:
    for group in optimiser.param_groups:
        group["lr"] = rate
    return optimiser


def test_kernels_move_along_the_nearest_orthogonal_matrix_and_the_rest_as_adamw_moves_it() -> None:
    net, twin = _network(), _network()
    ours, theirs = _at(MuonAndAdamW(net, 0.0), 0.01), torch.optim.AdamW(twin.parameters(), 0.01, weight_decay=0.0)
    before = [p.detach().clone() for p in net.parameters()]
    for module, optimiser in ((net, ours), (twin, theirs)):
        _backward(module)
        optimiser.step()
    for (name, moved), old, other in zip(net.named_parameters(), before, twin.parameters(), strict=True):
        if moved.ndim == 4 and moved.shape[-1] == 3:
            rate = 0.01 * 0.2 * max(moved.shape[0], moved[0].numel()) ** 0.5
            spread = torch.linalg.svdvals((moved - old).detach().flatten(1) / rate)
            assert 0.5 < spread.min() <= spread.max() < 1.5, name  # Newton-Schulz ends near 1, not at it
        else:
            torch.testing.assert_close(moved, other)


def test_a_network_that_is_not_in_channels_last_is_refused_since_its_kernels_would_never_move() -> None:
    with pytest.raises(TrainingError, match="channels_last"):
        MuonAndAdamW(nn.Conv2d(3, 6, 3), 0.0)


def test_gradients_are_forgotten_and_parameters_without_one_stay() -> None:
    net = _network()
    optimiser = _at(MuonAndAdamW(net, 0.1), 0.01)
    _backward(net)
    optimiser.zero_grad()
    assert all(p.grad is None for p in net.parameters())
    before = [p.detach().clone() for p in net.parameters()]
    optimiser.step()
    assert all(torch.equal(a, b) for a, b in zip(net.parameters(), before, strict=True))
