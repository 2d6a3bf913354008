import pytest
import torch
import torch.nn.functional as F
from torch import nn

from normadvisor.graph import trace
from normadvisor.optimization.forward import local_graphs
from normadvisor.optimization.fusing.forwards import Forwards
from normadvisor.optimization.fusing.row_norms import RowNorm, row_norm


class ByFunction(nn.Module):
    def __init__(self, eps=1e-6):
        super().__init__()
        self.gain, self.eps = nn.Parameter(torch.rand(8)), eps

    def forward(self, x):
        return F.rms_norm(x, (8,), self.gain, self.eps)


class Converting(ByFunction):
    def forward(self, x):
        return F.rms_norm(x.to(torch.float32), (8,), self.gain, self.eps).to(x.dtype)


class Scaled(ByFunction):
    def forward(self, x):
        return F.rms_norm(x, (8,), self.gain, self.eps) * 2


class WithFactor(ByFunction):
    def forward(self, x):
        return F.rms_norm(x, (8,), self.gain + 1, self.eps)


class ByHand(ByFunction):
    def forward(self, x):
        return x / torch.sqrt(x.pow(2).mean(-1, keepdim=True) + self.eps) * self.gain


class MeanToo(ByFunction):
    def __init__(self):
        super().__init__()
        self.shift = nn.Parameter(torch.rand(8))

    def forward(self, x):
        centred = x - x.mean(-1, keepdim=True)
        return centred * torch.rsqrt(centred.pow(2).mean(-1, keepdim=True) + self.eps) * self.gain + self.shift


class EpsOutside(ByFunction):
    """``eps`` is added to the root, not under it."""

    def forward(self, x):
        return x / (torch.sqrt(x.pow(2).mean(-1, keepdim=True)) + self.eps) * self.gain


class OtherAxis(ByFunction):
    def forward(self, x):
        return x * torch.rsqrt(x.pow(2).mean(1, keepdim=True) + self.eps) * self.gain


def found(layer):
    model = nn.Sequential(nn.Linear(8, 8), layer)
    inputs = type("Inputs", (), {"args": (torch.randn(3, 8, 8),), "kwargs": {}, "given": True})
    graph = trace(model, inputs, target="model", sites={}, mode="train")
    seen = {id(model.get_submodule(node.module)): node for node in graph.nodes if node.cls and node.op in {"layer_norm", "rms_norm"}}
    return row_norm(layer, Forwards(local_graphs(model, inputs)), seen)


@pytest.mark.parametrize(
    ("layer", "wanted"),
    [
        (nn.LayerNorm(8), RowNorm("layer_norm", (8,), "weight", "bias", 1e-5)),
        (nn.LayerNorm((8, 8), eps=1e-3, bias=False), RowNorm("layer_norm", (8, 8), "weight", "", 1e-3)),
        (nn.LayerNorm(8, elementwise_affine=False), RowNorm("layer_norm", (8,), "", "", 1e-5)),
        (nn.RMSNorm(8), RowNorm("rms_norm", (8,), "weight", "", None)),
        (ByFunction(), RowNorm("rms_norm", (8,), "gain", "", 1e-6)),
        (Converting(), RowNorm("rms_norm", (8,), "gain", "", 1e-6)),
        (Scaled(), None),
        (WithFactor(), None),
        (ByHand(), RowNorm("rms_norm", (8,), "gain", "", 1e-6)),
        (MeanToo(), RowNorm("layer_norm", (8,), "gain", "shift", 1e-6)),
        (EpsOutside(1e-3), None),
        (OtherAxis(), None),
        (nn.BatchNorm1d(8), None),
        (nn.ReLU(), None),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else None,
)
def test_row_norms(layer, wanted):
    norm = found(layer)
    assert norm == wanted
    if norm is not None:
        x = torch.randn(2, 3, 8, 8)
        torch.testing.assert_close(norm.plain(x, *norm.held(layer)), layer(x))
