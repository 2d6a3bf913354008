import pytest
import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from normadvisor.optimization.fusing import calls
from normadvisor.rewrite.model.journal import Journal


class Seen(TorchFunctionMode):
    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_function__(self, func, types, args=(), kwargs=None):
        self.names.append(func.__name__)
        return func(*args, **(kwargs or {}))


X, Y = torch.randn(2, 4, 6), torch.randn(2, 4, 6)
CALLS = {
    "fused_batch_norm": (nn.BatchNorm1d(4), X, Y, "relu", 0.01),
    "fused_conv": (nn.Conv2d(4, 4, 1), torch.randn(2, 4, 3, 3), torch.randn(2, 4, 3, 3), "relu", 0.01),
    "fused_group_norm": (nn.GroupNorm(2, 4), X, "silu", 0.01),
    "fused_add_norm": (("add_layer_norm", "fused"), X, Y, (6,), torch.ones(6), None, 1e-5, True),
    "fused_gate": (X, Y, "gelu"),
    "fused_packed_gate": (X, "silu", True),
}


@pytest.mark.parametrize("name", calls.__all__)
def test_whoever_follows_sees_one_call(name):
    with Seen() as seen:
        getattr(calls, name)(*CALLS[name])
    assert seen.names == [name]


def test_what_they_compute():
    norm = nn.BatchNorm1d(4)
    torch.testing.assert_close(calls.fused_batch_norm(norm, X, None, "none", 0.01), nn.BatchNorm1d(4)(X))
    assert int(norm.num_batches_tracked) == 1
    torch.testing.assert_close(calls.fused_batch_norm(norm.eval(), X, Y, "leaky_relu", 0.5), nn.functional.leaky_relu(norm(X) + Y, 0.5))
    group = nn.GroupNorm(2, 4)
    torch.testing.assert_close(calls.fused_group_norm(group, X, "silu", 0.01), nn.functional.silu(group(X)))
    normed, total = calls.fused_add_norm(("add_rms_norm", "fused"), X, Y, (6,), None, None, 1e-6, True)
    torch.testing.assert_close((normed, total), (nn.functional.rms_norm(X + Y, (6,), None, 1e-6), X + Y))
    torch.testing.assert_close(calls.fused_gate(X, Y, "gelu_tanh"), nn.functional.gelu(X, approximate="tanh") * Y)
    up, gate = X.chunk(2, -1)
    torch.testing.assert_close(calls.fused_packed_gate(X, "silu", True), nn.functional.silu(gate) * up)


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.norm, self.act = nn.Conv1d(4, 4, 1), nn.BatchNorm1d(4), nn.ReLU(inplace=True)
        self.rows, self.gate, self.up = nn.LayerNorm(6), nn.Linear(6, 6), nn.Linear(6, 6)

    def forward(self, x):
        y = self.norm(self.conv(x))
        y += x
        y = self.rows(self.act(y) + x)
        return self.act(nn.functional.silu(self.gate(y)) * self.up(y))


PATTERNS = ["batch_norm + add + relu", "add + layer_norm", "silu * up"]


@pytest.mark.parametrize("mode", ["training", "inference"])
def test_rewritten_models_compile_whole_and_export(fusing, mode):
    found = fusing(Block(), X, mode=mode)
    assert [pattern for pattern, _ in found.places] == PATTERNS
    fused = found.check().float()
    wanted = fused(X).detach()
    torch.testing.assert_close(torch.compile(fused, backend="aot_eager", fullgraph=True)(X).detach(), wanted)
    if mode == "inference":
        torch.testing.assert_close(torch.export.export(fused, (X,)).module()(X), wanted)


def test_a_second_look_finds_nothing_more(fusing):
    fused = fusing(Block(), X).check().float()
    assert fusing(fused, X).places == []


def test_one_after_the_other_builds_upon_what_is_there(fusing):
    first = fusing(Block(), X)
    model = first.model
    first.candidates[0].apply(model, Journal())
    second = fusing(model, X)
    assert [pattern for pattern, _ in second.places] == PATTERNS[1:]
    fused = second.check()
    names = set(vars(type(fused))["_normadvisor_text"].names.values())
    assert {calls.fused_batch_norm, calls.fused_add_norm, calls.fused_gate} <= names
