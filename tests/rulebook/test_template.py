"""Templates: placeholders, formats, and what they refuse."""

from __future__ import annotations

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from normadvisor.errors import ExpressionError
from normadvisor.rulebook import Template
from normadvisor.types import Location

SCOPE = {"bn": {"module": "features.1", "eps": 1e-5, "axes": [0, 2, 3], "momentum": None}, "n": 1234567, "share": 0.12345678, "yes": True}


@pytest.mark.parametrize(
    ("text", "rendered"),
    [
        ("plain", "plain"),
        ("", ""),
        ("{bn.module} norms", "features.1 norms"),
        ("{{literal}} }}{{", "{literal} }{"),
        ("{n:,d} and {share:.1%} and {share:.3g} and {share:.2f}", "1,234,567 and 12.3% and 0.123 and 0.12"),
        ("{share} {n} {yes}", "0.1235 1234567 True"),
        ("{bn.axes}", "0, 2, 3"),
        ("{[share, None]:.1f}", "0.1, unknown"),
        ("{bn.momentum} {bn.momentum:.2f}", "unknown unknown"),
        ("{bn.axes[1:]}", "2, 3"),
        ("{'a:b}' if yes else 1}", "a:b}"),
        ("{bn.axes[1:][0]:.1f}", "2.0"),
        ("{ n }", "1234567"),
        ("{'0'} and {['1.2', 'fc']}", "layer 0 and layer 1.2, fc"),
        ("layer {'0'}, layers {['1.2', '3']}", "layer 0, layers 1.2, 3"),
        ("{[size for size in bn.axes if size != 2]}", "0, 3"),
    ],
)
def test_renders(text, rendered):
    template = Template(text, SCOPE.keys())
    assert template.render(SCOPE) == rendered
    assert pickle.loads(pickle.dumps(template)).render(SCOPE) == rendered


def test_long_values_are_cut():
    template = Template("{items} {text}")
    assert template.render({"items": list(range(20)), "text": "x" * 400}) == f"0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11 and 8 more {'x' * 300}..."


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("a {bn.module", "r.yaml:1:3: '{' without '}' (write '{{' for a brace)"),
        ("a }", "r.yaml:1:3: '}' without '{' (write '}}' for a brace)"),
        ("{}", "r.yaml:1:2: the expression is empty"),
        ("{a{b}}", "r.yaml:1:1: '{' without '}' (write '{{' for a brace)"),
        ("line\n and {bm.module}", "r.yaml:2:7: unknown name 'bm' (did you mean 'bn'?)"),
        ("{n:>99999999}", "r.yaml:1:3: unknown number format '>99999999' (such as .3g, .1%, ,d)"),
        ("{n:{n}}", "r.yaml:1:1: '{' without '}' (write '{{' for a brace)"),
        ("{n!r}", "r.yaml:1:3: not an expression: invalid syntax"),
        ("{bn.__class__}", "r.yaml:1:5: the attribute '__class__' is not available"),
        ("x" * 4001, "r.yaml:1:1: the text has 4001 characters, at most 4000 are allowed"),
    ],
)
def test_refused_when_read(text, error):
    with pytest.raises(ExpressionError) as caught:
        Template(text, ["bn", "n"], locate=lambda line, column: Location("r.yaml", line + 1, column + 1))
    assert str(caught.value) == error


def test_a_number_format_needs_a_number():
    template = Template("{bn.module:.3g}", ["bn"], location=Location("r.yaml", 4))
    with pytest.raises(ExpressionError) as caught:
        template.render(SCOPE)
    assert str(caught.value) == "r.yaml:4:1: 'bn.module' is no number, so it cannot be written as '.3g'"


@given(st.one_of(st.text(max_size=60), st.lists(st.sampled_from(["{", "}", "bn", ".", "eps", ":", ".3g", "[", "]", "'", " ", "1"]), max_size=20).map("".join)))
def test_any_text_is_rendered_or_refused(text):
    try:
        Template(text, {"bn"}).render(SCOPE)
    except ExpressionError as error:
        assert error.message
