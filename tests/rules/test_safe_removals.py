"""Where NA105 calls the removal of an activation safe, outputs and gradients stay the same in double precision."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path

import pytest
import torch
from torch import nn

from normadvisor.graph import trace
from normadvisor.match import match
from normadvisor.rulebook import load_rules
from normadvisor.targets.inputs import Inputs
from normadvisor.types import Applicability, Fix, Frame, Location, RunContext, Site

ACTIVATIONS = [
    nn.ReLU(), nn.ReLU(inplace=True), nn.ReLU6(), nn.LeakyReLU(), nn.LeakyReLU(0.0), nn.LeakyReLU(-0.1), nn.PReLU(), nn.RReLU(), nn.ELU(),
    nn.ELU(-0.5), nn.SELU(), nn.CELU(0.7), nn.GELU(), nn.SiLU(), nn.Mish(), nn.Softplus(), nn.Softsign(), nn.Sigmoid(), nn.LogSigmoid(),
    nn.Hardsigmoid(), nn.Hardswish(), nn.Tanh(), nn.Hardtanh(), nn.Softmax(1), nn.LogSoftmax(1),
]  # fmt: skip
BETWEEN = [nn.Identity(), nn.Dropout(0.9), nn.AlphaDropout(0.5), nn.MaxPool1d(2), nn.Unflatten(1, (2, 4))]
EDGES = [0.0, -0.0, 1e-300, -1e-300, 3.0, -3.0, 6.0, 7.0, -800.0, 20.0, 1.0, -1.0]


def run(net: nn.Module) -> list[torch.Tensor]:
    """Output in train and eval mode, and the gradients of the input."""
    found = []
    for training in (True, False):
        torch.manual_seed(0)
        inputs = (torch.randn(6, 8, dtype=torch.float64) * 4).requires_grad_()
        inputs.data.view(-1)[: len(EDGES)] = torch.tensor(EDGES, dtype=torch.float64)
        out = net.train(training)(inputs * 1.0)
        (out * torch.randn_like(out)).sum().backward()
        found += [out.detach(), inputs.grad]
    return found


class Pairs(nn.Module):
    """Every pair of activations with something between them, side by side: one trace for all of them."""

    def __init__(self, between: nn.Module) -> None:
        super().__init__()
        pairs = ((first, second) for first in ACTIVATIONS for second in ACTIVATIONS)
        self.nets = nn.ModuleList(nn.Sequential(*(deepcopy(part) for part in (first, between, second))) for first, second in pairs)

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        return [net(x * 1.0) for net in self.nets]


def safe_fixes(model: nn.Module) -> Iterator[Fix]:
    """Fixes of NA105 that are said to change nothing."""
    sites = {name: Site((Frame(Location("net.py", line), "net"),)) for line, (name, _) in enumerate(model.named_modules(), 1)}
    graph = trace(model, Inputs((torch.randn(6, 8, dtype=torch.float64),)), target="net", sites=sites)
    for finding in match(graph, [load_rules().get("NA105")], RunContext(), Path()):
        fixes = [fix for fix in (finding.fix, *finding.alternatives) if fix is not None]
        yield from (fix for fix in fixes if fix.applicability is Applicability.SAFE)


@pytest.mark.parametrize("between", BETWEEN, ids=lambda layer: type(layer).__name__)
def test_what_is_called_safe_changes_nothing(between: nn.Module) -> None:
    model = Pairs(between).double()
    fixes = list(safe_fixes(model))
    for fix in fixes:
        (operation,) = fix.operations
        _, number, place = operation.part.module.split(".")
        net = model.nets[int(number)]
        if getattr(net[2], "inplace", False):
            continue  # torch itself refuses to go backward through what was written over.
        changed = nn.Sequential(*(nn.Identity() if name == place else part for name, part in net.named_children()))
        for one, other in zip(run(net), run(changed), strict=True):
            torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12, msg=f"{net}: {fix.title}")
    assert bool(fixes) != isinstance(between, nn.AlphaDropout)
