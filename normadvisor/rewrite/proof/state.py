"""The tensors of a model by name: read, filled with random values, carried to another model, restored."""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn.parameter import is_lazy

if TYPE_CHECKING:
    from normadvisor.rewrite.keys import KeyMap

__all__ = ["carry", "fill_empty", "hidden", "load", "named_modules", "parameters", "randomise", "shape_of", "state"]

_SPREAD = 0.1
"""Noise on weights that have values of their own, relative to their root mean square: small enough to keep the scale of activations."""
_LIVELY = 0.3
"""Standard deviation of noise on vectors that are all alike: zeros would hide a lost bias, ones a lost scale."""
_PIECE = 1 << 20
"""Elements that get noise at a time."""


def named_modules(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Every module under every name it has, as ``state_dict`` sees it; modules that hold one another are entered once."""
    yield from _walk(model, "", ())


def _walk(module: nn.Module, name: str, above: tuple[int, ...]) -> Iterator[tuple[str, nn.Module]]:
    if id(module) in above:
        return
    yield name, module
    for child_name, child in module._modules.items():  # noqa: SLF001 -- named_children leaves out repeated children
        if child is not None:
            yield from _walk(child, f"{name}.{child_name}" if name else child_name, (*above, id(module)))


def parameters(model: nn.Module) -> dict[str, nn.Parameter]:
    """Parameters by key; a tied one under each of its keys."""
    return {
        f"{name}.{key}" if name else key: value
        for name, module in named_modules(model)
        for key, value in module._parameters.items()  # noqa: SLF001 -- hooks of state_dict rename keys, these are the model's own
        if value is not None
    }


def _buffers(model: nn.Module, *, kept: bool) -> dict[str, torch.Tensor]:
    return {
        f"{name}.{key}" if name else key: value
        for name, module in named_modules(model)
        for key, value in module._buffers.items()  # noqa: SLF001
        if value is not None and (key not in module._non_persistent_buffers_set) is kept  # noqa: SLF001
    }


def state(model: nn.Module) -> dict[str, torch.Tensor]:
    """Parameters and saved buffers by the keys of ``state_dict``; the model's own tensors, detached but for those without a shape."""
    weights: dict[str, torch.Tensor] = dict(parameters(model))
    weights = {key: value if is_lazy(value) else value.detach() for key, value in weights.items()}
    return {**weights, **_buffers(model, kept=True)}


def shape_of(tensor: torch.Tensor) -> tuple[int, ...] | None:
    """``None`` for one that gets its shape in the first forward pass."""
    return None if is_lazy(tensor) else tuple(tensor.shape)


def hidden(model: nn.Module) -> dict[str, torch.Tensor]:
    """Tensors that no ``state_dict`` holds: buffers that are not saved, and plain attributes."""
    found = _buffers(model, kept=False)
    for name, module in named_modules(model):
        for key, value in vars(module).items():
            if isinstance(value, torch.Tensor) and not value.requires_grad:
                found[f"{name}.{key}" if name else key] = value
    return found


def load(model: nn.Module, values: Mapping[str, torch.Tensor]) -> str:
    """Write values into the tensors of ``model``.

    Returns:
        What does not fit, in words; empty when every tensor of the model got a value and every value found its tensor.

    """
    own = state(model)
    if missing := sorted(own.keys() - values.keys()):
        return f"nothing is carried to {_listed(missing)} of the changed model"
    if lost := sorted(values.keys() - own.keys()):
        return f"the changed model has no {_listed(lost)}"
    for key, tensor in own.items():
        if tensor.shape != values[key].shape:
            return f"{key} has shape {tuple(tensor.shape)} in the changed model, and {tuple(values[key].shape)} is carried to it"
    with torch.no_grad():
        for key, tensor in own.items():
            if tensor.data_ptr() != values[key].data_ptr():
                tensor.copy_(values[key])
    return ""


def _share(original: nn.Module, changed: nn.Module, key_map: KeyMap) -> None:
    """Let parameters that are the same in both models be the same memory."""
    folded = {fold.into for fold in key_map.folded}
    own = parameters(changed)
    sources: dict[int, set[int]] = {}
    pairs = []
    for key, value in parameters(original).items():
        target = own.get(key_map.new_name(key) or "")
        if target is not None:
            sources.setdefault(id(target), set()).add(id(value))
            if key not in folded and target.shape == value.shape and target.dtype == value.dtype:
                pairs.append((target, value))
    for target, value in pairs:
        # One that stands for several of the original is none of them.
        if len(sources[id(target)]) == 1:
            target.data = value.data


def _listed(keys: list[str]) -> str:
    return ", ".join(keys[:3]) + (f" and {len(keys) - 3} more" if len(keys) > 3 else "")


def carry(original: nn.Module, changed: nn.Module, key_map: KeyMap) -> str:
    """Give ``changed`` the values of ``original``, hidden ones included; what does not fit, in words."""
    _share(original, changed, key_map)
    try:
        values = key_map.apply(state(original))
    except (KeyError, RuntimeError) as error:
        return f"the state cannot be carried over: {error.args[0]}"
    own = state(changed)
    values.update({key: own[key] for key in key_map.added if key in own})
    problem = load(changed, values)
    if problem:
        return problem
    names = _module_names(key_map)
    held = hidden(changed)
    with torch.no_grad():
        for key, value in hidden(original).items():
            target = held.get(_renamed(key, names))
            if target is not None and target.shape == value.shape and target.dtype == value.dtype:
                target.copy_(value)
    return ""


def _module_names(key_map: KeyMap) -> dict[str, str]:
    """New names of the modules whose keys were renamed."""
    pairs = ((old.rpartition("."), new.rpartition(".")) for old, new in key_map.renamed.items())
    return {old[0]: new[0] for old, new in pairs if old[2] == new[2]}


def _renamed(key: str, names: Mapping[str, str]) -> str:
    module, _, last = key.rpartition(".")
    return f"{names.get(module, module)}.{last}" if module else key


def fill_empty(tensor: torch.Tensor, key: str) -> torch.Tensor:
    """Values for a tensor that has none (meta device): the same for every tensor of that key and shape, in whatever model.

    Matrices get He's scale (He et al. 2015), so that activations keep theirs; vectors are near one when they scale, near zero when
    they shift. Integers are zero, which is a valid index anywhere.
    """
    last = key.rpartition(".")[2]
    generator = torch.Generator().manual_seed(zlib.crc32(f"{key}{tuple(tensor.shape)}".encode()))
    made = torch.zeros(tensor.shape, dtype=tensor.dtype)
    if not made.is_floating_point():
        return made
    if made.dim() > 1:
        return made.normal_(0, math.sqrt(2 / max(1, made[0].numel())), generator=generator)
    scales = "weight" in last or "gamma" in last or "var" in last or "scale" in last
    return made + 1 if scales else made


def randomise(model: nn.Module, seed: int) -> None:
    """Move every parameter, and the running statistics of norms, away from values that would hide a mistake.

    Weights keep their scale. Vectors that are all alike (zero biases, scales of one, zero-initialised scales of residual branches) get
    noise of standard deviation 0.3, in which a sign may turn. Running means get noise as well, running variances a factor between 0.5
    and 1.5, counters of batches a number. Other buffers are constants of the model (masks, tables of positions) and stay.
    """
    generator = torch.Generator().manual_seed(seed)
    done: set[int] = set()
    with torch.no_grad():
        for value in parameters(model).values():
            if id(value) not in done and value.is_floating_point():
                done.add(id(value))
                _disturb(value, generator)
        for name, module in named_modules(model):
            for key, buffer in module._buffers.items():  # noqa: SLF001
                if buffer is not None and id(buffer) not in done:
                    done.add(id(buffer))
                    _disturb_statistics(f"{name}.{key}", buffer, generator)


def _disturb(value: torch.Tensor, generator: torch.Generator) -> None:
    if not value.numel() or not bool(value.isfinite().all()):
        return
    if not bool((value == value[(0,) * value.dim()]).all()):
        size = _SPREAD * float(torch.linalg.vector_norm(value)) / math.sqrt(value.numel())
    else:
        size = 1 / math.sqrt(max(1, value[0].numel())) if value.dim() > 1 else _LIVELY
    for piece in torch.split(value.view(-1) if value.is_contiguous() else value, _PIECE):
        piece.add_(torch.randn(piece.shape, generator=generator, dtype=value.dtype), alpha=size)


def _disturb_statistics(key: str, buffer: torch.Tensor, generator: torch.Generator) -> None:
    last = key.rpartition(".")[2]
    if last == "running_mean":
        buffer += torch.randn(buffer.shape, generator=generator, dtype=buffer.dtype) * _LIVELY
    elif last == "running_var":
        buffer *= torch.rand(buffer.shape, generator=generator, dtype=buffer.dtype) + 0.5
    elif last == "num_batches_tracked":
        # Counts matter where momentum is None: the average is over all batches so far.
        buffer.fill_(int(torch.randint(1, 100, (), generator=generator)))
