"""The smallest modules that hold a change, for models that are too large to compare as a whole."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from normadvisor.graph.light import without_compiler
from normadvisor.graph.values import map_tensors, swapped, tensors_in, to_meta
from normadvisor.rewrite.keys import KeyMap

if TYPE_CHECKING:
    from normadvisor.rewrite.proof.inputs import Arguments

__all__ = ["enclosing", "recorded_arguments", "restricted"]


@dataclass(frozen=True, slots=True)
class _Recorded:
    """What a module was called with, tensors without their data."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any] = field(default_factory=dict)


def enclosing(model: nn.Module, key_map: KeyMap, parts: Sequence[Sequence[str]]) -> list[str]:
    """Names of the smallest modules with a ``forward`` of their own that hold each change; empty if one is the model itself."""
    groups = [list(group) for group in parts]
    groups += [[_owner(fold.source), _owner(fold.into)] for fold in key_map.folded]
    groups += [[_owner(key)] for key in (*key_map.dropped, *key_map.copied.values())]
    if key_map.added and not groups:
        return []
    names = {_around(model, group) for group in groups if group}
    if not names or "" in names:
        return []
    return sorted(name for name in names if not any(name.startswith(f"{other}.") for other in names))


def _owner(key: str) -> str:
    return key.rpartition(".")[0]


def _around(model: nn.Module, group: Sequence[str]) -> str:
    """The module around all of a group: never one of the group itself, nor a list, which is not called."""
    paths = [name.split(".") for name in group]
    shared = []
    for steps in zip(*(path[:-1] for path in paths), strict=False):
        if len(set(steps)) > 1:
            break
        shared.append(steps[0])
    modules = dict(model.named_modules())
    while shared and isinstance(modules.get(".".join(shared)), nn.ModuleList | nn.ModuleDict | None):
        shared.pop()
    return ".".join(shared)


def recorded_arguments(model: nn.Module, names: Sequence[str], inputs: Arguments) -> dict[str, _Recorded]:
    """What each module is first called with; the model runs on tensors without data, so that it takes no memory.

    Raises:
        Exception: whatever ``forward`` raises, which includes asking tensors for values that they do not have.

    """
    found: dict[str, _Recorded] = {}

    def hook_for(name: str) -> Callable[..., None]:
        def hook(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            found.setdefault(name, _Recorded(map_tensors(args, to_meta), map_tensors(kwargs, to_meta)))

        return hook

    with swapped(model, to_meta), torch.no_grad(), without_compiler(), torch.device("meta"):
        for name in names:
            model.get_submodule(name).register_forward_pre_hook(hook_for(name), with_kwargs=True)
        model.eval()
        model(*map_tensors(tuple(inputs.args), to_meta), **map_tensors(dict(inputs.kwargs), to_meta))
    return {name: recorded for name, recorded in found.items() if next(tensors_in((recorded.args, recorded.kwargs)), None) is not None}


def restricted(original: nn.Module, changed: nn.Module, key_map: KeyMap, names: Sequence[str]) -> Iterator[tuple[str, str, KeyMap]]:
    """Each module with its name in the changed model and the part of the key map that is about it; none for one that is not there."""
    modules = {name for name, _ in changed.named_modules()}
    keys = [key for key, _ in original.named_parameters()] + [key for key, _ in original.named_buffers()]
    for name in names:
        new = _new_name(name, keys, key_map)
        if new in modules:
            yield name, new, _below(key_map, f"{name}.", f"{new}.")


def _new_name(name: str, keys: Sequence[str], key_map: KeyMap) -> str:
    """What a module is called in the changed model, by what became of the keys below it."""
    for key in keys:
        inside = key.removeprefix(f"{name}.")
        new = key_map.new_name(key) if inside != key else None
        if new is not None and new.endswith(f".{inside}"):
            return new.removesuffix(f".{inside}")
    return name


def _below(key_map: KeyMap, old: str, new: str) -> KeyMap:
    """The map of the keys below one module, which is called ``old`` in the original and ``new`` in the changed model."""
    renamed = {key: key_map.new_name(key) for key in key_map.renamed if key.startswith(old)}
    kept = {key.removeprefix(old): value.removeprefix(new) for key, value in renamed.items() if value is not None and value.startswith(new)}
    return KeyMap(
        renamed={key: value for key, value in kept.items() if key != value},
        dropped=tuple(key.removeprefix(old) for key in key_map.dropped if key.startswith(old)),
        added=tuple(key.removeprefix(new) for key in key_map.added if key.startswith(new)),
        folded=tuple(
            replace(fold, source=fold.source.removeprefix(old), into=fold.into.removeprefix(old))
            for fold in key_map.folded
            if fold.source.startswith(old) and fold.into.startswith(old)
        ),
        copied={
            key.removeprefix(new): value.removeprefix(old)
            for key, value in key_map.copied.items()
            if key.startswith(new) and value.startswith(old)
        },
    )
