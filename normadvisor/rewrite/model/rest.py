"""What a norm of a derived class does beside normalizing: the layers inside of it that run on what it gives."""

from __future__ import annotations

from collections import OrderedDict

from torch import nn

from normadvisor.graph.model import NodeInfo
from normadvisor.rewrite.model.change import Change
from normadvisor.rewrite.model.refusal import CannotChange

__all__ = ["with_rest"]


def with_rest(name: str, old: nn.Module, new: nn.Module, change: Change) -> nn.Module:
    """``new`` in front of the layers that ``old`` runs on what it has normalized; ``new`` itself if ``old`` is one operation.

    The graph must show every run of ``old`` as its own operation followed by layers that it holds, one after the other and nothing else, as
    in timm's ``BatchNormAct2d``. The result is a ``Sequential`` of ``norm`` and those layers under their names.

    Raises:
        CannotChange: ``old`` does something else.

    """
    if not change.is_more(name, old):
        return new
    chains = _chains(name, change)
    chain = chains[0] if chains else None
    if chain is None or any(other != chain for other in chains) or "norm" in chain or not _once(old, chain):
        raise CannotChange(f"{name} ({type(old).__name__}) does more than one operation, and the rest of it would be lost")
    if not chain:
        return new
    layers = OrderedDict([("norm", new), *((key, old.get_submodule(key)) for key in chain)])
    return nn.Sequential(layers).train(old.training)


def _once(layer: nn.Module, chain: tuple[str, ...]) -> bool:
    """Whether the names are those of different layers that stand directly in ``layer``."""
    return len(set(chain)) == len(chain) and all(key in layer._modules for key in chain)  # noqa: SLF001


def _chains(name: str, change: Change) -> list[tuple[str, ...]]:
    """For each run of the norm the names of the layers behind it; empty if anything else happens inside."""
    if change.graph is None:
        return []
    nodes, calls, prefix = change.graph.nodes, change.calls(name), f"{name}." if name else ""
    inside = {
        node.index
        for node in nodes
        if (node.module == name and node.op not in {"param", "constant"}) or (prefix and node.module.startswith(prefix))
    }
    seen = {call.index for call in calls}
    chains = []
    for call in calls:
        found: list[str] = []
        node: NodeInfo = call
        while len(ahead := set(node.users)) == 1 and (following := nodes[ahead.pop()]).index in inside - seen:
            if not following.cls or len(following.inputs) != 1:
                return []
            found.append(following.module.removeprefix(prefix))
            seen.add(following.index)
            node = following
        chains.append(tuple(found))
    return chains if seen == inside else []
