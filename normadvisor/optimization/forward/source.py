"""From a graph and its guards to the text of a ``forward``."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx

from normadvisor.optimization.forward.guards import (
    ABSENT,
    AS_TRACED,
    ATTRIBUTE,
    ORIGINAL,
    PASSED_BY,
    TENSORS,
    Guards,
    is_plain,
    passed_by,
    written,
)

__all__ = ["Text", "text_of"]

_DEEP = re.compile(r"\w\.\w+[.\[]|\]|_attribute|_passed_by")
"""In conditions that read more than an argument or an attribute of the module."""


@dataclass(frozen=True, slots=True)
class Text:
    """A function ``forward`` as text, and what its names stand for."""

    source: str
    names: dict[str, Any]


def text_of(graph: fx.Graph, guards: Guards, forward: Callable[..., Any]) -> Text:
    """A function with the parameters of ``forward`` that does what ``graph`` says, or calls ``forward`` where a guard does not hold.

    Args:
        graph: any that fx can write.
        guards: over the parameters of ``forward``, and ``self``.
        forward: what the class of the module has.

    """
    graph.lint()
    code = graph.python_code("self")
    names = {**guards.names, **{name: value for name, value in code.globals.items() if name not in {"torch", "self"}}}
    signature = inspect.signature(forward)
    parameters = list(signature.parameters.values())
    head = ", ".join(_parameters(parameters, names))
    lines = [f"def forward({head}):"]
    if guards.conditions:
        passed = ", ".join(_passed(parameters, by_name=hasattr(forward, "__wrapped__")))
        told = f"raise RuntimeError({guards.gone!r})" if guards.gone else f"return {ORIGINAL}({passed})"
        lines += [*_checked(guards.conditions), f"        {told}"]
    used = {node.name for node in graph.nodes if node.op == "placeholder" and node.users}
    lines += [f"    {name} = {place}" for name, place in guards.places.items() if name in used and name != place]
    lines += _body(code.src)
    source = "\n".join(lines) + "\n"
    words = set(re.findall(r"\w+", source))
    return Text(source, {name: value for name, value in names.items() if name in words})


def _checked(conditions: Sequence[str]) -> list[str]:
    """Lines that ask whether all conditions hold; where one cannot be asked, since what it reads is gone, it does not."""
    whole = f"({' and '.join(conditions)})"
    if not any(_DEEP.search(condition) for condition in conditions):
        return [f"    if not {whole}:"]
    caught = [f"    except {ABSENT}:", f"        {AS_TRACED} = False"]
    return ["    try:", f"        {AS_TRACED} = {whole}", *caught, f"    if not {AS_TRACED}:"]


def _body(source: str) -> list[str]:
    """Lines of the function that fx writes, without its head."""
    _, _, body = source.partition("def forward(")
    match = re.search(r":[^\n]*\n", body[_end_of_head(body) :])
    start = _end_of_head(body) + (match.end() if match else 0)
    return [line for line in body[start:].splitlines() if line.strip()]


def _end_of_head(text: str) -> int:
    """Where the parentheses that were opened before ``text`` close."""
    depth = 1
    for index, letter in enumerate(text):
        depth += {"(": 1, ")": -1}.get(letter, 0)
        if depth == 0:
            return index + 1
    return 0


def _parameters(parameters: list[inspect.Parameter], names: dict[str, Any]) -> list[str]:
    found = ["self"]
    starred = False
    for index, parameter in enumerate(parameters[1:], start=1):
        if parameter.kind is parameter.KEYWORD_ONLY and not starred:
            found.append("*")
            starred = True
        mark = "*" if parameter.kind is parameter.VAR_POSITIONAL else "**" if parameter.kind is parameter.VAR_KEYWORD else ""
        starred = starred or mark == "*"
        default = ""
        if parameter.default is not parameter.empty:
            default = f"={_default(parameter.default, f'_default_{index}', names)}"
        found.append(f"{mark}{parameter.name}{default}")
        following = parameters[index + 1].kind if index + 1 < len(parameters) else None
        if parameter.kind is parameter.POSITIONAL_ONLY and following is not parameter.POSITIONAL_ONLY:
            found.append("/")
    return found


def _default(value: Any, name: str, names: dict[str, Any]) -> str:
    if is_plain(value):
        return written(value)
    names[name] = value
    return name


def _passed(parameters: list[inspect.Parameter], *, by_name: bool) -> list[str]:
    """Arguments for the original; by name where it is wrapped in a function that looks for some of them by name."""
    by_name = by_name and all(parameter.kind is not parameter.VAR_POSITIONAL for parameter in parameters)

    def passed(parameter: inspect.Parameter) -> str:
        if parameter.kind is parameter.VAR_POSITIONAL:
            return f"*{parameter.name}"
        if parameter.kind is parameter.VAR_KEYWORD:
            return f"**{parameter.name}"
        named = parameter.kind is parameter.KEYWORD_ONLY or (by_name and parameter.kind is parameter.POSITIONAL_OR_KEYWORD)
        return f"{parameter.name}={parameter.name}" if named else parameter.name

    return ["self", *(passed(parameter) for parameter in parameters[1:])]


def globals_of(names: dict[str, Any], original: Callable[..., Any]) -> dict[str, Any]:
    """The global names in which the text is run."""
    absent = (AttributeError, LookupError, TypeError)
    given = {ORIGINAL: original, TENSORS: (torch.Tensor, fx.Proxy), ATTRIBUTE: object.__getattribute__, ABSENT: absent}
    return {**names, **given, PASSED_BY: passed_by, "torch": torch}
