"""Parts of a model that hold a change: a module, or elements of an ``nn.Sequential`` that follow one another."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from torch import nn

from normadvisor.rewrite.keys import KeyMap

__all__ = ["Region", "changed_regions", "element_names", "regions"]


@dataclass(frozen=True, slots=True)
class Region:
    """A module, or some of its elements."""

    name: str
    start: int = 0
    stop: int | None = None
    """First element that does not belong to it; ``None`` for the whole module."""

    def __str__(self) -> str:
        """``features``, or ``features[3:5]`` as Python would take these elements."""
        return self.name if self.stop is None else f"{self.name or 'the model'}[{self.start}:{self.stop}]"

    def prefixes(self, model: nn.Module) -> list[str]:
        """Names of the outermost modules that belong to it."""
        return [self.name] if self.stop is None else [join(self.name, child) for child in self._children(model)]

    def of(self, model: nn.Module) -> nn.Module:
        """The module, or a sequence of the elements under the names that they have."""
        module = model.get_submodule(self.name)
        if self.stop is None:
            return module
        taken = nn.Sequential(OrderedDict((child, module.get_submodule(child)) for child in self._children(model)))
        taken.training = module.training
        return taken

    def _children(self, model: nn.Module) -> list[str]:
        return element_names(model, self.name)[self.start : self.stop]


def join(module: str, name: str) -> str:
    """A qualified name."""
    return f"{module}.{name}" if module else name


def element_names(model: nn.Module, name: str) -> list[str]:
    """Names of a module's children, repeated ones included."""
    return list(model.get_submodule(name)._modules)  # noqa: SLF001 -- named_children leaves out repeated children


def regions(model: nn.Module, key_map: KeyMap, parts: Sequence[Sequence[str]], context: int | None) -> list[Region]:
    """The smallest parts of a model that hold each change; empty if one is the model itself.

    Args:
        model: the original.
        key_map: tells changes as well.
        parts: groups of module names, one for each change.
        context: elements of a sequence that are taken on either side of a change; ``None``: modules with a ``forward`` of their own.

    """
    groups = [list(group) for group in parts]
    groups += [[_owner(fold.source), _owner(fold.into)] for fold in key_map.folded]
    groups += [[_owner(key)] for key in (*key_map.dropped, *key_map.copied.values())]
    if key_map.added and not groups:
        return []
    found = _merged(_region(model, group, context) for group in groups if group)
    if any(region == Region("") for region in found):
        return []
    return [region for region in found if not any(_inside(model, region, other) for other in found if other != region)]


def _owner(key: str) -> str:
    return key.rpartition(".")[0]


def _region(model: nn.Module, group: Sequence[str], context: int | None) -> Region:
    name = _around(model, group)
    if context is None or not _is_plain_sequence(model.get_submodule(name)):
        return Region(name)
    names = element_names(model, name)
    inside = [path.removeprefix(f"{name}.") if name else path for path in group]
    try:
        indices = [names.index(path.partition(".")[0]) for path in inside]
    except ValueError:
        return Region(name)
    start, stop = max(0, min(indices) - context), min(len(names), max(indices) + 1 + context)
    return Region(name) if name and stop - start == len(names) else Region(name, start, stop)


def _is_plain_sequence(module: nn.Module) -> bool:
    """Whether calling it is calling its elements one after the other, and nothing else."""
    hooks = (module._forward_hooks, module._forward_pre_hooks, module._backward_hooks, module._backward_pre_hooks)  # noqa: SLF001
    return isinstance(module, nn.Sequential) and type(module).forward is nn.Sequential.forward and not any(hooks)


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


def _merged(found: Iterable[Region]) -> list[Region]:
    """Slices that touch become one, and those of a module that is there as a whole belong to it."""
    merged: list[Region] = []
    ordered = sorted(dict.fromkeys(found), key=lambda region: (region.name, region.stop is not None, region.start))
    for name, group in groupby(ordered, key=lambda region: region.name):
        for region in group:
            last = merged[-1] if merged and merged[-1].name == name else None
            if last is None or (last.stop is not None and region.start > last.stop):
                merged.append(region)
            elif last.stop is not None and region.stop is not None:
                merged[-1] = replace(last, stop=max(last.stop, region.stop))
    return merged


def _inside(model: nn.Module, region: Region, other: Region) -> bool:
    return any(f"{region.name}.".startswith(f"{prefix}.") for prefix in other.prefixes(model))


def changed_regions(original: nn.Module, changed: nn.Module, found: Sequence[Region]) -> list[tuple[Region, Region]]:
    """Slices of the original with those of the changed model that stand in their place; empty where that cannot be told.

    Elements before the first slice and behind the last one count from the start and from the end. Where the number of elements changed,
    slices of one sequence become one, since it is not known what moved in between.
    """
    paired: list[tuple[Region, Region]] = []
    for name, group in groupby(found, key=lambda region: region.name):
        slices = list(group)
        first, last = slices[0], slices[-1]
        if first.stop is None or last.stop is None:
            paired.append((first, first))
            continue
        try:
            more = len(element_names(changed, name)) - len(element_names(original, name))
        except AttributeError:
            return []
        if more == 0:
            paired += [(each, each) for each in slices]
            continue
        if last.stop + more < first.start:
            return []
        whole = replace(first, stop=last.stop)
        paired.append((whole, replace(whole, stop=last.stop + more)))
    return paired
