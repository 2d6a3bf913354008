"""Parameters that a model uses and does not know: modules and tensors in plain lists, tuples and dictionaries, which nothing trains.

``nn.Module`` registers modules and parameters that are attributes; what stands in a builtin container is neither among
``model.parameters()`` nor in ``state_dict()``, and ``model.to()`` leaves it where it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import nn

from normadvisor.probe.recording.layers import walk
from normadvisor.probe.running.lines import attribute_line
from normadvisor.probe.running.session import Session

__all__ = ["hidden_parameters", "measure_unregistered"]

_DEPTH = 3
_LARGE = 10_000
"""Entries of a container from which on it is taken for data."""
_OWN = frozenset({"_parameters", "_buffers", "_modules"})
Hidden = tuple[nn.Module, str, str, list[torch.Tensor]]
"""The module that holds it, the attribute, the name as it would be written, and what could be trained."""


def hidden_parameters(model: nn.Module) -> Iterator[Hidden]:
    """What a model holds in attributes without knowing it as a parameter, and that asks for a gradient.

    A container with a single entry is how a module is hidden on purpose, such as the teacher of a distillation, and a module in eval mode
    was put into it by hand; both are passed over.
    """
    known = {id(parameter) for parameter in (*model.parameters(), *model.buffers())}
    modules = {id(module) for module in model.modules()}
    for name, module in walk(model):
        for attribute, value in vars(module).items():
            if attribute in _OWN or attribute.endswith("_hooks"):
                continue
            for path, each in _entries(value, f"{name}.{attribute}".lstrip("."), top=True):
                if isinstance(each, nn.Module):
                    usable = id(each) not in modules and each.training
                    inside: list[torch.Tensor] = [*each.parameters()] if usable else []
                else:
                    inside = [each]
                found = [tensor for tensor in inside if tensor.requires_grad and tensor.is_leaf and id(tensor) not in known]
                if found:
                    yield module, attribute, path, found


def _entries(value: Any, path: str, *, top: bool, depth: int = _DEPTH) -> Iterator[tuple[str, nn.Module | torch.Tensor]]:
    if isinstance(value, torch.Tensor):
        yield path, value
    elif isinstance(value, nn.Module):
        if not top:  # one that is an attribute without being registered was put there by going around registration
            yield path, value
    elif depth and isinstance(value, list | tuple | dict) and 1 < len(value) < _LARGE:
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, item in items:
            yield from _entries(item, f"{path}[{key!r}]", top=False, depth=depth - 1)


def measure_unregistered(session: Session, trained: Iterable[torch.Tensor] = ()) -> None:
    """Find hidden parameters that the loss depends on; writes ``unregistered`` and ``unregistered_line`` where there are any.

    Costs nothing where no container holds a parameter, else a forward and a backward pass.

    Args:
        session: as it was found, seeded.
        trained: tensors that the user's optimizer is given all the same.

    """
    given = {id(tensor) for tensor in trained}
    hidden = [
        (owner, attribute, name, own)
        for owner, attribute, name, tensors in hidden_parameters(session.model)
        if (own := [tensor for tensor in tensors if id(tensor) not in given])
    ]
    if not hidden:
        return
    if session.ranks.world_size > 1:
        session.found.missing["unregistered"] = "gradients are not asked for by themselves where several processes train together"
        return
    tensors = list({id(tensor): tensor for *_, own in hidden for tensor in own}.values())
    try:
        with torch.enable_grad():
            loss = session.output_and_loss(session.source.batch(0))[1]
            gradients = torch.autograd.grad(loss, tensors, allow_unused=True) if loss.requires_grad else (None,) * len(tensors)
    except Exception as error:  # noqa: BLE001 - what was measured before must not be lost
        session.found.missing["unregistered"] = f"a forward and backward pass failed: {error}"
        return
    used = {id(tensor) for tensor, gradient in zip(tensors, gradients, strict=True) if gradient is not None}
    sure = [entry for entry in hidden if any(id(tensor) in used for tensor in entry[3])]
    if sure:
        session.found.facts["unregistered"] = list(dict.fromkeys(name for _, _, name, _ in sure))
        session.found.fact("unregistered_line", attribute_line(sure[0][0], sure[0][1]), "the line that sets the attribute was not found")
