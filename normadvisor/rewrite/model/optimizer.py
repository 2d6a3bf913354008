"""Optimizers after layers were put in place: what left leaves them, what is new joins the group of its predecessor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from normadvisor.rewrite.model.journal import Journal
from normadvisor.rewrite.model.refusal import CannotChange

__all__ = ["Newcomer", "check_optimizers", "mend"]


@dataclass(frozen=True, slots=True)
class Newcomer:
    """A parameter that the model did not have before."""

    name: str
    parameter: nn.Parameter
    instead: nn.Parameter | None
    """The parameter whose place it takes, if there is one."""
    near: Sequence[nn.Parameter]
    """Parameters of the layer it replaces or follows: it joins the group that holds them, and none if the optimizer holds none of them."""


def check_optimizers(optimizer: object) -> tuple[torch.optim.Optimizer, ...]:
    """One optimizer, several or none as a tuple.

    Raises:
        CannotChange: one is no optimizer of torch, or of a kind that cannot lose a parameter.

    """
    given = () if optimizer is None else tuple(optimizer) if isinstance(optimizer, list | tuple) else (optimizer,)
    for one in given:
        if not isinstance(one, torch.optim.Optimizer):
            raise CannotChange(f"{type(one).__name__} is no torch.optim.Optimizer")
        if isinstance(one, torch.optim.LBFGS):
            raise CannotChange("LBFGS keeps one history over all parameters together; build a new one after the change")
        if type(one).__name__ == "ZeroRedundancyOptimizer":
            raise CannotChange("ZeroRedundancyOptimizer has spread its parameters over processes; build it after the change")
    return tuple(one for one in given if isinstance(one, torch.optim.Optimizer))


def mend(optimizer: torch.optim.Optimizer, gone: Sequence[nn.Parameter], new: Sequence[Newcomer], journal: Journal) -> None:
    """Take ``gone`` out of the groups and the state and let ``new`` ones in.

    Groups stay the same objects in the same number, even if one becomes empty: schedulers count on it. A newcomer begins without state, as
    any parameter does before its first step.
    """
    leaving = {id(parameter) for parameter in gone}
    groups: list[dict[str, Any]] = optimizer.param_groups
    for group in groups:
        entering = [one for one in new if _belongs(one, group, groups)]
        if not entering and not any(id(parameter) in leaving for parameter in group["params"]):
            continue
        members = _members(group, entering, leaving)
        journal.set_list(group["params"], [parameter for _, parameter in members])
        if group.get("param_names") is not None:
            journal.set_list(group["param_names"], [name for name, _ in members])
        for one in entering:
            _start(optimizer, group, one.parameter, journal)
    for parameter in gone:
        journal.pop(optimizer.state, parameter)


def _members(group: dict[str, Any], entering: Sequence[Newcomer], leaving: set[int]) -> list[tuple[str, nn.Parameter]]:
    """Names and parameters of a group afterwards; one that takes another's place stands where that one stood."""
    names = group.get("param_names") or [""] * len(group["params"])
    places = {id(one.instead): one for one in entering if one.instead is not None}
    members: list[tuple[str, nn.Parameter]] = []
    for name, parameter in zip(names, group["params"], strict=True):
        successor = places.pop(id(parameter), None) if id(parameter) in leaving else None
        if successor is not None:
            members.append((successor.name, successor.parameter))
        elif id(parameter) not in leaving:
            members.append((name, parameter))
    placed = {id(parameter) for _, parameter in members}
    return members + [(one.name, one.parameter) for one in entering if id(one.parameter) not in placed]


def _belongs(one: Newcomer, group: dict[str, Any], groups: Sequence[dict[str, Any]]) -> bool:
    """Whether a newcomer joins ``group``: the one of its predecessor, else the first that holds a parameter near it."""
    if any(_holds(other, one.parameter) for other in groups):
        return False
    for parameter in ([one.instead] if one.instead is not None else []) + list(one.near):
        home = next((other for other in groups if _holds(other, parameter)), None)
        if home is not None:
            return home is group
    return False


def _holds(group: dict[str, Any], parameter: nn.Parameter) -> bool:
    return any(parameter is member for member in group["params"])


def _start(optimizer: torch.optim.Optimizer, group: dict[str, Any], parameter: nn.Parameter, journal: Journal) -> None:
    """Give a newcomer the state that an optimizer does not make at its first step: Adagrad makes it when it is built."""
    journal.did(lambda: optimizer.state.pop(parameter, None))
    if isinstance(optimizer, torch.optim.Adagrad):
        options = {name: value for name, value in group.items() if name not in {"params", "param_names"}}
        fresh = type(optimizer)([{"params": [parameter], **options}], **optimizer.defaults)
        optimizer.state[parameter] = fresh.state[parameter]
    elif isinstance(optimizer, torch.optim.SGD) and group.get("fused") and any(_moving(optimizer, member) for member in group["params"]):
        # The fused kernel takes momentum of all parameters or of none; from zero it becomes what the first step would have made it.
        optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)


def _moving(optimizer: torch.optim.Optimizer, parameter: nn.Parameter) -> bool:
    return parameter in optimizer.state and optimizer.state[parameter].get("momentum_buffer") is not None
