from __future__ import annotations

from pathlib import Path

import pytest

from normadvisor.errors import RewriteError, TargetError
from normadvisor.rewrite.text.apply import Merged, applied, merged, overlapping
from normadvisor.types import Edit, Location

PATH = Path("net.py")


def edit(line: int, column: int, end_line: int, end_column: int, text: str, path: str = "net.py") -> Edit:
    return Edit(path, line, column, end_line, end_column, text)


@pytest.mark.parametrize(
    ("before", "edits", "after"),
    [
        (b"a = 1\n", [], b"a = 1\n"),
        (b"a = 1\n", [edit(1, 5, 1, 6, "22")], b"a = 22\n"),
        (b"a = 1", [edit(1, 6, 1, 6, "\nb = 2")], b"a = 1\nb = 2"),
        (b"a = 1\r\nb = 2\r\n", [edit(2, 1, 2, 1, "c = 3\n")], b"a = 1\r\nc = 3\r\nb = 2\r\n"),
        (b"a = 1\rb = 2", [edit(2, 6, 2, 6, "\r\nc = 3")], b"a = 1\rb = 2\rc = 3"),
        (b"a = 1\r\nb = 2\nc = 3\n", [edit(1, 1, 1, 1, "x\n"), edit(2, 1, 2, 1, "y\n")], b"x\r\na = 1\r\ny\nb = 2\nc = 3\n"),
        (b"", [edit(1, 1, 1, 1, "a = 1\n")], b"a = 1\n"),
        (b"a = 1\n", [edit(2, 1, 2, 1, "b = 2\n")], b"a = 1\nb = 2\n"),
        (b"\xef\xbb\xbfa = 1\r\n", [edit(1, 1, 1, 1, "b = '\u00e4'\n")], b"\xef\xbb\xbfb = '\xc3\xa4'\r\na = 1\r\n"),
        (b"# coding: latin-1\nx = '\xe4' + 'b'\n", [edit(2, 5, 2, 8, "'\u00f6'")], b"# coding: latin-1\nx = '\xf6' + 'b'\n"),
        ("x = 'äöü𝔘', 1\n".encode(), [edit(1, 13, 1, 14, "2")], "x = 'äöü𝔘', 2\n".encode()),
        (b"if 1:\n\ta = 1\n\x0c\n\tb = '\x0b'\n", [edit(4, 6, 4, 9, "2")], b"if 1:\n\ta = 1\n\x0c\n\tb = 2\n"),
        ("a = '\u2028\u0085'\nb = 1\n".encode(), [edit(2, 5, 2, 6, "2")], "a = '\u2028\u0085'\nb = 2\n".encode()),
        # Equal edits are one; an insertion goes before what is replaced from the same place on, and behind what ends there.
        (b"a = 1\n", [edit(1, 5, 1, 6, "2"), edit(1, 5, 1, 6, "2")], b"a = 2\n"),
        (b"abc\n", [edit(1, 2, 1, 3, "X"), edit(1, 2, 1, 2, "_"), edit(1, 3, 1, 3, "Y"), edit(1, 3, 1, 4, "")], b"a_XY\n"),
        # What does not parse before may not parse after.
        (b"a = (\n", [edit(1, 1, 1, 2, "b")], b"b = (\n"),
    ],
)
def test_edits_change_their_span_alone(before, edits, after):
    assert applied(before, PATH, edits) == after
    assert applied(before, PATH, reversed(edits)) == after


@pytest.mark.parametrize(
    ("before", "edits", "after"),
    [
        (b"a\rb\n\nc", [edit(2, 1, 3, 1, "")], b"a\r\r\nc"),
        (b"a\rb\nc", [edit(2, 1, 2, 1, "\n")], b"a\r\r\nb\nc"),
        (b"a\rb\nc", [edit(1, 2, 2, 2, "\n")], b"a\r\r\nc"),
        (b"a\rb\n", [edit(2, 1, 2, 2, "")], b"a\r\r\n"),
    ],
)
def test_line_endings_that_come_to_stand_side_by_side_stay_two(before, edits, after):
    assert applied(before, PATH, edits) == after


def test_characters_that_an_encoding_writes_in_two_ways_are_kept():
    # 0xfaec and 0xeef7 are one character in code page 932; only the first is what Python would write.
    before = b"# coding: cp932\nx = '\xee\xf7\x83\\', 1  # \xfa\xec\n"
    assert before.decode("cp932").encode("cp932") != before
    expected = before.replace(b"1  #", b"'\x83\\'  #")
    assert applied(before, PATH, [edit(2, 11, 2, 12, "'ソ'")]) == expected


def test_text_goes_between_the_escape_sequences_of_an_encoding():
    before = "# coding: iso-2022-jp\nx = '日本', 'b'  # 語\n".encode("iso-2022-jp")
    for column, end, text in [(6, 8, "b"), (11, 14, "'語'"), (8, 8, "語"), (6, 6, "b"), (8, 8, "b"), (5, 9, "1")]:
        result = applied(before, PATH, [edit(2, column, 2, end, text)])
        line = "x = '日本', 'b'  # 語"
        assert result.decode("iso-2022-jp").split("\n")[1] == line[: column - 1] + text + line[end - 1 :]


def test_text_within_a_run_of_another_set_of_characters_is_refused_or_right():
    before = "# coding: iso-2022-jp\nx = '日本語'\n".encode("iso-2022-jp")
    with pytest.raises(RewriteError) as caught:
        applied(before, PATH, [edit(2, 7, 2, 7, "b")])
    assert str(caught.value) == "net.py:2:7: the edit cannot be made in the encoding of the file, iso-2022-jp"


@pytest.mark.parametrize(
    ("before", "edits", "message"),
    [
        (b"abc\n", [edit(1, 1, 1, 3, "x"), edit(1, 2, 1, 4, "y")], "net.py:1:2: an edit overlaps the one at 1:1"),
        (b"abc\n", [edit(1, 1, 1, 3, "x"), edit(1, 2, 1, 2, "y")], "net.py:1:2: an edit overlaps the one at 1:1"),
        (b"abc\n", [edit(1, 1, 1, 3, "x"), edit(1, 1, 1, 3, "y")], "net.py:1:1: an edit overlaps the one at 1:1"),
        (b"abc\n", [edit(1, 2, 1, 2, "x"), edit(1, 2, 1, 2, "y")], "net.py:1:2: an edit overlaps the one at 1:2"),
        (b"abc\n", [edit(1, 5, 1, 5, "x")], "net.py:1:5: an edit leaves the file: it has no such place"),
        (b"abc\r\n", [edit(1, 5, 1, 5, "x")], "net.py:1:5: an edit leaves the file: it has no such place"),
        (b"abc\n", [edit(3, 1, 3, 1, "x")], "net.py:3:1: an edit leaves the file: it has no such place"),
        (b"abc\n", [edit(0, 1, 1, 1, "x")], "net.py:0:1: an edit leaves the file: it has no such place"),
        (b"abc\n", [edit(1, 0, 1, 1, "x")], "net.py:1:0: an edit leaves the file: it has no such place"),
        (b"abc\n", [edit(1, 3, 1, 1, "x")], "net.py:1:3: an edit leaves the file: it has no such place"),
        (
            b"# coding: latin-1\nx = ''\n",
            [edit(2, 6, 2, 6, "\u20ac")],
            "net.py:2:6: '\\u20ac' cannot be written in the encoding of the file, iso-8859-1",
        ),
        (b"x = ''\n", [edit(1, 6, 1, 6, "\ud800")], "net.py:1:6: '\\ud800' cannot be written in the encoding of the file, utf-8"),
        (
            b"# coding: latin-1\nx = '\xe4'\n",
            [edit(1, 1, 1, 18, "# coding: cp1251")],
            "net.py:1:1: the edit cannot be made in the encoding of the file, iso-8859-1",
        ),
        (b"x = '\xc3\xa4'\n", [edit(1, 1, 1, 1, "# coding: latin-1\n")], "net.py:1:1: the edit cannot be made in the encoding of the file, utf-8"),
        (b"f(1)\n", [edit(1, 4, 1, 5, "")], "net.py:1:2: the edits would break the file: not valid Python: '(' was never closed"),
        (b"f(1)\n", [edit(1, 3, 1, 4, "\0")], "net.py:1:1: the edits would break the file: the file holds NUL bytes, so it is not Python source"),
    ],
)
def test_what_cannot_be_done_is_an_error_with_its_place(before, edits, message):
    with pytest.raises(RewriteError) as caught:
        applied(before, PATH, edits)
    assert str(caught.value) == message


def test_bytes_that_are_not_in_the_encoding_of_the_file_are_an_error_of_the_file():
    with pytest.raises(TargetError) as caught:
        applied(b"x = '\xe4'\n", PATH, [edit(1, 1, 1, 2, "y")])
    assert caught.value.location == Location("net.py", 1)


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (edit(1, 1, 1, 3, ""), edit(1, 4, 1, 5, ""), False),
        (edit(1, 1, 1, 3, ""), edit(1, 3, 1, 5, ""), True),
        (edit(1, 1, 1, 3, ""), edit(1, 2, 1, 5, ""), True),
        (edit(1, 1, 1, 3, ""), edit(1, 1, 1, 3, ""), False),
        (edit(1, 1, 1, 1, "a"), edit(1, 1, 1, 1, "b"), True),
        (edit(1, 1, 1, 1, "a"), edit(1, 1, 1, 1, "a"), False),
        (edit(1, 1, 4, 3, ""), edit(2, 9, 2, 9, "x"), True),
        (edit(1, 1, 4, 3, ""), edit(2, 9, 2, 9, "x", path="other.py"), False),
    ],
)
def test_overlapping(first, second, expected):
    assert overlapping([first], [second]) is expected
    assert overlapping([edit(9, 1, 9, 2, "z"), second], [first]) is expected


def test_groups_are_taken_whole_in_their_order():
    shared = edit(1, 1, 1, 1, "import torch\n")
    groups = [
        [shared, edit(5, 1, 5, 4, "a")],
        [shared, edit(5, 3, 5, 9, "b"), edit(7, 1, 7, 2, "c")],
        [shared, edit(7, 1, 7, 2, "d")],
        [],
        [edit(6, 1, 6, 1, "e"), edit(6, 1, 6, 2, "")],
    ]
    expected = Merged((*groups[0], groups[2][1], *groups[4]), (0, 2, 3, 4), (1,))
    assert merged(groups) == expected
