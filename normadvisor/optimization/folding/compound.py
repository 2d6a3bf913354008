"""Norms written out in a module that also runs layers on the result: seen as one operation and the layers behind it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from normadvisor.graph.canonical import module_op
from normadvisor.graph.model import NodeInfo
from normadvisor.optimization.folding.flow import Flow

__all__ = ["compounds"]

_ARITHMETIC = frozenset({"mul", "add", "sub", "div"})
_MOST = 8
"""Operations on the input that a norm with stored statistics takes, with room to spare."""


def compounds(flow: Flow) -> Iterator[NodeInfo]:
    """One node of operation ``affine`` for each run of such a module, in place of the arithmetic in it.

    The module must hold numbers of its own, and begin by a chain of products and sums on what it is given, one after another, whose values
    nothing else uses. What the chain computes is for others to find out.
    """
    chains: dict[str, list[list[NodeInfo]]] = {}
    for node in flow.graph.nodes:
        if node.op not in _ARITHMETIC or node.cls or not _holds_numbers(flow, node.module):
            continue
        operands = flow.operands(node)
        if len(operands) != 1:
            continue
        found = chains.setdefault(node.module, [])
        if found and operands[0] is found[-1][-1] and len(flow.users(operands[0])) == 1:
            found[-1].append(node)
        else:
            found.append([node])
    for name, found in chains.items():
        if any(len(chain) > _MOST for chain in found):
            continue
        inside = {node.index for node in flow.inside(name) if node.module == name}
        if inside != {node.index for chain in found for node in chain}:
            continue  # Something else happens in its forward.
        for chain in found:
            first, last = chain[0], chain[-1]
            if first.in_shape == last.shape:
                yield replace(last, op="affine", inputs=first.inputs, in_shape=first.in_shape, attrs={}, target="")


def _holds_numbers(flow: Flow, name: str) -> bool:
    module = flow.modules.get(name)
    if module is None or not name or module_op(type(module)) is not None or not module._modules:  # noqa: SLF001 -- a childless one is a leaf
        return False
    return any(value.is_floating_point() for value in (*module.parameters(recurse=False), *module.buffers(recurse=False)))
