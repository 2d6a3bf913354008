from __future__ import annotations

import json
import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from normadvisor.config.positions import key_positions


def paths(value: object, prefix: tuple[str | int, ...] = ()) -> set[tuple[str | int, ...]]:
    """Every key path in parsed data."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    found = {prefix} if prefix else set()
    return found.union(*(paths(inner, (*prefix, key)) for key, inner in items))


def test_every_kind_of_key_is_placed():
    document = '''\
a = 1
b.c = 2
"d e".'f' = { g = 3, h.i = [4, [5,
  6]] }
# j = 0
[k.l]
m = """
n = 1
""" # n
o = 2026-01-02 03:04:05
[[p.q]]
r = 's # t'
[[p.q]]
[p.q.u]
v = true
'''
    assert key_positions(document) == {
        ("a",): (1, 1),
        ("b",): (2, 1),
        ("b", "c"): (2, 3),
        ("d e",): (3, 1),
        ("d e", "f"): (3, 7),
        ("d e", "f", "g"): (3, 15),
        ("d e", "f", "h"): (3, 22),
        ("d e", "f", "h", "i"): (3, 24),
        ("d e", "f", "h", "i", 0): (3, 29),
        ("d e", "f", "h", "i", 1): (3, 32),
        ("d e", "f", "h", "i", 1, 0): (3, 33),
        ("d e", "f", "h", "i", 1, 1): (4, 3),
        ("k",): (6, 2),
        ("k", "l"): (6, 4),
        ("k", "l", "m"): (7, 1),
        ("k", "l", "o"): (10, 1),
        ("p",): (11, 3),
        ("p", "q"): (11, 5),
        ("p", "q", 0): (11, 5),
        ("p", "q", 0, "r"): (12, 1),
        ("p", "q", 1): (13, 5),
        ("p", "q", 1, "u"): (14, 6),
        ("p", "q", 1, "u", "v"): (15, 1),
    }


def test_columns_count_code_points():
    assert key_positions('"é𝄞" = {b = 1}') == {("é𝄞",): (1, 1), ("é𝄞", "b"): (1, 9)}


def test_windows_line_endings():
    assert key_positions("a = 1\r\n[b]\r\nc = 'x'\r\n") == {("a",): (1, 1), ("b",): (2, 2), ("b", "c"): (3, 1)}


def test_strings_ending_in_quotes():
    text = "a = '''x'''''\nb = \"\"\"y\\\"\"\"\"\"\nc = \"\"\nd = ''\n"
    assert set(tomllib.loads(text)) == {"a", "b", "c", "d"}
    assert key_positions(text) == {("a",): (1, 1), ("b",): (2, 1), ("c",): (3, 1), ("d",): (4, 1)}


KEYS = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=6)
STRINGS = st.text(st.sampled_from("ab'\"\\#[]{}=,.\n é𝄞"), max_size=8)
VALUES = st.recursive(
    st.booleans() | st.integers(-(2**40), 2**40) | st.floats(allow_nan=False, allow_infinity=False) | STRINGS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)
SPACE = st.sampled_from(["", " ", "  ", "\t"])
BREAK = st.sampled_from(["", " ", "\n", " # x = [\n", "\r\n"])


def quoted(draw: st.DrawFn, text: str) -> str:
    """A string as one of the four kinds of TOML string."""
    basic = json.dumps(text, ensure_ascii=False)
    choices = [basic]
    if "'" not in text and "\n" not in text:
        choices.append(f"'{text}'")
    if "'''" not in text:
        # A newline right after the opening quotes is dropped. Three to five quotes end the string, the first of them its own.
        body = text if not text.startswith("\n") else "\n" + text
        choices.append(f"'''{body}'''" if not text.endswith("'''") else basic)
    choices.append('"""' + basic[1:-1] + '"""')
    return draw(st.sampled_from(choices))


def key(draw: st.DrawFn, text: str) -> str:
    bare = text.isascii() and text.replace("-", "").replace("_", "").isalnum()
    return draw(st.sampled_from([json.dumps(text, ensure_ascii=False), *([text] if bare else [])]))


def inline(draw: st.DrawFn, value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return quoted(draw, value)
    if isinstance(value, list):
        items = [f"{draw(BREAK)}{inline(draw, item)}{draw(BREAK)}" for item in value]
        return f"[{','.join(items)}{draw(BREAK)}]"
    if isinstance(value, dict):
        items = [f"{draw(SPACE)}{key(draw, name)}{draw(SPACE)}={draw(SPACE)}{inline(draw, item)}" for name, item in value.items()]
        return "{" + ",".join(items) + draw(SPACE) + "}"
    return repr(value)


@st.composite
def documents(draw: st.DrawFn) -> str:
    """TOML text with headers, arrays of tables, dotted keys, and every kind of value."""
    lines = []
    for name in draw(st.lists(KEYS, max_size=4, unique=True)):
        form = draw(st.sampled_from(["value", "dotted", "table", "tables"]))
        entries = draw(st.dictionaries(KEYS, VALUES, max_size=3))
        written = key(draw, name)
        if form == "value":
            lines.insert(0, f"{draw(SPACE)}{written} ={draw(SPACE)}{inline(draw, draw(VALUES))}{draw(SPACE)}")
        elif form == "dotted":
            lines[:0] = [f"{written}{draw(SPACE)}.{draw(SPACE)}{key(draw, inner)}={inline(draw, item)}" for inner, item in entries.items()]
        else:
            for _ in range(draw(st.integers(1, 3)) if form == "tables" else 1):
                lines.append(f"[[{draw(SPACE)}{written}]]" if form == "tables" else f"[{written}{draw(SPACE)}] # [x]")
                lines += [f"{key(draw, inner)} = {inline(draw, item)}" for inner, item in entries.items()]
    return draw(st.sampled_from(["\n", "\r\n"])).join(lines)


@given(documents())
def test_every_path_of_a_document_is_placed_at_its_own_text(text: str):
    data = tomllib.loads(text)
    places = key_positions(text)
    assert paths(data) == set(places)
    lines = text.split("\n")
    for path, (line, column) in places.items():
        there = lines[line - 1][column - 1 :]
        if isinstance(path[-1], str):
            assert there.startswith((path[-1] or '"', json.dumps(path[-1], ensure_ascii=False)))
        else:
            assert there[0] not in ",] \t\r#"


@given(st.text() | st.text(st.sampled_from("ab=[]{}\"'.,#\\\n ")))
def test_text_that_is_no_toml_never_raises(text: str):
    for line, column in key_positions(text).values():
        assert line >= 1
        assert column >= 1


@pytest.mark.parametrize("depth", [10, 100_000])
def test_deep_nesting_never_raises(depth: int):
    assert key_positions("a = " + "[" * depth)[("a",)] == (1, 1)
