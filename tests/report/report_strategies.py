"""Reports full of what nobody would write and some file will hold."""

from __future__ import annotations

from hypothesis import strategies as st

from normadvisor.types import (
    Applicability,
    Confidence,
    Edit,
    Finding,
    Fix,
    Location,
    ModelSummary,
    Problem,
    Related,
    Report,
    Severity,
    Suppression,
    TraceKind,
)

# Lone surrogates included: they stand for undecodable bytes in file names.
NASTY = [
    "",
    "|",
    "::error::",
    "%0A",
    "a,b:c",
    "<b>&amp;]]>",
    "`` ` ``",
    "\x1b[31m",
    "\r\n",
    "\udcff",
    "\u202e",
    "@octocat #1",
    "</details>",
]
text = st.one_of(
    st.sampled_from(NASTY), st.text(st.characters(), max_size=30), st.text(st.sampled_from("`|\\*_[]<>&@#:,%\r\n -1.~"), max_size=12)
)
number = st.integers(1, 50)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=6,
)
cell = st.none() | number
edits = st.builds(Edit, text, number, number, number, number, text, cell)
fixes = st.builds(
    Fix, st.sampled_from(Applicability), text, st.lists(edits, max_size=2).map(tuple), title=text, trade_off=text, refused=text
)
related = st.builds(Related, text, number, text, cell)
locations = st.builds(Location, text, number, number, st.none() | number, st.none() | number, cell)


def findings() -> st.SearchStrategy[Finding]:
    return st.builds(
        Finding,
        rule=st.one_of(st.sampled_from(["NA101", "NA102"]), text),
        name=text,
        severity=st.sampled_from(Severity),
        confidence=st.sampled_from(Confidence),
        message=text,
        path=st.none() | text,
        line=st.none() | number,
        column=st.none() | number,
        end_line=st.none() | number,
        end_column=st.none() | number,
        model=st.none() | text,
        modules=st.lists(text, max_size=4).map(tuple),
        related=st.lists(related, max_size=2).map(tuple),
        evidence=st.dictionaries(text, json_values, max_size=3),
        fix=st.none() | fixes,
        alternatives=st.lists(fixes, max_size=2).map(tuple),
        suppressed=st.none() | st.sampled_from(Suppression),
        fingerprint=text,
        cell=cell,
    )


def reports() -> st.SearchStrategy[Report]:
    models = st.builds(ModelSummary, target=text, trace=st.sampled_from(TraceKind), inputs=st.none() | text, error=st.none() | text)
    problems = st.builds(
        Problem, target=text, message=text, location=st.none() | locations, hint=st.none() | text, details=st.none() | text
    )
    return st.builds(
        Report,
        findings=st.lists(findings(), max_size=4).map(tuple),
        models=st.lists(models, max_size=2).map(tuple),
        problems=st.lists(problems, max_size=2).map(tuple),
        unused_noqa=st.lists(locations, max_size=2).map(tuple),
    )
