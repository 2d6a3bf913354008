"""Where values come from and who uses them: the dataflow questions that folding asks of a graph and its model."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import torch
from torch import fx, nn

from normadvisor.graph.canonical import base_name, spelling
from normadvisor.graph.leaves import hooked
from normadvisor.graph.model import ModelGraph, NodeInfo
from normadvisor.graph.record import note_of
from normadvisor.graph.signatures import bind
from normadvisor.optimization.folding.inline import Inline, Locals
from normadvisor.optimization.folding.unrun import Unrun
from normadvisor.rewrite.proof.inputs import Arguments

__all__ = ["Flow"]

_SHAPE_ONLY = frozenset({"reshape_as", "view_as", "expand_as", "type_as", "resize_as"})
"""Methods that read nothing but the shape or the dtype of their second tensor."""


class Flow:
    """A model, its graph, and what can be looked up in both."""

    def __init__(self, model: nn.Module, graph: ModelGraph, inputs: Arguments | None = None) -> None:
        self.model, self.graph = model, graph
        self._locals = Locals(model, inputs)
        self.unrun = Unrun(model, inputs)
        self.modules: dict[str, nn.Module] = dict(model.named_modules(remove_duplicate=False))
        self._names: dict[int, list[str]] = defaultdict(list)
        for name, module in self.modules.items():
            self._names[id(module)].append(name)
        self._fx: dict[str, fx.Node] = {node.name: node for node in graph.fx_graph.nodes} if graph.fx_graph is not None else {}
        self._reads: dict[str, list[fx.Node]] = defaultdict(list)
        for node in self._fx.values():
            if node.op == "get_attr":
                self._reads[str(node.target)].append(node)
        self._keys: dict[int, list[str]] = defaultdict(list)
        for name, module in self.modules.items():
            for attribute, tensor in (*module._parameters.items(), *module._buffers.items()):  # noqa: SLF001
                if tensor is not None:
                    self._keys[id(tensor)].append(f"{name}.{attribute}" if name else attribute)
        self._users = self._data_users()
        self._inside: dict[str, list[NodeInfo]] = defaultdict(list)
        for each in graph.nodes:
            if each.op not in {"param", "constant"}:
                for name in _holders(each.module):
                    self._inside[name].append(each)

    def _data_users(self) -> list[list[NodeInfo]]:
        users: list[list[NodeInfo]] = [[] for _ in self.graph.nodes]
        for node in self.graph.nodes:
            for source in self.operands(node):
                users[source.index].append(node)
        return users

    def fx(self, node: NodeInfo) -> fx.Node | None:
        """The recorded call."""
        return self._fx.get(node.name)

    def inside(self, name: str) -> list[NodeInfo]:
        """What a module does, and all that stands in it, by one of its names."""
        return self._inside.get(name, [])

    def path(self, node: NodeInfo) -> str:
        """The module whose forward makes a call."""
        call = self.fx(node)
        return note_of(call).path if call is not None else node.module

    def given(self, node: NodeInfo) -> tuple[int, ...] | None:
        """Shape of what the module is given whose forward makes a call, where that is padded or reshaped before the call."""
        own = self.same(node.module)
        while not node.cls:
            operands = self.operands(node)
            if len(operands) != 1 or self.path(operands[0]) not in own or operands[0].cls:
                break
            node = operands[0]
        return node.in_shape

    def tensor(self, key: str) -> torch.Tensor | None:
        """A parameter or buffer by its key."""
        owner, _, attribute = key.rpartition(".")
        found = getattr(self.modules.get(owner), attribute, None)
        return found if isinstance(found, torch.Tensor) else None

    def inline(self, node: NodeInfo) -> Inline | str:
        """The place of a call in the forward that makes it, or why there is none."""
        call = self.fx(node)
        if call is None:
            return "it is a call that cannot be taken out"
        path, kind = self.path(node), base_name(spelling(call.target)[0])[0]
        trouble = self.trouble(path)
        if trouble:
            return trouble
        calls = [
            each for each in self._fx.values()
            if each.op in {"call_function", "call_method"} and note_of(each).path == path and base_name(spelling(each.target)[0])[0] == kind
        ]  # fmt: skip
        return self._locals.find(path, calls, call)

    def operands(self, node: NodeInfo) -> list[NodeInfo]:
        """The nodes whose values go into ``node``, without those that only lend it their shape."""
        inputs = node.inputs[:1] if base_name(node.target.rpartition(".")[2])[0] in _SHAPE_ONLY else node.inputs
        return [self.graph.nodes[index] for index in inputs]

    def users(self, node: NodeInfo) -> list[NodeInfo]:
        """The nodes that use the values of ``node``; the output of the model is one of them."""
        return self._users[node.index]

    def arguments(self, node: NodeInfo) -> dict[str, Any]:
        """Arguments of a call by name, without the first operand; empty for a module."""
        call = self.fx(node)
        if call is None or call.op not in {"call_function", "call_method"}:
            return {}
        name, written = spelling(call.target)
        return bind(base_name(name)[0], written, call.args, call.kwargs)

    def names(self, module: nn.Module) -> list[str]:
        """All names of a module: a shared one has several."""
        return self._names[id(module)]

    def keys(self, tensor: torch.Tensor) -> list[str]:
        """All names of a parameter or buffer; those of tied ones name different modules."""
        return self._keys[id(tensor)]

    def same(self, name: str) -> set[str]:
        """All names of the module that has ``name``."""
        return set(self.names(self.modules[name]))

    def read_elsewhere(self, tensor: torch.Tensor, inside: str) -> str:
        """Where a parameter is read by name outside of the forward of ``inside``; empty if nowhere."""
        own = self.same(inside)
        for key in self.keys(tensor):
            for read in self._reads[key]:
                for user in read.users:
                    path = note_of(user).path
                    if path not in own and not any(path.startswith(f"{name}.") for name in own if name):
                        return path or "the model"
        return ""

    def around(self, name: str) -> Iterator[tuple[str, nn.Module]]:
        """The module and those that hold it, inside out."""
        while True:
            if name in self.modules:
                yield name, self.modules[name]
            if not name:
                return
            name = name.rpartition(".")[0]

    def trouble(self, name: str) -> str:
        """Why a module must stay as it is whatever it computes; empty if nothing is known."""
        for holder, module in self.around(name):
            kinds = {cls.__name__ for cls in type(module).__mro__}
            if "OptimizedModule" in kinds or module._compiled_call_impl is not None:  # noqa: SLF001
                return "it is compiled; optimize the model before it goes to torch.compile"
            if isinstance(module, torch.jit.ScriptModule):
                return "it is scripted; optimize the model before it goes to torch.jit"
            if kinds & {"DistributedDataParallel", "FullyShardedDataParallel", "FSDPModule"}:
                return "it is wrapped for distributed training"
            if getattr(module, "qconfig", None) is not None:
                return "it is prepared for quantization, which measures it as it stands"
            if holder == name and type(module).__module__.startswith(("torch.ao.", "torchao.", "torch.quantization.")):
                return "it is quantized"
        return ""

    def watched(self, *names: str) -> str:
        """A module with hooks of the user's that would see other values, empty if there is none.

        These are the named modules and whatever holds one but not all of them.
        """
        paths = [[holder for holder, _ in self.around(name)] for name in names]
        common = set(paths[0]).intersection(*paths[1:]) if len(paths) > 1 else set(paths[0][1:])
        for path in paths:
            for holder in path:
                if holder not in common and hooked(self.modules[holder]):
                    return holder
        return ""


def _holders(name: str) -> Iterator[str]:
    """``a.b.c``, ``a.b``, ``a`` and the model itself."""
    while name:
        yield name
        name = name.rpartition(".")[0]
    yield ""
