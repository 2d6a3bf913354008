"""Which norms of a model some layer can take up, judged by the graph that autograd records of a run: a second opinion, by name.

It shares nothing with the finders, which look at a trace: neither the graph nor the code nor the list of operations that a factor and an
offset for each channel can be moved across. A norm is legal

- behind layers: its input comes, through such operations alone, from convolutions or linear layers with stored weights, and nothing else
  uses what comes between;
- ahead of layers: everything that it gives goes, through such operations alone, into layers that pad nothing;
- beside a layer: it is added to what a convolution of the same input gives, itself normalized or not, and the sum is one convolution.

A norm that runs several times is legal if each run is, and a layer that runs several times takes up the same norm each time. Channels are
not counted: the oracle says yes rather too often than too rarely, since what it names and nobody folded is read by a person.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

__all__ = ["legal"]

_LAYERS = ("Convolution", "MkldnnConvolution", "SlowConv", "Addmm", "Mm", "Linear", "MkldnnLinear")
"""Beginnings of names."""
_MOVING = frozenset(
    {"View", "Reshape", "Permute", "Transpose", "T", "Flatten", "Squeeze", "Unsqueeze", "ToCopy", "Clone", "Alias", "UnsafeView",
     "AsStrided", "ReshapeAlias", "PixelShuffle", "PixelUnshuffle", "Mean", "Roll", "Flip", "Neg"}
)  # fmt: skip
_POOLING = ("AvgPool", "AdaptiveAvgPool", "Upsample", "ReflectionPad", "ReplicationPad")
"""Beginnings of names."""
_PARTS = frozenset({"Split", "SplitWithSizes", "Unbind", "UnsafeSplit", "Slice", "Narrow", "Select"})
_OUT = "output"


def legal(model: Any, arguments: tuple[Any, ...]) -> dict[str, str]:
    """``behind``, ``ahead`` or ``beside`` for each legal norm, by the name of its module.

    Raises:
        RuntimeError: the model does not run where gradients are wanted.

    """
    for value in model.parameters():
        if value.is_floating_point():
            value.requires_grad_(True)
    names = {value.data_ptr(): key.rpartition(".")[0] for key, value in model.named_buffers() if key.endswith("running_var")}
    graph = _Graph(model(*map(_followed, arguments)), {id(value) for value in model.parameters()})
    runs: dict[str, list[Any]] = defaultdict(list)
    for node in graph.nodes:
        if _is_norm(node):
            held = node._saved_running_var  # noqa: SLF001 -- the name autograd gives it
            runs[names.get(held.data_ptr(), "")].append(node)
    return {name: kind for name, nodes in runs.items() if (kind := graph.judged(nodes))}


def _followed(value: Any) -> Any:
    """An input that autograd follows, and that may be written over."""
    if isinstance(value, list):
        return [_followed(each) for each in value]
    return value.clone().requires_grad_(True).clone() if value.is_floating_point() else value


def _kind(node: Any) -> str:
    return type(node).__name__.partition("Backward")[0]


def _is_norm(node: Any) -> bool:
    """Whether a node is a batch norm with running statistics; an instance norm runs as one that has none."""
    stored = getattr(node, "_saved_running_var", None) is not None
    return stored and "BatchNorm" in _kind(node) and not getattr(node, "_saved_training", False)


class _Graph:
    """Nodes and who uses each of their results."""

    def __init__(self, result: Any, parameters: set[int]) -> None:
        from normadvisor.graph.values import tensors_in  # noqa: PLC0415

        self.users: dict[tuple[Any, int], list[Any]] = defaultdict(list)
        self.nodes: list[Any] = []
        roots = [(tensor.grad_fn, tensor.output_nr) for tensor in tensors_in(result) if tensor.grad_fn is not None]
        for root in roots:
            self.users[root].append(_OUT)
        seen = set()
        waiting = [node for node, _ in roots]
        while waiting:
            node = waiting.pop()
            if node in seen:
                continue
            seen.add(node)
            self.nodes.append(node)
            for source, place in node.next_functions:
                if source is not None:
                    self.users[source, place].append(node)
                    waiting.append(source)
        self._given = self._from_input(parameters)
        self.runs: Counter[Any] = Counter(leaf for node in self.nodes if self._is_layer(node) for leaf in self._weights(node))

    def _from_input(self, parameters: set[int]) -> set[Any]:
        """All nodes that the input of the model goes into."""
        waiting = [node for node in self.nodes if type(node).__name__ == "AccumulateGrad" and id(node.variable) not in parameters]
        used: dict[Any, list[Any]] = defaultdict(list)
        for (node, _), users in self.users.items():
            used[node] += [user for user in users if user != _OUT]
        found: set[Any] = set()
        while waiting:
            node = waiting.pop()
            if node not in found:
                found.add(node)
                waiting += used[node]
        return found

    def judged(self, norms: list[Any]) -> str:
        """How the runs of one norm are legal, empty if they are not."""
        for kind, walk in (("behind", self._behind), ("ahead", self._ahead)):
            layers = [layer for norm in norms for layer in (walk(norm) or [None])]
            if None not in layers and self._alone(layers):
                return kind
        return "beside" if len(norms) == 1 and self._beside(norms[0]) else ""

    def _alone(self, layers: list[Any]) -> bool:
        """Whether the layers run nowhere else."""
        counted = Counter(leaf for layer in dict.fromkeys(layers) for leaf in self._weights(layer))
        return all(self.runs[leaf] == count for leaf, count in counted.items())

    # -- layers ------------------------------------------------------------------------------------------------------------

    def stored(self, node: Any) -> bool:
        """Whether a value comes from parameters alone."""
        return node not in self._given

    def _is_layer(self, node: Any) -> bool:
        if not _kind(node).startswith(_LAYERS):
            return False
        return bool(self._weights(node))

    def _weights(self, node: Any) -> list[Any]:
        """The parameters that its weight, of two axes or more, comes from."""
        return [leaf for source, _ in node.next_functions if source is not None and self.stored(source) for leaf in self._leaves(source)]

    def _leaves(self, node: Any) -> Iterator[Any]:
        if type(node).__name__ == "AccumulateGrad":
            if node.variable.dim() > 1:
                yield node
            return
        for source, _ in node.next_functions:
            if source is not None:
                yield from self._leaves(source)

    def _data(self, node: Any) -> list[tuple[Any, int]]:
        """The operands that depend on the input of the model, or may."""
        return [(source, place) for source, place in node.next_functions if source is not None and not self.stored(source)]

    # -- behind ------------------------------------------------------------------------------------------------------------

    def _behind(self, norm: Any) -> list[Any] | None:
        return self._back(norm.next_functions[0], norm)

    def _back(self, value: tuple[Any, int], reader: Any) -> list[Any] | None:
        """The layers that a value comes from, which only ``reader`` uses; ``None`` if it comes from anything else, too."""
        node, _ = value
        if node is None or (self.users[value] != [reader] and not self._disjoint(value)):
            return None
        if self._is_layer(node):
            return [node]
        kind, data = _kind(node), self._data(node)
        if _is_norm(node):
            return self._back(node.next_functions[0], node)
        if kind in _PARTS or _moves(node):
            return self._back(data[0], node) if len(data) == 1 else None
        if kind in {"Mul", "Div"} and len(data) == 1 and len([each for each, _ in node.next_functions if each is not None]) > 1:
            return self._back(data[0], node)
        if kind in {"Add", "Sub", "Cat"}:
            found = [self._back(each, node) for each in node.next_functions if each[0] is None or not self.stored(each[0])]
            return None if not found or None in found else [layer for part in found for layer in part or ()]
        return None

    def _disjoint(self, value: tuple[Any, int]) -> bool:
        """Whether all that use a value take parts of it that have nothing in common."""
        users = self.users[value]
        if not users or not all(user != _OUT and _kind(user) == "Slice" for user in users):
            return False
        spans = sorted((user._saved_dim, user._saved_start, user._saved_end) for user in users)  # noqa: SLF001
        return all(one[0] == other[0] and one[2] <= other[1] for one, other in pairwise(spans))

    # -- ahead -------------------------------------------------------------------------------------------------------------

    def _ahead(self, norm: Any) -> list[Any] | None:
        return self._front((norm, 0))

    def _front(self, value: tuple[Any, int]) -> list[Any] | None:
        """The layers that a value goes into; ``None`` if it goes anywhere else, too."""
        found: list[Any] = []
        for user in self.users[value]:
            if user == _OUT:
                return None
            kind = _kind(user)
            if self._is_layer(user):
                if self._data(user) != [value] or _pads(user):
                    return None
                found.append(user)
                continue
            if kind not in _PARTS and kind != "Cat" and not _moves(user):
                return None
            parts = [each for each in self.users if each[0] is user]
            inner = [self._front(each) for each in parts]
            if not inner or None in inner:
                return None
            found += [layer for part in inner for layer in part or ()]
        return found or None

    # -- beside ------------------------------------------------------------------------------------------------------------

    def _beside(self, norm: Any) -> bool:
        source, node, value = norm.next_functions[0], norm, (norm, 0)
        while self.users[value] != [] and len(self.users[value]) == 1 and self.users[value][0] != _OUT:
            user = self.users[value][0]
            if _kind(user) != "Add":
                return False
            others = [each for each in user.next_functions if each[0] is not node]
            if any(self._is_convolved(each, source) for each in others):
                return True
            node, value = user, (user, 0)
        return False

    def _is_convolved(self, value: tuple[Any, int], source: tuple[Any, int]) -> bool:
        """Whether a value, or an addend of it, is a convolution of ``source`` that reads the place it stands at."""
        node = value[0]
        if node is None or len(self.users[value]) != 1:
            return False
        if _kind(node) == "Add":
            return any(self._is_convolved(each, source) for each in node.next_functions)
        if _is_norm(node):
            node = node.next_functions[0][0]
        if node is None or not self._is_layer(node):
            return False
        return self._data(node) == [source] and set(getattr(node, "_saved_stride", (1,))) == {1}


def _moves(node: Any) -> bool:
    """Whether a node with one operand moves entries about, or averages those of one channel with weights that add up to one."""
    kind = _kind(node)
    if not kind.startswith(_POOLING):
        return kind in _MOVING
    if kind.startswith("AvgPool"):
        padded = any(getattr(node, "_saved_padding", ())) and getattr(node, "_saved_count_include_pad", False)
        return not padded and getattr(node, "_saved_divisor_override", None) is None
    return True


def _pads(node: Any) -> bool:
    return any(getattr(node, "_saved_padding", ())) or bool(getattr(node, "_saved_transposed", False))
