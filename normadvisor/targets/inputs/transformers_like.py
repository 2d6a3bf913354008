"""Guesses from a configuration's attributes, the signature of ``forward`` and ``main_input_name``.

Every argument has an order of alternatives, made from what the configuration says about images, sound, text or series. The
first guess takes the main input and what ``forward`` requires; arguments whose absence makes a trial fail are added after it.
"""

from __future__ import annotations

import inspect
import itertools
from typing import TYPE_CHECKING, Any

from normadvisor.targets.inputs.arguments import Arguments
from normadvisor.targets.inputs.flow import inner_parameters
from normadvisor.targets.inputs.plan import CONFIGURED, Plan

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import nn

    from normadvisor.targets.inputs.spec import Value

__all__ = ["plans"]

_KINDS = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
MAX_PLANS = 24
"""Combinations of alternatives offered."""
_IMAGE_TEXT = ("pixel_values", "input_features", "input_values")


def plans(model: nn.Module) -> Iterator[Plan]:
    """Guesses, the likeliest first; each may be completed by arguments it misses."""
    parameters = {name: p for name, p in inner_parameters(model).items() if p.kind in _KINDS}
    arguments = Arguments(model, frozenset(parameters))

    def supply(name: str) -> Value:
        if name not in parameters:
            return None
        # Training keeps no cache of keys and values, and several models fail to make one.
        return False if name == "use_cache" else arguments.first(name)

    for names in _selections(model, parameters):
        options = [arguments.alternatives(name) for name in names]
        if not names or not all(options):
            continue
        for values in itertools.islice(itertools.product(*options), MAX_PLANS):
            yield _plan(names, values, supply)


def _plan(names: list[str], values: tuple[Value, ...], supply: Any) -> Plan:
    keyword: dict[str, Value] = {}
    for name, value in zip(names, values, strict=True):
        if isinstance(value, dict):  # alternatives that set several arguments at once
            keyword.update(value)
        else:
            keyword[name] = value
    return Plan((), keyword, CONFIGURED, supply)


def _selections(model: Any, parameters: dict[str, inspect.Parameter]) -> Iterator[list[str]]:
    """Sets of arguments worth trying, the fullest sensible one first."""
    main = getattr(model, "main_input_name", None)
    mains = [name for name in ([main] if isinstance(main, str) else list(main or [])) if name in parameters]
    required = [name for name, p in parameters.items() if p.default is inspect.Parameter.empty]
    decoding = [name for name in ("decoder_input_ids",) if name in parameters and getattr(model.config, "is_encoder_decoder", False)]
    other = [name for name in _IMAGE_TEXT if name in parameters]
    selections = [
        [*mains, *required, *decoding],
        ["input_ids", *other[:1], *required, *decoding] if "input_ids" in parameters and other else [],
        [*other[:1], *required, *decoding],
        ["input_ids", *required, *decoding] if "input_ids" in parameters else [],
        required,
    ]
    seen: list[list[str]] = []
    for selection in selections:
        names = [name for name in parameters if name in selection]
        if names and names not in seen:
            seen.append(names)
            yield names

