"""Whether two files build the same function. Nothing of the product's own proof is used here."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from normadvisor.targets.inputs.spec import make_tensors, parse_input

__all__ = ["same_function"]

_TOLERANCE = 1e-6
"""Largest difference, relative to the largest entry, in double precision."""


def same_function(first: Path, second: Path, target: str, inputs: Sequence[str]) -> str:
    """An empty string if the models of two files agree in train and in eval mode, else what differs.

    State is handed over by the names of the keys, or in their order where the files name their layers differently.
    """
    torch.set_num_threads(1)
    one, other = (_model(path, target) for path in (first, second))
    state = _random_state(one)
    wanted = other.state_dict()
    if not (keys := _aligned(state, wanted)):
        return f"other parameters: {len(state)} and {len(wanted)} entries"
    # Written into the tensors: some models refuse states without a version.
    for key, value in one.state_dict().items():
        value.copy_(state[key])
    for key, value in zip(keys, wanted.values(), strict=True):
        value.copy_(state[key])
    for training in (True, False):
        results = []
        for model in (one, other):
            model.train(training)
            torch.manual_seed(7)
            arguments, named = _arguments(inputs)
            torch.manual_seed(11)
            with torch.no_grad():
                results.append(_tensors(model(*arguments, **named)))
        words = _difference(*results)
        if words:
            return f"{'train' if training else 'eval'} mode: {words}"
        after = one.state_dict()
        words = _difference([after[key] for key in keys], list(other.state_dict().values()))
        if words:
            return f"buffers after {'train' if training else 'eval'} mode: {words}"
    return ""


def _aligned(state: dict[str, torch.Tensor], other: Mapping[str, torch.Tensor]) -> list[str]:
    """The keys of the first state for each of the second, in its order; none if they do not match.

    Keys are paired by name where the second has the names of the first but for biases, which are then set to zero in the first: the running
    means of two files are the same only then. Else they are paired in order.
    """
    missing = [key for key in state if key not in other]
    if len(missing) + len(other) == len(state) and all(key.endswith(".bias") for key in missing):
        for key in missing:
            state[key].zero_()
        return list(other)
    keys = list(state)
    return keys if [state[key].shape for key in keys] == [value.shape for value in other.values()] else []


def _model(path: Path, target: str) -> Any:
    torch.manual_seed(0)
    module = _imported(path)
    built = eval(target, vars(module)) if target.endswith(")") else getattr(module, target)()  # our own target
    return built.double()


def _imported(path: Path) -> ModuleType:
    name = f"compared_{path.parent.name}_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _random_state(model: Any) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(3)
    state = {}
    for key, value in model.state_dict().items():
        if not value.is_floating_point():
            state[key] = value.clone()
        elif key.endswith("running_var"):
            state[key] = 0.5 + torch.rand(value.shape, generator=generator, dtype=value.dtype)
        else:
            noise = torch.randn(value.shape, generator=generator, dtype=value.dtype)
            state[key] = value + 0.1 * noise * (value.std().item() if value.numel() > 1 and value.std() > 0 else 1.0)
    return state


def _arguments(inputs: Sequence[str]) -> tuple[list[Any], dict[str, Any]]:
    arguments: list[Any] = []
    named: dict[str, Any] = {}
    for text in inputs:
        spec = parse_input(text)
        value = make_tensors(spec.value, "cpu")
        value = value.double() if isinstance(value, torch.Tensor) and value.is_floating_point() else value
        if spec.name:
            named[spec.name] = value
        else:
            arguments.append(value)
    return arguments, named


def _tensors(value: Any) -> list[Any]:
    if isinstance(value, torch.Tensor):
        return [value]
    if isinstance(value, dict):
        return [tensor for item in value.values() for tensor in _tensors(item)]
    if isinstance(value, list | tuple):
        return [tensor for item in value for tensor in _tensors(item)]
    return []


def _difference(one: list[Any], other: list[Any]) -> str:
    if len(one) != len(other):
        return f"{len(one)} and {len(other)} tensors"
    for first, second in zip(one, other, strict=True):
        if first.shape != second.shape:
            return f"shapes {tuple(first.shape)} and {tuple(second.shape)}"
        if not first.is_floating_point():
            if not first.equal(second):
                return "other whole numbers"
            continue
        scale = max(first.abs().max().item() if first.numel() else 0.0, 1e-12)
        worst = (first - second).abs().max().item() if first.numel() else 0.0
        if not worst <= _TOLERANCE * scale:
            return f"relative difference {worst / scale:.1e}"
    return ""


if __name__ == "__main__":
    print(same_function(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], sys.argv[4:]) or "equal")
