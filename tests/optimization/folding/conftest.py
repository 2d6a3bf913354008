from __future__ import annotations

import copy
from dataclasses import dataclass

import pytest
import torch

from normadvisor.graph import trace
from normadvisor.graph.values import tensors_in
from normadvisor.optimization.candidate import Candidate, Setting
from normadvisor.optimization.folding.finders import FINDERS
from normadvisor.optimization.folding.state import FoldMap
from normadvisor.rewrite.model.journal import Journal
from normadvisor.targets.inputs import Inputs
from normadvisor.types.optimization import STAGES


@dataclass
class Folded:
    model: torch.nn.Module
    found: list
    """Pattern, replacement and layers of each candidate, in order."""
    refused: list
    """Layers and reason."""
    error: float
    """Largest relative difference of an output."""


def randomised(model):
    """Numbers that hide nothing: no statistic is 0 or 1, scales of both signs."""
    generator = torch.Generator().manual_seed(0)
    draw = lambda value: torch.rand(value.shape, generator=generator).to(value)  # noqa: E731
    with torch.no_grad():
        for name, value in (*model.named_parameters(), *model.named_buffers()):
            if not value.is_floating_point():
                continue
            if name.endswith(("var", "variance")):
                value.copy_(draw(value) + 0.5)
            elif value.dim() < 2 or value.numel() == max(value.shape):
                value.copy_((draw(value) + 0.5) * torch.where(draw(value) < 0.3, -1.0, 1.0))
    return model


def setting_of(inputs, dtype=torch.float32, mode="inference"):
    return Setting(mode=mode, device=torch.device("cpu"), dtype=dtype, inputs=Inputs(args=tuple(inputs), given=True))


def found_in(model, *inputs, stages=STAGES, apply=None):
    """What the finders of each stage find, stage by stage; ``apply`` is called with each candidate."""
    setting = setting_of(inputs)
    for stage in stages:
        for finder in [finder for of, finder in FINDERS if of == stage]:
            graph = trace(model, setting.inputs, target="", sites={}, mode="eval")
            for item in list(finder(model, graph, setting)):
                yield item
                if apply is not None and isinstance(item, Candidate):
                    apply(item)


def outputs(model, *inputs):
    with torch.no_grad():
        return [tensor.clone() for tensor in tensors_in(model(*(value.clone() for value in inputs)))]


def difference(after, before):
    assert [value.shape for value in after] == [value.shape for value in before]
    return max(float((a - b).abs().max() / b.abs().max().clamp_min(1e-30)) for a, b in zip(after, before, strict=True))


@pytest.fixture
def fold():
    """Folds everything that can be, and checks what holds of every fold: equal in float64, undone, repeated on a checkpoint."""

    def run(model, *inputs, stages=STAGES, random=True):
        model = model.eval()
        if random:
            randomised(model)
        outputs(model, *inputs)  # Weights that hooks compute are part of no graph from here on, so that the model can be copied.
        wide = [value.double() if value.is_floating_point() else value for value in inputs]
        exact, original = copy.deepcopy(model).double(), {key: value.clone() for key, value in model.state_dict().items()}
        before, before_exact = outputs(model, *inputs), outputs(exact, *wide)
        journal, journal_exact, steps, found, refused = Journal(), Journal(), [], [], []

        def apply(candidate):
            if candidate.kernel is not None:
                kernel = candidate.kernel()
                with torch.no_grad():
                    pair = [function(*(value.clone() for value in kernel.arguments)) for function in (kernel.before, kernel.after)]
                assert difference(pair[1:], pair[:1]) < 1e-5, candidate.pattern
            candidate.apply(exact, journal_exact)
            steps.extend(candidate.apply(model, journal))

        for item in found_in(model, *inputs, stages=stages, apply=apply):
            if isinstance(item, Candidate):
                assert item.rule == "NA701"
                found.append((item.pattern, item.replacement, item.modules))
            else:
                refused.append((item.modules, item.reason))
        assert difference(outputs(exact, *wide), before_exact) < 1e-12
        error = difference(outputs(model, *inputs), before)
        assert error < 1e-5
        again = FoldMap.from_json(FoldMap(tuple(steps)).to_json()).apply(original)
        assert {key: value.tolist() for key, value in again.items()} == {key: value.tolist() for key, value in model.state_dict().items()}
        twin = copy.deepcopy(model)
        journal.undo()
        assert list(model.state_dict()) == list(original)
        assert all(torch.equal(value, original[key]) for key, value in model.state_dict().items())
        assert difference(outputs(model, *inputs), before) == 0
        return Folded(twin, found, refused, error)

    return run


@pytest.fixture
def helpers():
    class Helpers:
        pass

    Helpers.randomised, Helpers.found_in, Helpers.outputs = staticmethod(randomised), staticmethod(found_in), staticmethod(outputs)
    Helpers.difference, Helpers.setting_of = staticmethod(difference), staticmethod(setting_of)
    return Helpers
