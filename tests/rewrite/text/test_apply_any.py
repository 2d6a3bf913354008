"""Edits of any file: what is outside of them stays byte for byte, and the text is what was asked for."""

from __future__ import annotations

import ast
import re
import time
import warnings
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from normadvisor.errors import RewriteError, TargetError
from normadvisor.files.source import text_of
from normadvisor.rewrite.text.apply import applied, merged, overlapping
from normadvisor.types import Edit

PATH = Path("net.py")
BREAK = re.compile(r"\r\n|\r|\n")
MODEST = settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
ENCODINGS = {
    "": "äß€語𝔘\u2028\u0085",
    "utf-8": "äß€語𝔘\u2028",
    "latin-1": "äß\xa0\x85",
    "cp1252": "äß€",
    "iso-8859-15": "äß€",
    "koi8-r": "дя",
    "cp932": "語ソ表",
    "euc-jp": "語ソ",
    "gbk": "語汉",
    "gb18030": "語汉𝔘",
    "big5": "語",
    "iso-2022-jp": "語ソ",
    "hz": "汉",
    "utf-7": "äß語",
    "ascii": "",
}


@dataclass(frozen=True)
class File:
    """A file, and for each of its lines the text without its ending."""

    data: bytes
    encoding: str
    lines: list[str]

    @property
    def text(self) -> str:
        return "\n".join(self.lines)


@st.composite
def files(draw: st.DrawFn, encodings: tuple[str, ...] = tuple(ENCODINGS)) -> File:
    encoding = draw(st.sampled_from(encodings))
    letters = st.sampled_from(["a", "b", " ", "\t", "'", "(", ")", "#", "=", "\x0c", "\x0b", "\x1c", *ENCODINGS[encoding]])
    ending = st.sampled_from(["\n", "\r\n", "\r"])
    mark = draw(st.booleans()) and encoding in {"", "utf-8"}
    raw = f"# coding: {encoding}{draw(ending)}" if encoding else ""
    for line in draw(st.lists(st.text(letters, max_size=6), max_size=6)):
        raw += line + draw(ending)
    raw += draw(st.text(letters, max_size=4))
    data = (b"\xef\xbb\xbf" if mark else b"") + raw.encode(encoding or "utf-8")
    return File(data, encoding or "utf-8", BREAK.split(raw))


@st.composite
def edited(draw: st.DrawFn, encodings: tuple[str, ...] = tuple(ENCODINGS)) -> tuple[File, list[Edit]]:
    """A file and edits of it that do not overlap, outside of the coding line."""
    file = draw(files(encodings))
    first = 2 if len(file.lines) > 1 and file.lines[0].startswith("# coding") else 1
    spots = [(line, column) for line in range(first, len(file.lines) + 1) for column in range(1, len(file.lines[line - 1]) + 2)]
    count = draw(st.integers(1, 3))
    chosen = sorted(draw(st.lists(st.sampled_from(spots), min_size=2 * count, max_size=2 * count)))
    letters = st.sampled_from(["x", " ", "\n", "\r\n", *ENCODINGS["" if file.encoding == "utf-8" else file.encoding]])
    found: list[Edit] = []
    for begin, end in zip(chosen[::2], chosen[1::2], strict=True):
        if found and (found[-1].end_line, found[-1].end_column) == begin == end and (found[-1].line, found[-1].column) == begin:
            continue  # two insertions at one place
        found.append(Edit("net.py", *begin, *end, "".join(draw(st.lists(letters, max_size=4)))))
    return file, found


def _expected(file: File, edits: list[Edit]) -> str:
    text = file.text
    starts = [0]
    for line in file.lines:
        starts.append(starts[-1] + len(line) + 1)
    for edit in reversed(edits):
        begin, end = starts[edit.line - 1] + edit.column - 1, starts[edit.end_line - 1] + edit.end_column - 1
        text = text[:begin] + BREAK.sub("\n", edit.text) + text[end:]
    return text


def _parses(text: str) -> bool:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ast.parse(text)
    except (SyntaxError, ValueError):
        return False
    return True


def _result(file: File, edits: list[Edit]) -> bytes | None:
    """What comes of edits; ``None`` where they were refused because the result is no Python while the file is."""
    try:
        return applied(file.data, PATH, edits)
    except RewriteError as error:
        assert error.message.startswith("the edits would break the file"), error
        assert _parses(file.text)
        assert not _parses(_expected(file, edits))
        return None


SIMPLE = ("", "utf-8", "latin-1", "cp1252", "iso-8859-15", "koi8-r", "ascii", "cp932", "euc-jp", "gbk", "gb18030", "big5")
"""Encodings in which a character is written alike wherever it stands."""


@MODEST
@given(edited(SIMPLE))
def test_the_text_is_what_was_asked_for_and_the_rest_is_kept(case):
    file, edits = case
    result = _result(file, edits)
    if result is None:
        return
    assert text_of(result, PATH)[0] == _expected(file, edits)
    # The kept parts, cut out of the old bytes by their length in the encoding, follow one another in the new ones.
    position = 0
    for kept in _kept_parts(file, edits):
        found = result.find(kept, position)
        assert found >= 0, (kept, result)
        position = found + len(kept)
    first, *_, last = _kept_parts(file, edits)
    assert result.startswith(first)
    assert result.endswith(last)


def _kept_parts(file: File, edits: list[Edit]) -> list[bytes]:
    mark = 3 if file.data.startswith(b"\xef\xbb\xbf") else 0
    raw = file.data[mark:].decode(file.encoding)
    ends = [found.span() for found in BREAK.finditer(raw)]
    starts = [0, *(end for _, end in ends)]

    def place(line: int, column: int) -> int:
        return mark + len(raw[: starts[line - 1] + column - 1].encode(file.encoding))

    cuts = [0, *(cut for edit in edits for cut in (place(edit.line, edit.column), place(edit.end_line, edit.end_column))), len(file.data)]
    return [file.data[begin:end] for begin, end in zip(cuts[::2], cuts[1::2], strict=True)]


@MODEST
@given(edited(("iso-2022-jp", "hz", "utf-7")))
def test_encodings_with_escape_sequences_are_right_or_refused(case):
    file, edits = case
    try:
        result = applied(file.data, PATH, edits)
    except RewriteError as error:
        assert error.location is not None
    else:
        assert text_of(result, PATH)[0] == _expected(file, edits)


@MODEST
@given(edited(SIMPLE))
def test_edits_one_by_one_give_what_all_at_once_give(case):
    file, edits = case
    all_at_once = _result(file, edits)
    data = file.data
    for edit in reversed(edits):  # from the last on, so that places stay what they are
        try:
            data = applied(data, PATH, [edit])
        except RewriteError:
            return
    if all_at_once is not None:
        assert text_of(data, PATH) == text_of(all_at_once, PATH)


@MODEST
@given(files())
def test_replacing_text_by_itself_changes_no_byte(file):
    last = len(file.lines)
    edits = [Edit("net.py", line, 1, line, len(file.lines[line - 1]) + 1, file.lines[line - 1]) for line in range(1, last + 1)]
    try:
        assert applied(file.data, PATH, edits) == file.data
    except RewriteError as error:
        assert file.encoding in {"utf-7", "hz"}, error


@MODEST
@given(st.binary(max_size=60), st.lists(st.tuples(*[st.integers(-1, 5)] * 4, st.text(max_size=5)), max_size=3))
def test_any_bytes_and_any_edits_end_in_bytes_or_a_plain_error(data, spans):
    edits = [Edit("net.py", *span) for span in spans]
    try:
        result = applied(data, PATH, edits)
    except (RewriteError, TargetError) as error:
        assert error.message
    else:
        assert result == data or edits


@MODEST
@given(st.lists(st.lists(st.tuples(st.integers(1, 12), st.integers(0, 3), st.sampled_from("xy")), max_size=3), max_size=6))
def test_groups_that_were_taken_can_be_applied_and_no_other_could_have_been_taken(drawn):
    data = b"abcdefghijklmnop"
    groups = []
    for spans in drawn:
        group: list[Edit] = []
        for column, length, text in spans:
            edit = Edit("net.py", 1, column, 1, column + length, text)
            if not overlapping(group, [edit]):
                group.append(edit)
        groups.append(group)
    found = merged(groups)
    applied(data, PATH, found.edits)
    assert sorted([*found.taken, *found.waiting]) == list(range(len(groups)))
    for position in found.waiting:
        assert any(overlapping(groups[position], groups[other]) for other in found.taken if other < position)


@pytest.mark.parametrize("size", [200_000])
def test_a_large_file_takes_no_time_to_speak_of(size):
    line = "value = '\u00e4'  # comment\n"
    data = (line * (size // len(line))).encode()
    edits = [Edit("net.py", number, 1, number, 6, "other") for number in range(1, size // len(line), 3)]
    begin = time.process_time()
    result = applied(data, PATH, edits)
    assert time.process_time() - begin < 10  # a sixth of a second, unless the size counts twice
    assert result.count(b"other") == len(edits)
