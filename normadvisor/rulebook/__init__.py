"""Rules: their shape, their files, their expressions, and which of them a run uses. Nothing here imports torch.

The names below are imported when they are asked for, so that a command without rules does not pay for YAML; pydantic is imported when the
first rule is read.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from normadvisor.rulebook.catalogue import RuleBook, builtin_dir, load_rules, select_rules
    from normadvisor.rulebook.expression import Expression
    from normadvisor.rulebook.load import RuleErrors, load_file, load_text
    from normadvisor.rulebook.model import Rule
    from normadvisor.rulebook.template import Template

__all__ = [
    "Expression",
    "Rule",
    "RuleBook",
    "RuleErrors",
    "Template",
    "builtin_dir",
    "load_file",
    "load_rules",
    "load_text",
    "select_rules",
]

_HOMES = {
    "Expression": "expression",
    "Rule": "model",
    "RuleBook": "catalogue",
    "RuleErrors": "load",
    "Template": "template",
    "builtin_dir": "catalogue",
    "load_file": "load",
    "load_rules": "catalogue",
    "load_text": "load",
    "select_rules": "catalogue",
}


def __getattr__(name: str) -> Any:
    """Import a public name on first use."""
    if name not in _HOMES:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
