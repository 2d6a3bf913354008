"""Whether two models are the same around what was changed, or altogether."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from normadvisor.rewrite.keys import KeyMap
from normadvisor.rewrite.proof.likeness import Likeness
from normadvisor.rewrite.proof.regions import Region, element_names, join
from normadvisor.rewrite.proof.state import named_modules, state

if TYPE_CHECKING:
    from torch import nn

    from normadvisor.graph.model import ModelGraph

__all__ = ["same_outside", "unchanged"]


def same_outside(original: nn.Module, changed: nn.Module, pairs: Sequence[tuple[Region, Region]], key_map: KeyMap) -> bool:
    """Whether everything but the given parts is built alike, runs the same code, and takes the same values.

    Compared are names, classes, settings, shapes, and the compiled methods of every class with the functions that they call, so that an
    edit which reaches further than it should is not missed where only the parts that were meant to change are run.

    Args:
        original: the model before.
        changed: and after.
        pairs: parts that differ, of the original and of the changed model.
        key_map: what became of the keys.

    """
    moved = _moved(original, changed, pairs)
    old_parts = [prefix for region, _ in pairs for prefix in region.prefixes(original)]
    new_parts = [prefix for _, region in pairs for prefix in region.prefixes(changed)]
    before = {_renamed(name, moved): module for name, module in named_modules(original) if not _below(name, old_parts)}
    after = {name: module for name, module in named_modules(changed) if not _below(name, new_parts)}
    keys = (key for key in state(original) if not _below(key, old_parts))
    if before.keys() != after.keys() or any(key_map.new_name(key) != _renamed(key, moved) for key in keys):
        return False
    likeness = Likeness(constructors=True)
    return all(likeness.of(module, after[name]) for name, module in before.items())


def _below(name: str, prefixes: Sequence[str]) -> bool:
    return any(f"{name}.".startswith(f"{prefix}.") for prefix in prefixes)


def _moved(original: nn.Module, changed: nn.Module, pairs: Sequence[tuple[Region, Region]]) -> dict[str, str]:
    """Elements behind a slice whose length changed, with the names they have now."""
    moved = {}
    for old, new in pairs:
        if old.stop is not None and new.stop != old.stop:
            behind = zip(element_names(original, old.name)[old.stop :], element_names(changed, new.name)[new.stop :], strict=False)
            moved.update({join(old.name, before): join(new.name, after) for before, after in behind})
    return moved


def _renamed(name: str, moved: dict[str, str]) -> str:
    for old, new in moved.items():
        if f"{name}.".startswith(f"{old}."):
            return f"{new}{name[len(old) :]}"
    return name


def unchanged(original: nn.Module, changed: nn.Module, graphs: tuple[ModelGraph, ModelGraph]) -> bool:
    """Whether a model is the same function by its looks: it needs no numbers to show that an edit did not reach it.

    Its traced graph is the same, constants included, and so are modules by name, class and settings, shapes, and the code that they run.
    The code of constructors may differ where everything that they left behind can be compared.

    Args:
        original: the model before.
        changed: and after.
        graphs: of both.

    """
    traced = [graph.fx_graph for graph in graphs]
    if None in traced or str(traced[0]) != str(traced[1]):
        return False
    before, after = list(named_modules(original)), list(named_modules(changed))
    if [name for name, _ in before] != [name for name, _ in after]:
        return False
    likeness = Likeness(constructors=False)
    return all(likeness.of(module, other) for (_, module), (_, other) in zip(before, after, strict=True))
