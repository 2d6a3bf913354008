"""Who else computes the operations: ``torch.compile``, and packages where they are installed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import torch

from benchmarks.fused.gpu.operations import GROUPS, OPERATIONS, Inputs
from benchmarks.fused.gpu.shapes import Case
from normadvisor.fused.common.implementations import Implementation

__all__ = ["COMPILED", "PACKAGES", "installed", "peers"]

COMPILED = "torch.compile"
PACKAGES = ("liger_kernel", "apex", "quack")
"""Packages that have some of the operations."""
_EPS = 1e-5

Way = Callable[[Inputs], Any]


def installed() -> dict[str, bool]:
    """Which packages are there."""
    return {name: find_spec(name) is not None for name in PACKAGES}


def peers(case: Case, *, backend: str = "inductor") -> Iterator[tuple[str, Way]]:
    """Names and ways of one case, all that are there.

    Args:
        case: what is computed.
        backend: of ``torch.compile``; empty leaves it out.

    """
    operation = OPERATIONS[case.operation]
    if backend:
        torch.compiler.reset()  # What was compiled for other shapes would be looked through at each call.
        yield COMPILED, torch.compile(operation.eager, backend=backend, dynamic=False)
    if case.operation == "group_norm + silu" and case.channels_last and installed()["apex"]:
        yield "apex", _apex_group_norm
    for one in _registered(operation.registry):
        yield one.name, _way(one, operation.kind, operation.act)


def _registered(key: str) -> Iterator[Implementation]:
    for home in ("add_norm", "gated"):
        known = import_module(f"normadvisor.fused.{home}.registry").IMPLEMENTATIONS.get(key, ())
        yield from (one for one in known if one.name not in {"fused", "torch"} and not one.missing)


def _way(one: Implementation, kind: str, act: str) -> Way:
    if kind == "free":
        return lambda inputs: one.run(*inputs.data, act)

    def run(inputs: Inputs) -> Any:
        weight, bias = (*inputs.parameters, None)[:2]
        return one.run(*inputs.data, inputs.data[0].shape[-1:], weight, bias, _EPS, True)

    return run


def _apex_group_norm(inputs: Inputs) -> torch.Tensor:
    x, (weight, bias) = inputs.data[0], inputs.parameters
    made = import_module("apex.contrib.group_norm").GroupNorm(GROUPS, x.shape[1], _EPS, act="silu", device=x.device, dtype=weight.dtype)
    found: torch.Tensor = torch.func.functional_call(made, {"weight": weight, "bias": bias}, (x,))
    return found
