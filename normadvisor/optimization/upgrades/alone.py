"""The operations of one place alone, as they are written out and as one call, to be run and measured."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import fx, nn

from normadvisor.graph.written import Written
from normadvisor.optimization.candidate import Kernel
from normadvisor.optimization.forward import LocalGraph
from normadvisor.optimization.upgrades.putting import put
from normadvisor.rewrite.proof.double import all_double

__all__ = ["kernel_of", "shapes_of"]


def shapes_of(written: Written) -> str:
    """What decides how long it takes: operands with shapes, dtypes and strides, and the arguments."""
    operands = [f"{name} {_told(node)}" for name, node in written.inputs.items()]
    arguments = [f"{name}={value}" for name, value in sorted(written.arguments.items())]
    spelled = "+".join(str(getattr(node.target, "__name__", node.target)) for node in written.nodes if node.meta.get("shape") is not None)
    return "; ".join([written.function, *operands, *arguments, spelled])


def _told(node: fx.Node) -> str:
    shape, stride = ("x".join(str(size) for size in node.meta[key] or ()) for key in ("shape", "stride"))
    return f"{shape} {str(node.meta['dtype']).removeprefix('torch.')} strides {stride}"


def kernel_of(local: LocalGraph, places: Sequence[Written], device: torch.device) -> Kernel:
    """All places of one candidate, one after another, on random operands that lie in memory as they do in the model."""
    befores: list[Callable[..., Any]] = []
    afters: list[Callable[..., Any]] = []
    arguments: list[torch.Tensor] = []
    counts: list[int] = []
    for number, written in enumerate(places):
        read = _read(written)
        befores.append(_before(local, written, read))
        afters.append(_after(written, read))
        arguments += [_value(local, node, device, 100 * number + index) for index, node in enumerate(read)]
        counts.append(len(read))

    def run(functions: Sequence[Callable[..., Any]]) -> Callable[..., Any]:
        def together(*given: torch.Tensor) -> Any:
            results, start = [], 0
            for function, count in zip(functions, counts, strict=True):
                results.append(function(*given[start : start + count]))
                start += count
            return results[0] if len(results) == 1 else tuple(results)

        return together

    def exact(*given: torch.Tensor) -> Any:
        with all_double():
            return run(befores)(*given)

    return Kernel(before=run(befores), after=run(afters), arguments=tuple(arguments), exact=exact)


def _read(written: Written) -> list[fx.Node]:
    """The tensors that a place reads from outside, those of the function first."""
    inside = set(written.nodes)
    outside = [source for node in written.nodes for source in node.all_input_nodes if source not in inside]
    found = dict.fromkeys(written.inputs.values())
    while outside:
        node = outside.pop(0)
        if isinstance(node.meta.get("value"), torch.Tensor):
            found.setdefault(node)
        else:
            outside += node.all_input_nodes
    return list(found)


def _before(local: LocalGraph, written: Written, read: Sequence[fx.Node]) -> nn.Module:
    graph = fx.Graph()
    made: dict[fx.Node, fx.Node] = {node: graph.placeholder(f"input_{index}") for index, node in enumerate(read)}

    def copied(node: fx.Node) -> fx.Node:
        if node not in made:
            for source in node.all_input_nodes:
                copied(source)
            made[node] = graph.node_copy(node, made.__getitem__)
        return made[node]

    for node in written.nodes:
        copied(node)
    graph.output(made[written.root])
    targets = {str(node.target) for node in graph.nodes if node.op == "call_module"}
    return fx.GraphModule({target: copy.deepcopy(local.module.get_submodule(target)) for target in targets}, graph)


def _after(written: Written, read: Sequence[fx.Node]) -> nn.Module:
    graph = fx.Graph()
    placed = {node: graph.placeholder(f"input_{index}") for index, node in enumerate(read)}
    graph.output(put(graph, written, {name: placed[node] for name, node in written.inputs.items()}))
    return fx.GraphModule({}, graph)


def _value(local: LocalGraph, node: fx.Node, device: torch.device, seed: int) -> torch.Tensor:
    """What a parameter or buffer is; of other values a random one."""
    if node.op != "get_attr":
        return _drawn(node, device, seed)
    found: Any = local.module
    for part in str(node.target).split("."):
        found = getattr(found, part)
    return found.detach().to(device, copy=True)  # type: ignore[no-any-return] # of modules, whose attributes are anything


def _drawn(node: fx.Node, device: torch.device, seed: int) -> torch.Tensor:
    """A random tensor of the shape, dtype and strides of a value; parts of it that are one place in memory stay so."""
    value: torch.Tensor = node.meta["value"]
    generator = torch.Generator().manual_seed(seed)
    sizes = [1 if stride == 0 else size for size, stride in zip(value.shape, value.stride(), strict=True)]
    if value.is_floating_point():
        drawn = torch.randn(sizes, generator=generator)
    elif value.dtype is torch.bool:
        drawn = torch.rand(sizes, generator=generator) < 0.2
    else:
        drawn = torch.zeros(sizes)
    made = torch.empty_strided(sizes, _dense(value), dtype=value.dtype, device=device).copy_(drawn)
    return made.expand(value.shape)


def _dense(value: torch.Tensor) -> list[int]:
    """Strides of a tensor with the same order of axes and no gaps."""
    order = sorted(range(value.dim()), key=lambda axis: (value.stride(axis), -axis))
    strides, step = [0] * value.dim(), 1
    for axis in order:
        strides[axis] = step
        step *= 1 if value.stride(axis) == 0 else value.shape[axis]
    return strides
