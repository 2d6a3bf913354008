import pytest
import torch
import torch.nn.functional as F
from torch import nn

from normadvisor.optimization.fusing.calls import fused_gate, fused_packed_gate


class Mlp(nn.Module):
    def __init__(self, act=None):
        super().__init__()
        self.gate, self.up, self.both = nn.Linear(4, 6), nn.Linear(4, 6), nn.Linear(4, 12)
        self.act = act or nn.SiLU()

    def forward(self, x):
        return self.act(self.gate(x)) * self.up(x)


class Functions(Mlp):
    def forward(self, x):
        return self.up(x).mul(F.gelu(self.gate(x), approximate="tanh"))


class InPlace(Mlp):
    def forward(self, x):
        y = F.silu(self.gate(x), inplace=True)
        y *= self.up(x)
        return y


class First(Mlp):
    def forward(self, x):
        gate, up = self.both(x).chunk(2, dim=-1)
        return self.act(gate) * up


class Last(Mlp):
    def forward(self, x):
        up, gate = self.both(x).split(6, -1)
        return up * self.act(gate)


class OtherAxis(Mlp):
    def forward(self, x):
        gate, up = self.both(x).chunk(2, dim=0)
        return self.act(gate) * up


class Uneven(Mlp):
    def forward(self, x):
        gate, up, _ = self.both(x).split((4, 4, 4), dim=-1)
        return self.act(gate) * up


class Broadcast(Mlp):
    def forward(self, x):
        return self.act(self.gate(x)) * self.up(x).mean(-1, keepdim=True)


class ReadTwice(Mlp):
    def forward(self, x):
        gate = self.act(self.gate(x))
        return gate * self.up(x) + gate


class Square(Mlp):
    def forward(self, x):
        gate = self.act(self.gate(x))
        return gate * gate


class Overwritten(Mlp):
    def forward(self, x):
        gate = self.gate(x)
        y = F.silu(gate, inplace=True)
        return y * self.up(x) + gate


class WrittenBetween(Mlp):
    def forward(self, x):
        gate = self.gate(x)
        y, up = F.silu(gate), self.up(x)
        gate.zero_()
        return y * up


NAMED = ("", "act")


@pytest.mark.parametrize("mode", ["training", "inference"])
@pytest.mark.parametrize(
    ("model", "place", "key"),
    [
        (Mlp(), ("silu * up", NAMED), "3x2x6 float32 contiguous"),
        (Mlp(nn.GELU()), ("gelu * up", NAMED), "3x2x6 float32 contiguous"),
        (Functions(), ("gelu_tanh * up", ("",)), "3x2x6 float32 contiguous"),
        (First(), ("silu * up", NAMED), "3x2x12 float32 contiguous packed"),
        (Last(nn.GELU("tanh")), ("gelu_tanh * up", NAMED), "3x2x12 float32 contiguous packed, gate last"),
        (OtherAxis(), ("silu * up", NAMED), "2x2x12 float32 contiguous"),
        (Uneven(), ("silu * up", NAMED), "3x2x4 float32 strides 24x12x1"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else None,
)
def test_gated_units(fusing, model, place, key, mode):
    found = fusing(model, torch.randn(4 if isinstance(model, OtherAxis) else 3, 2, 4), mode=mode)
    assert found.places == [place]
    assert [item.shape_key for item in found.candidates] == [key]
    assert found.left == []
    fused = found.check()
    names = set(vars(type(fused))["_normadvisor_text"].names.values())
    assert (fused_packed_gate if "packed" in key else fused_gate) in names
    found.check_kernels()


def test_gates_in_place(fusing):
    found = fusing(InPlace(), torch.randn(3, 2, 4), mode="inference")
    assert found.places == [("silu * up", ("",))]
    found.check()


@pytest.mark.parametrize("model", [Broadcast(), ReadTwice(), Square(), Mlp(nn.Sigmoid())], ids=lambda value: type(value).__name__)
def test_what_is_no_gated_unit(fusing, model):
    assert fusing(model, torch.randn(3, 2, 4)).found == []


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (Overwritten(), "the activation is written over a value that is used elsewhere"),
        (WrittenBetween(), "the gate is written to in between"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_is_written_over_is_left(fusing, model, reason):
    found = fusing(model, torch.randn(3, 2, 4), mode="inference")
    assert found.places == []
    assert found.left == [(("",), reason)]


def test_hooks_are_refused(fusing):
    model = Mlp()
    model.act.register_forward_hook(lambda *_: None)
    found = fusing(model, torch.randn(3, 2, 4), mode="inference")
    assert found.left == [(NAMED, "hooks run around the activation, and would not any more")]


def test_timm(fusing, zoo):
    zoo("timm")
    from timm.layers import GluMlp, SwiGLU

    found = fusing(nn.Sequential(GluMlp(4, 12, act_layer=nn.GELU), SwiGLU(4, 6)), torch.randn(3, 2, 4))
    assert found.places == [("gelu * up", ("0", "0.act")), ("silu * up", ("1", "1.act"))]
    assert [item.shape_key for item in found.candidates] == ["3x2x12 float32 contiguous packed, gate last", "3x2x6 float32 contiguous"]
    found.check()
