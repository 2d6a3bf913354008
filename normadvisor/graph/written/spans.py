"""The part of a graph between one value and the one operand that it is computed from; what is computed of parameters counts as one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from weakref import WeakKeyDictionary

from torch import fx

from normadvisor.graph.written.exact import called, is_cast, is_in_place, is_tensor
from normadvisor.graph.written.model import Surroundings, reads_only

__all__ = ["Parameters", "Span", "numbers", "spans"]

_MOST = 40
"""Nodes from which on a part of a graph is no single operation."""
_OF_PARAMETERS = frozenset({
    "add", "sub", "rsub", "mul", "div", "truediv", "true_divide", "neg", "exp", "sqrt", "pow", "abs", "float", "to", "type_as", "type",
    "double", "half", "bfloat16", "view", "reshape", "unsqueeze", "squeeze", "getitem", "permute", "transpose", "expand", "contiguous",
    "softplus", "sigmoid", "expand_as", "clamp", "reciprocal", "flatten",
})  # fmt: skip
"""What may be done to a parameter before it is used, and still leaves a parameter."""
_PAIRS = frozenset({"var_mean", "std_mean", "max"})
"""What gives two tensors at once."""
_MADE = frozenset({"tensor", "scalar_tensor", "as_tensor", "full"})


@dataclass(frozen=True, slots=True)
class Span:
    """Nodes between a root and its one source of data."""

    root: fx.Node
    source: fx.Node
    parameters: tuple[fx.Node, ...]
    """Values that hang on parameters and numbers alone, as they enter."""
    nodes: tuple[fx.Node, ...]
    """In the order of the graph, with ``root``, without source and parameters, with the numbers that are computed on the way."""


class Parameters:
    """Which nodes of a graph hang on parameters and numbers alone.

    Args:
        nodes: of the graph, in its order.

    """

    def __init__(self, nodes: Iterable[fx.Node]) -> None:
        self._all: set[fx.Node] = set()
        self.of_numbers: set[fx.Node] = set()
        """Those that hang on numbers in the source alone: ``torch.sqrt(torch.tensor(64.0))``."""
        for node in nodes:
            self._note(node)

    @classmethod
    def around(cls, around: Surroundings) -> Parameters:
        """Those of a graph, looked for once."""
        found = _known.get(around)
        if found is None:
            found = _known[around] = cls(around.graph.nodes)
        return found

    def __contains__(self, node: fx.Node) -> bool:
        return node in self._all

    def _note(self, node: fx.Node) -> None:
        name = called(node)
        tensors = [source for source in _operands(node) if is_tensor(source)]
        if node.op == "get_attr":
            self._all.add(node)
        elif name in _MADE and not any(is_tensor(source) for source in node.all_input_nodes):
            self._all.add(node)
            self.of_numbers.add(node)
        elif name in _OF_PARAMETERS and tensors and is_tensor(node) and not is_in_place(node):
            for kind in (self._all, self.of_numbers):
                if all(source in kind for source in tensors):
                    kind.add(node)


_known: WeakKeyDictionary[Surroundings, Parameters] = WeakKeyDictionary()


def spans(root: fx.Node, order: Mapping[fx.Node, int], parameters: Parameters, expands: Callable[[fx.Node], bool]) -> Iterator[Span]:
    """All parts of the graph that end in ``root``, have one source of data and consist of what ``expands`` allows; the smallest first.

    Values inside are read by nothing outside, but for their sizes and dtypes.
    """
    inside: set[fx.Node] = set()
    given: set[fx.Node] = set()
    front = {root}
    while front and len(inside) < _MOST:
        node = max(front, key=order.__getitem__)
        if not expands(node):
            return
        front.remove(node)
        inside.add(node)
        for source in _tensors_of(node, inside):
            if source in parameters:
                given.add(source)
            elif source not in inside:
                front.add(source)
        if len(front) == 1:
            (source,) = front
            if _is_closed(root, source, inside):
                nodes = {*inside, *_numbers_of(inside)}
                yield Span(root, source, tuple(sorted(given, key=order.__getitem__)), tuple(sorted(nodes, key=order.__getitem__)))


def numbers(nodes: Iterable[fx.Node]) -> list[float]:
    """All numbers among the arguments of some nodes, each once."""
    found: dict[float, None] = {}

    def note(value: object) -> None:
        if isinstance(value, int | float) and not isinstance(value, bool):
            found[float(value)] = None
        elif isinstance(value, tuple | list):
            for item in value:
                note(item)

    for node in nodes:
        note([*node.args, *node.kwargs.values()])
    return list(found)


def _operands(node: fx.Node) -> Iterable[fx.Node]:
    """The nodes whose values a node computes with: of a cast only what is cast."""
    if is_cast(node):
        return [argument for argument in node.args[:1] if isinstance(argument, fx.Node)]
    return node.all_input_nodes


def _tensors_of(node: fx.Node, inside: set[fx.Node]) -> Iterator[fx.Node]:
    """Tensors that a node computes with, also by way of their sizes."""
    waiting = list(_operands(node))
    seen = set(waiting)
    while waiting:
        source = waiting.pop()
        is_call = source.op in {"call_function", "call_method"}
        if is_tensor(source) or source in inside or not is_call or called(source) in _PAIRS:
            yield source
            continue
        fresh = [each for each in source.all_input_nodes if each not in seen]
        seen.update(fresh)
        waiting += fresh


def _numbers_of(inside: Iterable[fx.Node]) -> set[fx.Node]:
    """The nodes that are no tensors and that a part computes with."""
    held = set(inside)
    found: set[fx.Node] = set()
    waiting = [source for node in held for source in _operands(node)]
    while waiting:
        source = waiting.pop()
        if is_tensor(source) or source in found or source in held or source.op not in {"call_function", "call_method"}:
            continue
        found.add(source)
        waiting += source.all_input_nodes
    return found


def _is_closed(root: fx.Node, source: fx.Node, inside: set[fx.Node]) -> bool:
    """Whether nobody outside reads what is computed inside, but for sizes and dtypes."""
    return all(
        user in inside or reads_only(user)
        for node in inside
        if node is not root and node is not source
        for user in node.users
    )
