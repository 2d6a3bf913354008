"""YAML with places: values, limits, and nothing but RuleError for anything else."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from normadvisor.errors import RuleError
from normadvisor.rulebook.yamlfile import MAX_DEPTH, parse_document
from normadvisor.types import Location

PLAIN = "r.yaml:1:4: the tag '{}' is not allowed (rule files hold plain strings, numbers, lists and mappings)"


def test_values_are_those_of_safe_yaml():
    text = "a: 1\nb: [1.5, true, ~, 'x', \"y\", null, -3, 0x10]\nc:\n  d: |\n    two\n    lines\n  e: >-\n    one\n    line\n? f\n: {g: h}\n"
    assert parse_document(text, "r.yaml").data == yaml.safe_load(text)


def test_dates_stay_strings_and_keys_are_strings():
    assert parse_document("when: 2020-01-01\non: x\n1: y\n", "r.yaml").data == {"when": "2020-01-01", "on": "x", "1": "y"}


def test_places_count_code_points():
    document = parse_document("äöü: wert\nlist:\n  - 'x'\n  - {k: v}\n", "r.yaml")
    assert [str(document.locate(path)) for path in (("äöü",), ("list", 0), ("list", 1, "k"), ("list", 9))] == [
        "r.yaml:1:6", "r.yaml:3:5", "r.yaml:4:9", "r.yaml:3:3",
    ]  # fmt: skip
    assert document.locate(("list", 1, "k"), key=True) == Location("r.yaml", 4, 6)


@pytest.mark.parametrize(
    ("text", "line", "column", "place"),
    [
        ("k: abc def", 0, 4, "r.yaml:1:8"),
        ("k: 'abc def'", 0, 4, "r.yaml:1:9"),
        ("k: |\n  one\n  two three\n", 1, 4, "r.yaml:3:7"),
        ("k: >-\n  one\n  two\n", 0, 5, "r.yaml:1:4"),
    ],
)
def test_places_inside_strings(text, line, column, place):
    assert str(parse_document(text, "r.yaml").locate_inside(("k",), line, column)) == place


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("a: 1\nb: 2\na: 3\n", "r.yaml:3:1: duplicate key 'a' (the first is on line 1)"),
        ("a: !!python/object/apply:os.system ['x']", PLAIN.format("python/object/apply:os.system")),
        ("a: !custom x", PLAIN.format("!custom")),
        ("a: !!binary aGk=", PLAIN.format("binary")),
        ("a: *b", "r.yaml:1:4: there is no anchor '&b' before this"),
        ("a: &b [*b]", "r.yaml:1:8: '*b' stands inside what it refers to"),
        ("[a, b]: c", "r.yaml:1:1: a key must be a plain string"),
        ("a: 1\n---\nb: 2\n", "r.yaml:2:1: a second document starts here (one rule per file; remove the '---')"),
        ("a: 0b\n", None),
        ("a: !!int x\n", "r.yaml:1:4: 'x' is not a int (put it in quotes to make it a string)"),
        ("a: [1", None),
        ("a: 'x", None),
        ("\tx: 1", None),
        ("a: \x01", None),
        ("[" * (MAX_DEPTH + 2), f"r.yaml:1:{MAX_DEPTH + 2}: nested deeper than {MAX_DEPTH} levels"),
    ],
)  # fmt: skip
def test_refused(text, error):
    if error is None:
        try:
            parse_document(text, "r.yaml")
        except RuleError as caught:
            assert caught.location is not None
    else:
        with pytest.raises(RuleError) as raised:
            parse_document(text, "r.yaml")
        assert str(raised.value) == error


@pytest.mark.parametrize("text", ["[" * 100_000, "- " * 50_000, "{a: " * 50_000, "? " * 50_000, "a: " + "&x " * 1000, "- - " * 20_000 + "x"])
def test_deep_nesting_is_refused_where_it_gets_too_deep(text, monkeypatch):
    """Of a hundred thousand levels, only as many are read as are allowed."""
    read, parse = [], yaml.parse

    def counted(*arguments, **options):
        for event in parse(*arguments, **options):
            read.append(event)
            yield event

    monkeypatch.setattr(yaml, "parse", counted)
    with pytest.raises(RuleError):
        parse_document(text, "r.yaml")
    assert len(read) < 10 * MAX_DEPTH


def test_a_bomb_of_aliases_is_refused():
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 10)}]" for level in range(1, 10)]
    with pytest.raises(RuleError) as caught:
        parse_document("\n".join(lines), "r.yaml")
    assert caught.value.message == "more than 20000 values, aliases counted in full"


@given(st.one_of(st.text(max_size=200), st.text(alphabet="ab:-[]{}&*!|>'\"#%@`?,\n \t~1.", max_size=80)))
def test_any_text_gives_data_or_a_rule_error(text):
    try:
        parse_document(text, "r.yaml")
    except RuleError as error:
        assert error.location is not None
        assert error.location.path == "r.yaml"
