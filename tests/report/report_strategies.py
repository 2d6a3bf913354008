"""Reports full of what nobody would write and some file will hold."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import strategies as st

from normadvisor.types import (
    CURVES,
    LAYER_FACTS,
    LAYER_SERIES,
    RUN_FACTS,
    RUN_SERIES,
    Applicability,
    Confidence,
    Edit,
    Finding,
    Fix,
    LayerMeasurements,
    Location,
    Measurements,
    ModelSummary,
    Problem,
    Related,
    Report,
    Severity,
    Suppression,
    TraceKind,
    Withdrawn,
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


numbers = st.none() | st.floats() | st.sampled_from([0.0, 1e-12, 1e-3, 0.5, 1.0, 1e6])


def series(keys):
    return st.dictionaries(st.sampled_from(sorted(keys)) | text, st.lists(numbers, max_size=30).map(tuple), max_size=6)


def facts(keys):
    return st.dictionaries(st.sampled_from(sorted(keys)) | text, json_values | numbers, max_size=6)


layer_names = st.one_of(text, st.from_regex(r"(layer[0-3]\.){0,3}[0-9](\.conv)?", fullmatch=True), st.sampled_from(["a." * 60, "x" * 500]))


def layer_measurements() -> st.SearchStrategy[LayerMeasurements]:
    return st.builds(
        LayerMeasurements,
        name=layer_names,
        cls=text,
        op=st.none() | st.sampled_from(["conv", "relu", "batch_norm"]),
        order=number,
        parameters=st.integers(0, 10**12),
        location=st.none() | locations,
        series=series(LAYER_SERIES),
        facts=facts(LAYER_FACTS),
    )


def measurements() -> st.SearchStrategy[Measurements]:
    return st.builds(
        Measurements,
        target=text,
        layers=st.lists(layer_measurements(), max_size=6).map(tuple),
        series=series(RUN_SERIES),
        curves=series(CURVES),
        facts=facts(RUN_FACTS),
        setup=st.dictionaries(st.sampled_from(["device", "steps", "lr", "batch_size", "loss"]) | text, json_values, max_size=5),
        missing=st.dictionaries(st.sampled_from(["loss", "overfit"]) | text, text, max_size=3),
        notes=st.lists(text, max_size=3).map(tuple),
    )


@st.composite
def probed_reports(draw) -> Report:
    """Reports with measurements, and findings that speak of their layers."""
    measured = draw(st.lists(measurements(), max_size=2))
    names = [layer.name for item in measured for layer in item.layers] or [""]
    targets = [item.target for item in measured] or [""]
    found = [
        replace(finding, model=draw(st.sampled_from(targets) | st.none()), modules=tuple(draw(st.lists(st.sampled_from(names), max_size=3))))
        for finding in draw(st.lists(findings(), max_size=3))
    ]
    withdrawn = tuple(Withdrawn(finding=finding, reason=draw(text)) for finding in found[:1])
    return replace(draw(reports()), findings=tuple(found), measurements=tuple(measured), withdrawn=withdrawn)
