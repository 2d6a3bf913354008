"""The numbers that the rules about fused replacements state: how often a tensor is gone over, and what functions of torch make of it."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

SHAPE = (4, 8, 16, 16)
_FREE = {"view", "_unsafe_view", "t", "expand", "detach", "alias", "transpose", "permute", "unsqueeze", "squeeze", "ones_like", "split", "slice"}
"""What only looks at memory; the gradient that begins a backward pass is given."""
_AGAIN = {
    "native_batch_norm": 1, "native_batch_norm_backward": 2, "native_group_norm": 1, "native_group_norm_backward": 2,
    "native_layer_norm_backward": 2, "cudnn_batch_norm": 1,
}  # fmt: skip
"""Reads beyond one of each operand: statistics over a channel are complete before the first value can be normalized, so that what they are
taken of is read twice, forward and backward; a row fits on the chip, but the gradients of its weights are sums over all rows."""


class Passes(TorchDispatchMode):
    """Counts how often the operations go over a tensor of a size: each operand read and each result written is one pass."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size, self.passes, self.calls = size, 0, 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        name = function._schema.name.removeprefix("aten::")
        results = result if isinstance(result, tuple | list) else (result,)
        read = sum(self._is_full(item) for item in (*args, *(kwargs or {}).values()))
        written = sum(self._is_full(item) for item in results)
        if name not in _FREE and (read or written):
            self.calls += 1
            self.passes += read + written + _AGAIN.get(name, 0)
        return result

    def _is_full(self, item) -> bool:
        return isinstance(item, Tensor) and item.numel() == self.size


def passes(function: Callable[..., Tensor], *shapes: tuple[int, ...], size: int | None = None) -> tuple[int, int]:
    """Passes and calls of a forward and a backward pass."""
    torch.manual_seed(0)
    given = [torch.randn(shape, requires_grad=True) for shape in shapes]
    inner = [item * 1 for item in given]  # gradients are handed on, not accumulated into leaves
    with Passes(size or math.prod(shapes[0])) as counted:
        output = function(*inner)
        torch.autograd.grad(output, inner, torch.ones_like(output), allow_unused=True)
    return counted.passes, counted.calls


def gelu_by_hand(x: Tensor) -> Tensor:
    return 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def rms_by_hand(x: Tensor) -> Tensor:
    return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6) * torch.ones(x.shape[-1], requires_grad=True)


def layer_by_hand(x: Tensor) -> Tensor:
    centred = x - x.mean(-1, keepdim=True)
    return centred / torch.sqrt(centred.pow(2).mean(-1, keepdim=True) + 1e-5)


def test_activations_written_out():
    """NA705: 17 passes for SiLU, 46 for GELU with its tanh, 22 for Mish, and five for each function."""
    found = {
        "silu": passes(lambda x: x * torch.sigmoid(x), SHAPE), "gelu": passes(gelu_by_hand, SHAPE),
        "mish": passes(lambda x: x * torch.tanh(F.softplus(x)), SHAPE),
    }  # fmt: skip
    assert found == {"silu": (17, 6), "gelu": (46, 19), "mish": (22, 8)}
    functions = (F.silu, lambda x: F.gelu(x, approximate="tanh"), F.mish)
    assert [passes(function, SHAPE) for function in functions] == [(5, 2)] * 3


def test_attention_written_out():
    """NA705: 15 passes over the matrix of queries times keys, and none where it is never stored."""
    shape, matrix = (2, 2, 64, 16), 2 * 2 * 64 * 64
    by_hand = passes(lambda q, k, v: torch.softmax(q @ k.transpose(-2, -1) / 4, -1) @ v, shape, shape, shape, size=matrix)
    function = passes(F.scaled_dot_product_attention, shape, shape, shape, size=matrix)
    assert (by_hand, function) == ((15, 10), (0, 0))


def test_norms_written_out():
    """NA704: 40 passes for a layer norm, 27 for an RMS norm with its weight; the function of the first makes 7 of them.

    On a CPU the function of the second is made of the same operations.
    """
    weight = torch.ones(SHAPE[-1], requires_grad=True)
    assert passes(layer_by_hand, SHAPE) == (40, 20)
    assert passes(lambda x: F.layer_norm(x, x.shape[-1:]), SHAPE) == (7, 2)
    assert passes(rms_by_hand, SHAPE) == (27, 13)
    assert passes(lambda x: F.rms_norm(x, x.shape[-1:], weight, 1e-6), SHAPE) == (27, 13)


def test_norms_and_what_follows():
    """NA702: 13 passes for a norm and its activation, 16 with a sum between, where 8 and 11 are necessary."""
    group, batch = nn.GroupNorm(4, 8), nn.BatchNorm2d(8)
    assert passes(lambda x: F.silu(group(x)), SHAPE) == (13, 4)
    assert passes(lambda x: F.relu(batch(x)), SHAPE) == (13, 4)
    assert passes(lambda x, residual: F.relu(batch(x) + residual), SHAPE, SHAPE) == (16, 5)


def test_sums_and_gates():
    """NA703: 13 passes for a sum and the layer norm behind it, beside those of what else reads the sum; 14 for a gated unit."""
    norm = nn.LayerNorm(SHAPE[-1])

    def block(x: Tensor, residual: Tensor) -> Tensor:
        total = x + residual
        return norm(total) + total  # 3 passes of its own

    assert passes(block, SHAPE, SHAPE) == (13 + 3, 5)
    assert passes(lambda gate, up: F.silu(gate) * up, SHAPE, SHAPE) == (14, 5)


def test_a_norm_in_eval_mode_is_gone_over_though_its_factors_are_constant():
    """NA701: two passes over every map, which folding takes away."""
    norm = nn.BatchNorm2d(8).eval()
    x = torch.randn(SHAPE)
    with torch.no_grad(), Passes(x.numel()) as counted:
        norm(x)
    assert counted.passes - _AGAIN["native_batch_norm"] == 2  # the statistics are known
