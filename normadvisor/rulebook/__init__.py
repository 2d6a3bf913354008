"""Rules: their shape, their files, their expressions, and which of them a run uses. Nothing here imports torch.

Importing the package is cheap; pydantic is imported when the first rule is read.
"""

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
