"""Why an edit was not made, and what to do by hand."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import TYPE_CHECKING

from normadvisor.script.anchors import FUNCTIONS, around, expression_at
from normadvisor.script.library.syntax import argument

if TYPE_CHECKING:
    from normadvisor.script.events import Event
    from normadvisor.script.project.modules import SourceModule
    from normadvisor.types import Location

__all__ = ["why_not"]

_MOST_LINES = 3


def why_not(action: str, event: Event, module: SourceModule) -> str:
    """What keeps an action of a fix from being done, and what to do instead, in one sentence; empty where no more can be said.

    Args:
        action: a name of :data:`normadvisor.types.events.EDITS` of which there are no edits.
        event: what the finding is about.
        module: the file that holds the event.

    """
    found = event.places.get("activation")
    if action != "remove_activation" or found is None or module.is_notebook:
        return ""
    place, name = found[0], event.attributes.get("activation") or "activation"
    what = f"give the loss what goes into the {name}"
    where = f"line {place.line}" if place.path == module.path else f"{Path(place.path).name}:{place.line}"
    if event.attributes.get("through_model"):
        return (
            f"the source does not show that the {name} of {where} serves this loss alone; {what}, and apply it where probabilities are read"
        )
    variable, lines = _other_uses(event, module, place)
    if lines:
        several = "lines" if len(lines) > 1 else "line"
        told = f"{', '.join(map(str, lines[:_MOST_LINES]))}{' and further down' if len(lines) > _MOST_LINES else ''}"
        return f"`{variable}`, the output of the {name} of {where}, is used in {several} {told} as well; {what} under a name of its own"
    return f"the source does not show how to take the {name} of {where} out for this loss alone; {what}"


def _other_uses(event: Event, module: SourceModule, place: Location) -> tuple[str, list[int]]:
    """The variable that the loss takes, and the lines of the function that read it besides, once the activation gave it its value."""
    call = expression_at(module, event.location)
    given = argument(call, 0, "input") if isinstance(call, ast.Call) else None
    here = around(module, event.location)
    if not isinstance(given, ast.Name) or not here or place.path != module.path:
        return "", []
    scope: ast.AST = here[0] if isinstance(here[0], FUNCTIONS) else module.tree
    read = (node for node in ast.walk(scope) if isinstance(node, ast.Name) and node.id == given.id and isinstance(node.ctx, ast.Load))
    return given.id, sorted({node.lineno for node in read if node is not given and node.lineno > place.line})
