"""The smallest modules that hold a change, for models that are too large to compare as a whole."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Container, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from normadvisor.graph.light import without_compiler
from normadvisor.graph.values import map_tensors, swapped, tensors_in, to_meta
from normadvisor.rewrite.keys import KeyMap
from normadvisor.rewrite.proof.regions import Region, element_names, join
from normadvisor.rewrite.proof.state import state

if TYPE_CHECKING:
    from normadvisor.rewrite.proof.inputs import Arguments

__all__ = ["Part", "recorded_arguments", "restricted"]


@dataclass(frozen=True, slots=True)
class Part:
    """A part of two models."""

    region: Region
    original: nn.Module
    changed: nn.Module
    key_map: KeyMap


@dataclass(frozen=True, slots=True)
class _Recorded:
    """What a module was called with, tensors without their data."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any] = field(default_factory=dict)


def recorded_arguments(model: nn.Module, found: Sequence[Region], inputs: Arguments) -> dict[Region, _Recorded]:
    """What each part is first called with; the model runs on tensors without data, so that it takes no memory.

    Those of a module whose layers are called past it as well are left out: it is not all that uses them.

    Raises:
        Exception: whatever ``forward`` raises, which includes asking tensors for values that they do not have.

    """
    recorder = _Recorder()
    with swapped(model, to_meta), torch.no_grad(), without_compiler(), torch.device("meta"):
        for region in found:
            recorder.watch(model, region)
        model.eval()
        model(*map_tensors(tuple(inputs.args), to_meta), **map_tensors(dict(inputs.kwargs), to_meta))
    return {
        region: recorded
        for region, recorded in recorder.found.items()
        if region.name not in recorder.bypassed and next(tensors_in((recorded.args, recorded.kwargs)), None) is not None
    }


class _Recorder:
    """Notes first calls, and which modules are not alone in calling what is in them."""

    def __init__(self) -> None:
        self.found: dict[Region, _Recorded] = {}
        self.bypassed: set[str] = set()
        self._running: Counter[str] = Counter()

    def watch(self, model: nn.Module, region: Region) -> None:
        """Register hooks for a part."""
        owner = model.get_submodule(region.name)
        first = owner if region.stop is None else owner.get_submodule(element_names(model, region.name)[region.start])
        first.register_forward_pre_hook(self._noting(region), with_kwargs=True)
        for module in owner.modules():
            if module is not owner:
                module.register_forward_pre_hook(lambda *_: None if self._running[region.name] else self.bypassed.add(region.name))
        owner.register_forward_pre_hook(lambda *_: self._running.update([region.name]))
        owner.register_forward_hook(lambda *_: self._running.subtract([region.name]))

    def _noting(self, region: Region) -> Callable[..., None]:
        def hook(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            self.found.setdefault(region, _Recorded(map_tensors(args, to_meta), map_tensors(kwargs, to_meta)))

        return hook


def restricted(original: nn.Module, changed: nn.Module, key_map: KeyMap, pairs: Sequence[tuple[Region, Region]]) -> Iterator[Part]:
    """Each part as two models with the part of the key map that is about it; none for one that is not there."""
    modules = {name for name, _ in changed.named_modules()}
    keys = [key for key, _ in original.named_parameters()] + [key for key, _ in original.named_buffers()]
    for region, other in pairs:
        if region.stop is None:
            new = Region(_new_name(region.name, keys, key_map))
            if new.name in modules:
                yield Part(region, region.of(original), new.of(changed), _below(key_map, f"{region.name}.", f"{new.name}."))
            continue
        prefix = join(region.name, "")
        first, second = region.of(original), other.of(changed)
        yield Part(region, first, second, _among(_below(key_map, prefix, prefix), [*state(first), *state(second)]))


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


def _among(key_map: KeyMap, keys: Container[str]) -> KeyMap:
    """The map of some keys."""
    return KeyMap(
        renamed={old: new for old, new in key_map.renamed.items() if old in keys},
        dropped=tuple(key for key in key_map.dropped if key in keys),
        added=tuple(key for key in key_map.added if key in keys),
        folded=tuple(fold for fold in key_map.folded if fold.source in keys),
        copied={new: old for new, old in key_map.copied.items() if new in keys},
    )
