import copy
import pickle
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch import nn

from normadvisor.graph import trace
from normadvisor.optimization.candidate import Candidate, Refused, Setting
from normadvisor.optimization.fusing.finders import find_fused
from normadvisor.rewrite.model.journal import Journal


@dataclass
class Given:
    args: tuple[Any, ...]
    kwargs: dict[str, Any] = field(default_factory=dict)
    given: bool = True


def _double(value):
    return value.double() if isinstance(value, torch.Tensor) and value.is_floating_point() else value


def _result(output):
    if isinstance(output, torch.Tensor):
        return output
    return output["last_hidden_state"] if "last_hidden_state" in output else output["logits"]


class Fusing:
    """Finds, applies to copies, compares, and takes back."""

    def __init__(self, model: nn.Module, *args, mode: str = "training", force: bool = True, **kwargs) -> None:
        self.model, self.mode = model.train(mode == "training"), mode
        self.inputs = Given(args, kwargs)
        self._give_statistics()
        graph = trace(model, self.inputs, target="model", sites={}, mode="train" if mode == "training" else "eval")
        self.setting = Setting(mode=mode, device=torch.device("cpu"), dtype=torch.float32, inputs=self.inputs, force=force)
        self.found = list(find_fused(model, graph, self.setting))
        self.candidates = [item for item in self.found if isinstance(item, Candidate)]
        self.refused = [item for item in self.found if isinstance(item, Refused)]

    def _give_statistics(self):
        torch.manual_seed(0)
        with torch.no_grad():
            for module in self.model.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.running_mean is not None:
                    module.running_mean.normal_(0, 0.1)
                    module.running_var.uniform_(0.8, 1.2)
                if "Norm" in type(module).__name__ and isinstance(getattr(module, "weight", None), nn.Parameter):
                    module.weight.normal_()

    @property
    def places(self) -> list[tuple[str, tuple[str, ...]]]:
        return [(item.pattern, item.modules) for item in self.candidates]

    @property
    def left(self) -> list[tuple[tuple[str, ...], str]]:
        return [(item.modules, item.reason) for item in self.refused]

    def run(self, model):
        """Output, gradients by parameter and buffers after one run in float64."""
        torch.manual_seed(1)
        args = [_double(value) for value in self.inputs.args]
        kwargs = {name: _double(value) for name, value in self.inputs.kwargs.items()}
        output = _result(model(*args, **kwargs))
        gradients = {}
        if self.mode == "training":
            output.square().mean().backward()
            gradients = {name: parameter.grad for name, parameter in model.named_parameters() if parameter.grad is not None}
        return {"output": output.detach(), **gradients, **{f"buffer {name}": value for name, value in model.named_buffers()}}

    def check(self, tolerance: float = 1e-10) -> nn.Module:
        """Changed copies give what the model gives, keep its keys, can be copied, stored and taken back; the changed one."""
        wanted = self.run(copy.deepcopy(self.model).double())
        changed, journal = copy.deepcopy(self.model).double(), Journal()
        names = {id(parameter): name for name, parameter in changed.named_parameters()}
        classes = [type(module) for module in changed.modules()]
        for item in self.candidates:
            assert item.apply(changed, journal) == ()
        fresh = copy.deepcopy(changed)
        assert {id(parameter): name for name, parameter in changed.named_parameters()} == names
        assert list(changed.state_dict()) == list(self.model.state_dict())
        for one in (changed, fresh, pickle.loads(pickle.dumps(fresh))):
            self._same(self.run(copy.deepcopy(one)), wanted, tolerance)
        journal.undo()
        assert [type(module) for module in changed.modules()] == classes
        self._same(self.run(changed), wanted, 0)
        return fresh

    @staticmethod
    def _same(found, wanted, tolerance):
        assert list(found) == list(wanted)
        for name, value in wanted.items():
            torch.testing.assert_close(found[name], value, rtol=tolerance, atol=tolerance, msg=lambda text, name=name: f"{name}: {text}")

    def check_kernels(self):
        """Operations alone agree, before, after and in float64."""
        for item in self.candidates:
            kernel = item.kernel()
            results = [self._tensors(run(*(value.clone() for value in kernel.arguments))) for run in (kernel.before, kernel.after)]
            exact = self._tensors(kernel.exact(*(_double(value) for value in kernel.arguments)))
            assert len(results[0]) == len(results[1]) == len(exact)
            for before, after, wide in zip(*results, exact, strict=True):
                assert (before.shape, before.dtype) == (after.shape, after.dtype)
                assert wide.dtype == torch.float64
                torch.testing.assert_close(before.double(), wide, rtol=1e-4, atol=1e-4)
                torch.testing.assert_close(after.double(), wide, rtol=1e-4, atol=1e-4)

    @staticmethod
    def _tensors(result):
        return list(result) if isinstance(result, tuple) else [result]


@pytest.fixture
def fusing():
    return Fusing


@pytest.fixture
def zoo():
    """Imports a package of models; where it is not installed, the test says what it did not check."""
    return lambda name: pytest.importorskip(name, reason=f"NOT CHECKED: {name} is not installed, so nothing of it is fused (extra `zoo`)")
