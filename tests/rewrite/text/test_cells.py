from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from normadvisor.errors import RewriteError, TargetError
from normadvisor.files.notebook import notebook_in
from normadvisor.rewrite.text.apply import applied
from normadvisor.types import Edit

PATH = Path("a.ipynb")


def edit(cell: int | None, line: int, column: int, end_line: int, end_column: int, text: str) -> Edit:
    return Edit("a.ipynb", line, column, end_line, end_column, text, cell)


LISTED = """\
{
 "cells": [
  {"cell_type": "markdown", "source": ["# A caf\u00e9\\n", "text"]},
  {
   "cell_type": "code",
   "outputs": [{"data": [1,2, 3.0e0]}],
   "source": [
    "import torch\\n",
    "x = 'caf\u00e9 \\u00e4 \\ud83d\\ude00' + \\"y\\"\\n",
    "\\n",
    "z = 1"
   ]
  },
  {"cell_type": "code", "source": "a = 1\\nb = 2\\n"},
  {"cell_type": "code", "source": ["one = 1"]},
  {"cell_type": "code", "source": []}
 ],
 "nbformat": 4
}
"""


@pytest.mark.parametrize(
    ("edits", "old", "new"),
    [
        ([edit(2, 4, 5, 4, 6, "22")], '"z = 1"', '"z = 22"'),
        ([edit(2, 2, 13, 2, 14, "!")], "\\ud83d\\ude00", "!"),
        ([edit(2, 4, 1, 4, 1, "a = '\u00e9'\nb = \"2\"\n")], '    "z = 1"', '    "a = \'\u00e9\'\\n",\n    "b = \\"2\\"\\n",\n    "z = 1"'),
        ([edit(2, 4, 6, 4, 6, "\nend")], '"z = 1"', '"z = 1\\n",\n    "end"'),
        ([edit(2, 1, 1, 2, 1, "")], '    "import torch\\n",\n', ""),
        ([edit(2, 2, 1, 4, 1, "")], '    "x = \'caf\u00e9 \\u00e4 \\ud83d\\ude00\' + \\"y\\"\\n",\n    "\\n",\n', ""),
        ([edit(3, 2, 5, 2, 6, "3\nc = 4"), edit(3, 1, 1, 1, 2, "A")], '"a = 1\\nb = 2\\n"', '"A = 1\\nb = 3\\nc = 4\\n"'),
        ([edit(4, 1, 8, 1, 8, "\ntwo = 2")], '["one = 1"]', '["one = 1\\n", "two = 2"]'),
        ([edit(4, 1, 1, 1, 1, "two\n"), edit(3, 1, 5, 1, 6, "9")], None, None),
    ],
)
def test_the_rest_of_the_json_stays_as_it_is(edits, old, new):
    result = applied(LISTED.encode(), PATH, edits).decode()
    if old is None:
        old, new = '"a = 1\\nb = 2\\n"},\n  {"cell_type": "code", "source": ["one', '"a = 9\\nb = 2\\n"},\n  {"cell_type": "code", "source": ["two\\n", "one'
    assert LISTED.count(old) == 1
    assert result == LISTED.replace(old, new)


@pytest.mark.parametrize(
    ("edits", "message"),
    [
        ([edit(1, 1, 1, 1, 1, "x")], "a.ipynb:cell 1:1:1: an edit leaves the notebook: there is no such cell of code"),
        ([edit(9, 1, 1, 1, 1, "x")], "a.ipynb:cell 9:1:1: an edit leaves the notebook: there is no such cell of code"),
        ([edit(None, 1, 1, 1, 1, "x")], "a.ipynb:1:1: an edit leaves the notebook: there is no such cell of code"),
        ([edit(5, 1, 1, 1, 1, "x")], "a.ipynb:cell 5:1:1: a cell without a line cannot be edited"),
        ([edit(4, 2, 1, 2, 1, "x")], "a.ipynb:cell 4:2:1: an edit leaves the file: it has no such place"),
        ([edit(4, 1, 1, 1, 3, "x"), edit(4, 1, 2, 1, 3, "y")], "a.ipynb:cell 4:1:2: an edit overlaps the one at 1:1"),
        ([edit(4, 1, 7, 1, 8, "(")], "a.ipynb:cell 4:1:7: the edits would break the file: not valid Python: '(' was never closed"),
        ([edit(4, 1, 7, 1, 8, "'\ud800'")], "a.ipynb:cell 4:1:7: the text holds half of a character"),
    ],
)
def test_what_cannot_be_done_is_an_error_with_its_cell(edits, message):
    with pytest.raises((RewriteError, TargetError)) as caught:
        applied(LISTED.encode(), PATH, edits)
    assert str(caught.value) == message


def test_old_formats_and_marks():
    old = b'\xef\xbb\xbf{"worksheets": [{"cells": [{"cell_type": "code", "input": ["a = 1\\r\\n", "b = 2"], "language": "python"}]}], "nbformat": 3}'
    assert applied(old, PATH, [edit(1, 1, 6, 1, 6, "\nc = 3")]) == old.replace(b'"a = 1\\r\\n', b'"a = 1\\r\\n", "c = 3\\r\\n')


def test_what_is_no_notebook_is_the_error_of_the_file():
    with pytest.raises(TargetError, match="not a notebook"):
        applied(b"[]", PATH, [edit(1, 1, 1, 1, 1, "x")])


LETTERS = st.sampled_from(["a", "=", " ", '"', "\\", "/", "\t", "\u00e9", "\U0001f600", "\u2028", "\x0c", "\n", "\n", "\r\n"])
SOURCES = st.lists(LETTERS, max_size=10).map("".join)


@st.composite
def notebooks(draw: st.DrawFn) -> tuple[str, list[str], list[Edit]]:
    sources = [source or "x" for source in draw(st.lists(SOURCES, min_size=1, max_size=3))]
    cells = [
        {"cell_type": "code", "metadata": {"source": ["no"]}, "source": source.splitlines(keepends=True) if draw(st.booleans()) else source, "outputs": []}
        for source in sources
    ]
    text = json.dumps({"metadata": {}, "cells": cells}, ensure_ascii=draw(st.booleans()), indent=draw(st.sampled_from([None, 1, 4])))
    edits = []
    for number, source in enumerate(sources, 1):
        lines = source.replace("\r\n", "\n").replace("\r", "\n").split("\n")
        spots = [(line, column) for line, said in enumerate(lines, 1) for column in range(1, len(said) + 2)]
        begin, end = sorted([draw(st.sampled_from(spots)), draw(st.sampled_from(spots))])
        if draw(st.booleans()):
            edits.append(edit(number, *begin, *end, draw(SOURCES)))
    return text, sources, edits


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(notebooks())
def test_any_cells_say_what_was_asked_for(case):
    text, sources, edits = case
    try:
        result = applied(text.encode(), PATH, edits).decode()
    except RewriteError as error:
        assert error.message.startswith("the edits would break the file"), error
        return
    expected = [source.replace("\r\n", "\n").replace("\r", "\n") for source in sources]
    for item in edits:
        lines = expected[item.cell - 1].split("\n")
        before = "\n".join([*lines[: item.line - 1], lines[item.line - 1][: item.column - 1]])
        after = "\n".join([lines[item.end_line - 1][item.end_column - 1 :], *lines[item.end_line :]])
        expected[item.cell - 1] = before + item.text.replace("\r\n", "\n") + after
    assert ["\n".join(cell.source) for cell in notebook_in(result, PATH).cells] == expected
    old, new = json.loads(text), json.loads(result)
    for data in (old, new):
        for cell in data["cells"]:
            del cell["source"]
    assert old == new
    assert result == text or edits
