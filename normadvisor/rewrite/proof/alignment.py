"""Which key became which between a model and the model built from its edited source."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import TYPE_CHECKING

from normadvisor.rewrite.folding import folds
from normadvisor.rewrite.keys import KeyMap
from normadvisor.rewrite.model.carry import aliases
from normadvisor.rewrite.proof.state import shape_of, state
from normadvisor.types.operation import OperationKind

if TYPE_CHECKING:
    import torch
    from torch import nn

    from normadvisor.graph.model import ModelGraph
    from normadvisor.types.operation import Operation

__all__ = ["align"]

_REBUILT = frozenset({OperationKind.REPLACE_LAYER, OperationKind.WRAP_LAYER})


def align(original: nn.Module, changed: nn.Module, operations: Sequence[Operation], graph: ModelGraph) -> KeyMap:
    """Find what became of every key of ``original``.

    Children with names keep them. Those of an ``nn.Sequential`` or a list move up where one before them was taken out, down where one was
    put in, and trade places where they were swapped; which of that the edit did is told by their classes. A layer that a shared one was
    separated into has its values as well. A key whose layer no longer has it, or has it in another shape, is dropped.

    Args:
        original: the model as it was.
        changed: the model built from the edited source.
        operations: what the edit was to do.
        graph: of the original.

    Raises:
        FoldError: a bias that was taken out cannot be folded into the norms behind it.

    """
    places = dict(_places(_Pair(original, changed, operations), "", ""))
    old, new = state(original), state(changed)
    other_names = _other_names(original, changed, operations, places)
    renamed: dict[str, str] = {}
    dropped: list[str] = []
    for key, value in old.items():
        module, _, last = key.rpartition(".")
        place, last = places.get(module), other_names.get(key, last)
        name = None if place is None else f"{place}.{last}" if place else last
        if name is None or name not in new or shape_of(new[name]) != shape_of(value):
            dropped.append(key)
        else:
            renamed[key] = name
    fresh = new.keys() - renamed.values()
    copied = dict(_copies(sorted(fresh), renamed, old, new, operations))
    return KeyMap(
        renamed={key: name for key, name in renamed.items() if key != name},
        dropped=tuple(dropped),
        added=tuple(key for key in new if key in fresh and key not in copied),
        folded=tuple(fold for fold in folds(graph, operations, original) if fold.source in dropped),
        copied=copied,
    )


def _other_names(original: nn.Module, changed: nn.Module, operations: Iterable[Operation], places: Mapping[str, str]) -> dict[str, str]:
    """Last parts of keys that a layer in the place of another has for the same values: ``weight`` for ``bn.gamma``."""
    found: dict[str, str] = {}
    for each in operations:
        if each.kind is OperationKind.REPLACE_LAYER and each.part.is_layer and each.part.module in places:
            old, new = original.get_submodule(each.part.module), changed.get_submodule(places[each.part.module])
            found |= {_join(each.part.module, own): name for own, name in aliases(old, new, each.part.op).items()}
    return found


@dataclass(frozen=True, slots=True)
class _Pair:
    """Both models, and what was to be done to the first."""

    original: nn.Module
    changed: nn.Module
    operations: Sequence[Operation]

    def modules(self, *kinds: OperationKind) -> set[str]:
        """Names of the layers that operations of some kinds are about."""
        return {each.part.module for each in self.operations if each.kind in kinds and each.part.is_layer}


def _places(pair: _Pair, old: str, new: str) -> Iterator[tuple[str, str]]:
    """Modules of the original and what they are called in the changed model, from one such pair downwards."""
    yield old, new
    one, other = pair.original.get_submodule(old), pair.changed.get_submodule(new)
    for before, after in _children(pair, old, one, other):
        if one._modules[before] is not None and other._modules[after] is not None:  # noqa: SLF001 -- a child may be None
            yield from _places(pair, _join(old, before), _join(new, after))


def _join(module: str, name: str) -> str:
    return f"{module}.{name}" if module else name


def _children(pair: _Pair, path: str, one: nn.Module, other: nn.Module) -> list[tuple[str, str]]:
    """Children of two modules that belong together, by name."""
    before, after = list(one._modules), list(other._modules)  # noqa: SLF001 -- named_children leaves out repeated children
    if _numbered(before) and _numbered(after):
        return _elements(pair, path, one, other)
    named = {name: name for name in before if name in after}
    for first, second in _swaps(pair, path):
        if first in named and second in named and _traded(one, other, first, second):
            named[first], named[second] = second, first
    return list(named.items())


def _numbered(names: Sequence[str]) -> bool:
    return list(names) == [str(index) for index in range(len(names))]


def _swaps(pair: _Pair, path: str) -> Iterator[tuple[str, str]]:
    """Children of one module that were to change places."""
    for each in pair.operations:
        if each.kind is OperationKind.SWAP_LAYERS and each.other is not None and each.part.is_layer and each.other.is_layer:
            (first_owner, _, first), (second_owner, _, second) = each.part.module.rpartition("."), each.other.module.rpartition(".")
            if first_owner == second_owner == path:
                yield first, second


def _traded(one: nn.Module, other: nn.Module, first: str, second: str) -> bool:
    """Whether two children did change places, rather than the calls of them."""
    before = [_class(one, first), _class(one, second)]
    return before[0] != before[1] and [_class(other, second), _class(other, first)] == before


def _class(module: nn.Module, child: str) -> str:
    return type(module._modules[child]).__qualname__  # noqa: SLF001


def _elements(pair: _Pair, path: str, one: nn.Module, other: nn.Module) -> list[tuple[str, str]]:
    """Elements of two lists that belong together: as the operations say if the classes agree, else as the classes do."""
    length = len(other._modules)  # noqa: SLF001
    for order in _orders(pair, path, list(one._modules)):  # noqa: SLF001
        found = [(name, str(index)) for index, name in enumerate(order) if name]
        if len(order) == length and all(_fits(pair, path, one, other, each) for each in found):
            return found
    return _by_class(one, other)


def _orders(pair: _Pair, path: str, names: Sequence[str]) -> Iterator[list[str]]:
    """Orders that the elements may have got; an empty name is a new element."""
    removed = pair.modules(OperationKind.REMOVE_LAYER)
    followed = pair.modules(OperationKind.INSERT_LAYER)
    swapped = list(names)
    for first, second in _swaps(pair, path):
        if first in swapped and second in swapped:
            here, there = swapped.index(first), swapped.index(second)
            swapped[here], swapped[there] = second, first
    for order in (swapped, list(names)):
        kept = [name for name in order if _join(path, name) not in removed]
        for chosen in (kept, order):
            yield [each for name in chosen for each in ([name, ""] if _join(path, name) in followed else [name])]
            yield chosen


def _fits(pair: _Pair, path: str, one: nn.Module, other: nn.Module, names: tuple[str, str]) -> bool:
    before, after = _class(one, names[0]), _class(other, names[1])
    name = _join(path, names[0])
    # Where the place of a layer matters to other code, something that does nothing stands there once it is taken out.
    emptied = after == "Identity" and name in pair.modules(OperationKind.REMOVE_LAYER)
    return before == after or emptied or name in pair.modules(*_REBUILT)


def _by_class(one: nn.Module, other: nn.Module) -> list[tuple[str, str]]:
    """The longest runs of elements of the same class and shapes; within what differs, elements at the same distance from its start."""
    before, after = _signatures(one), _signatures(other)
    found = []
    for tag, start, end, new_start, new_end in SequenceMatcher(a=before, b=after, autojunk=False).get_opcodes():
        if tag == "equal" or (tag == "replace" and end - start == new_end - new_start):
            found += [(str(start + step), str(new_start + step)) for step in range(end - start)]
    return found


def _signatures(module: nn.Module) -> list[tuple[str, tuple[tuple[int, ...] | None, ...]]]:
    # Biases are what fixes take out, so they say nothing about which layer is which.
    return [
        (type(child).__qualname__, tuple(shape_of(value) for key, value in state(child).items() if not key.endswith("bias")))
        if child is not None
        else ("", ())
        for child in module._modules.values()  # noqa: SLF001
    ]


def _copies(
    fresh: Iterable[str],
    renamed: Mapping[str, str],
    old: Mapping[str, torch.Tensor],
    new: Mapping[str, torch.Tensor],
    operations: Sequence[Operation],
) -> Iterator[tuple[str, str]]:
    """Keys of layers that a shared one was separated into, with the key of the shared one: they stand beside it and have its shapes."""
    shared = [each.part.module for each in operations if each.kind is OperationKind.SEPARATE_LAYERS]
    for key in fresh:
        module, _, last = key.rpartition(".")
        owner = module.rpartition(".")[0]
        for origin in shared:
            source = _join(origin, last)
            place = renamed.get(source)
            if place is None or place.rpartition(".")[0].rpartition(".")[0] != owner or shape_of(old[source]) != shape_of(new[key]):
                continue
            if _stem(module) == place.rpartition(".")[0]:
                yield key, source
                break


def _stem(module: str) -> str:
    """The name that a number was added to: ``bn`` for ``bn_2``."""
    return module.rstrip("0123456789").rstrip("_")
