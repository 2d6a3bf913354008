"""Code of unit tests: what a model returns there is looked at for its shape, not for what it predicts."""

from __future__ import annotations

import ast
import re
from pathlib import PurePath
from typing import TYPE_CHECKING

from normadvisor.script.judge.surroundings import FUNCTIONS
from normadvisor.script.project.nodes import walk

if TYPE_CHECKING:
    from normadvisor.script.events import Event
    from normadvisor.script.judge.surroundings import Surroundings
    from normadvisor.script.project.modules import SourceModule
    from normadvisor.types import Location

__all__ = ["in_test"]

_FILE = re.compile(r"^(test_\w+|\w+_tests?|conftest)\.py$")
_FRAMEWORKS = frozenset({"pytest", "unittest", "nose", "hypothesis", "absl", "parameterized", "numpy.testing", "torch.testing"})


def in_test(event: Event, around: Surroundings) -> bool:
    """Whether a unit test runs the model, and not for a metric of what was trained or loaded."""
    attributes = event.attributes
    if attributes.get("_predicted") and attributes["weights"] in {"trained", "loaded"}:
        return False
    on_data = attributes.get("input") == "data"
    return any(_is_test(place, around, on_data=on_data) for place in (event.location, *attributes["_place"].callers))


def _is_test(location: Location, around: Surroundings, *, on_data: bool) -> bool:
    """Whether a place stands in a function or a class of tests; what runs on a data set has to say so itself, not its file alone."""
    module = around.module(location)
    if module is None:
        return False
    statements = around.statements(location)
    function = next((item for item in statements if isinstance(item, FUNCTIONS)), None)
    named = function is not None and function.name.startswith("test_")
    in_class = any(isinstance(item, ast.ClassDef) and _is_test_class(item) for item in statements)
    in_file = not on_data and bool(_FILE.match(PurePath(location.path).name))
    if not (named or in_class or in_file):
        return False
    if around.known(module, "framework of tests", lambda: _imports_framework(module)):
        return True
    # Files such as test_model.py that import no framework may as well evaluate a model: there a test is one that asserts.
    if on_data or function is None:
        return False
    return (named or in_file) and around.known(function, "asserts", lambda: _asserts(function))


def _imports_framework(module: SourceModule) -> bool:
    return any(name.partition(".")[0] in _FRAMEWORKS or name.rpartition(".")[0] in _FRAMEWORKS for name in module.imports.values())


def _asserts(function: ast.stmt) -> bool:
    return any(isinstance(node, ast.Assert) for node in walk(function))


def _is_test_class(node: ast.ClassDef) -> bool:
    return node.name.startswith("Test") or any(ast.unparse(base).endswith("TestCase") for base in node.bases)
