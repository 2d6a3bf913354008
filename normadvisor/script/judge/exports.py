"""Exports in train mode that are meant, or of which nothing is kept."""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING

from normadvisor.script.judge.choices import chosen
from normadvisor.script.judge.testing import in_test
from normadvisor.script.project.nodes import walk

if TYPE_CHECKING:
    from normadvisor.script.events import Event
    from normadvisor.script.judge.surroundings import Surroundings

__all__ = ["judge_export"]

_SHOWS = re.compile(
    r"(^|[._])(add_graph|summary|profile|make_dot|draw_graph|visualize\w*|FlopCountAnalysis|flop_count\w*|get_model_complexity_info)$"
)


def judge_export(event: Event, around: Surroundings) -> None:
    """Fill in ``deliberate`` of an export. Of a part that may be a wrapper around anything the mode is not known."""
    attributes = event.attributes
    attributes["deliberate"] = _deliberate(event, around)
    is_part = attributes.get("_model") != attributes.get("_root")
    if is_part and "yes" not in {attributes["batchnorm"], attributes["dropout"]}:
        attributes.update(mode="unknown", batchnorm_mode="unknown", dropout_mode="unknown")


def _deliberate(event: Event, around: Surroundings) -> str | None:
    if _is_shown(event, around):
        return "display"
    if chosen(event, around):
        return "option"
    return "smoke_test" if in_test(event, around) else None


def _is_shown(event: Event, around: Surroundings) -> bool:
    """Whether what the exporter returns is drawn or counted, and not kept: ``writer.add_graph(torch.jit.trace(model, x))``."""
    statements, module = around.statements(event.location), around.module(event.location)
    if not statements or module is None:
        return False
    last = statements[-1]
    shown = around.known(last, "shown", lambda: {_squeezed(ast.unparse(given)) for given in _shown(last)})
    if _squeezed(event.text) in shown:
        return True
    if not (isinstance(last, ast.Assign) and len(last.targets) == 1 and isinstance(last.targets[0], ast.Name)):
        return False
    name = last.targets[0].id
    scope = around.function(event.location) or module.tree
    return name in around.known(scope, "only shown", lambda: _only_shown(scope))


def _only_shown(scope: ast.AST) -> set[str]:
    """Names that are used for nothing but to be drawn or counted."""
    shown = {id(node) for given in _shown(scope) for node in walk(given)}
    uses: dict[str, bool] = {}
    for node in walk(scope):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            uses[node.id] = uses.get(node.id, True) and id(node) in shown
    return {name for name, only in uses.items() if only}


def _shown(scope: ast.AST) -> list[ast.expr]:
    """Everything that is given to something that draws or counts."""
    calls = [node for node in walk(scope) if isinstance(node, ast.Call) and _SHOWS.search(ast.unparse(node.func))]
    return [given for call in calls for given in (*call.args, *(item.value for item in call.keywords))]


def _squeezed(text: str) -> str:
    """An expression without regard to spaces and quotes."""
    return re.sub(r"[\s'\"]|,(?=\s*\))", "", text)
