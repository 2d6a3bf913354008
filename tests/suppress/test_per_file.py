from __future__ import annotations

from pathlib import Path

import pytest

from normadvisor.suppress import apply_per_file_ignores
from normadvisor.types import Confidence, Finding, Severity, Suppression

ROOT = Path("/project")


def finding(path, rule="NA102", **others):
    return Finding(rule=rule, name="n", severity=Severity.INFO, confidence=Confidence.CONFIRMED, message="m", path=path, **others)


@pytest.mark.parametrize(
    ("glob", "rules", "expected"),
    [
        ("tests/*", ["NA102"], True),
        ("tests", ["NA102"], True),
        ("tests/", ["NA1"], True),
        ("*.py", ["NA"], True),
        ("test_?.py", ["NA102"], True),
        ("**/test_a.py", ["NA102"], True),
        ("**/tests/**", ["NA102"], True),
        ("/project/tests/test_a.py", ["NA102"], True),
        ("tests/*", ["NA103", "NA2"], False),
        ("tests/*", [""], False),
        ("tests/*", [], False),
        ("src/*", ["NA102"], False),
        ("test_a", ["NA102"], False),
    ],
)
@pytest.mark.parametrize("path", ["/project/tests/test_a.py", "tests/test_a.py"])
def test_globs(glob, rules, expected, path):
    (marked,) = apply_per_file_ignores([finding(path)], {glob: rules}, root=ROOT)
    assert marked.suppressed is (Suppression.CONFIG if expected else None)


def test_a_leading_double_star_also_means_the_root():
    (marked,) = apply_per_file_ignores([finding("/project/conftest.py")], {"**/conftest.py": ["NA102"]}, root=ROOT)
    assert marked.suppressed is Suppression.CONFIG


def test_what_is_left_alone():
    found = (finding(None), finding("a.py", suppressed=Suppression.NOQA))
    assert apply_per_file_ignores(found, {"*": ["NA"]}, root=ROOT) == found
