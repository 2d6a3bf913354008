"""Layers of which one is chosen when the model runs: norms of several domains, tasks, widths or steps in one list."""

from __future__ import annotations

from torch import nn

from normadvisor.optimization.folding.flow import Flow

__all__ = ["in_its_place"]


def in_its_place(flow: Flow, one: str, other: str) -> str:
    """What may stand in the place of one of two layers that belong together, as far as the model shows; empty if nothing.

    A ``ModuleList`` or ``ModuleDict`` that holds the one and not the other, and layers with numbers that did not run: another argument,
    another attribute or another step may choose these. Entries that hold both belong together whichever is chosen.
    """
    for name, beside in ((one, other), (other, one)):
        for holder, module in flow.around(name):
            if not holder or f"{beside}.".startswith(f"{holder}."):
                break
            if holder == name or not isinstance(module, (nn.ModuleList, nn.ModuleDict)):
                continue
            own = flow.modules[f"{holder}.{name.removeprefix(f'{holder}.').partition('.')[0]}"]
            for key, child in module.named_children():
                if child is not own and any(True for _ in child.parameters()) and not flow.inside(f"{holder}.{key}"):
                    return f"{holder}.{key}, which did not run with these inputs, may take the place of {name}"
    return ""
