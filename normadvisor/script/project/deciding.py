"""Whether a layer is active with the arguments it is given."""

from __future__ import annotations

from typing import TYPE_CHECKING

from normadvisor.script.project.abstract import UNKNOWN, Abstract, Call, options
from normadvisor.script.values import Const

if TYPE_CHECKING:
    from normadvisor.script.project.contents import Held
    from normadvisor.script.project.layers import Spec

__all__ = ["decided_layer", "decided_rate"]


def decided_layer(spec: Spec, call: Call) -> Held:
    """Whether a layer depends on the mode with these arguments."""
    if spec.kind == "norm":
        return "no"
    if not spec.argument:
        return "yes"
    if spec.needs_layers is not None:
        layers = call.get(spec.needs_layers, "num_layers")
        if layers is None or (isinstance(layers, Const) and layers.value == 1):
            return "no"
    value = call.get(spec.position, spec.argument, *spec.aliases)
    if value is None or (value is UNKNOWN and call.open and not _given(call, spec)):
        value = Const(spec.default)
    return decided_rate(value)


def _given(call: Call, spec: Spec) -> bool:
    named = any(name in {spec.argument, *spec.aliases} for name, _ in call.named)
    return named or (spec.position is not None and spec.position < len(call.positional))


def decided_rate(value: Abstract) -> Held:
    """Whether a probability, or a flag, is on."""
    found = {_active(option) for option in options(value)}
    return found.pop() if len(found) == 1 else "unknown"


def _active(value: Abstract) -> Held:
    if isinstance(value, Const) and (value.value is None or isinstance(value.value, int | float)):
        return "yes" if value.value else "no"
    return "unknown"
