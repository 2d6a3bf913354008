from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from normadvisor.report.frame import SourceLines, Span, code_frame


def drawn(text: str, span: Span, width: int = 60) -> list[str]:
    """The frame as it is printed, marked lines with ``>``, underlines below."""
    out = []
    for line in code_frame(tuple(text.split("\n")), span, width):
        out.append(f"{'>' if line.marked else ' '}{line.number or ''} {line.text}".rstrip())
        if line.underline:
            out.append(" " * (len(f" {line.number} ") + line.underline[0]) + "^" * line.underline[1])
    return out


def test_one_line():
    assert drawn("a = 1\nb = f(2)\nc = 3", Span(2, 5, 2, 9)) == [" 1 a = 1", ">2 b = f(2)", "       ^^^^", " 3 c = 3"]


def test_first_and_last_line():
    assert drawn("a = 1\nb = 2", Span(1, 1, 1, 2)) == [">1 a = 1", "   ^", " 2 b = 2"]
    assert drawn("a = 1\nb = 2\n", Span(2, 5, 2, 6)) == [" 1 a = 1", ">2 b = 2", "       ^"]


def test_empty_lines_around_are_left_out():
    assert drawn("a = 1\n\nb = 2\n   \nc = 3", Span(3)) == [">3 b = 2"]


def test_a_tab_is_as_wide_as_it_looks():
    assert drawn("\tx = f()", Span(1, 6, 1, 9)) == [">1     x = f()", "           ^^^"]
    assert drawn("ab\tf()", Span(1, 4, 1, 7)) == [">1 ab  f()", "       ^^^"]


def test_wide_characters_take_two_cells():
    (line,) = code_frame(("\u6a21\u578b = f()",), Span(1, 6, 1, 9), 60)
    assert line.underline == (7, 3)


def test_control_characters_and_overrides_are_escaped():
    assert drawn("x = '\x1b[31m\u202e' + f()", Span(1, 16, 1, 19)) == [">1 x = '\\x1b[31m\\u202e' + f()", "   " + " " * 23 + "^^^"]


def test_several_lines():
    text = "a = f(  # why\n    1,\n    2,\n)\nb = 2"
    assert drawn(text, Span(1, 5, 4, 2)) == [">1 a = f(  # why", "       ^^^^^^^^^", ">2     1,", ">3     2,", ">4 )", " 5 b = 2"]


def test_a_long_span_is_cut():
    text = "\n".join(["a = f("] + [f"    {number}," for number in range(20)] + [")", "b = 2"])
    frame = drawn(text, Span(1, 5, 22, 2))
    assert frame == [">1 a = f(", "       ^^", *(f">{number} {text.splitlines()[number - 1]}" for number in range(2, 8)), "> \u2026", ">22 )"]


def test_without_an_end_the_word_is_underlined():
    assert drawn("x = nn.ReLU()", Span(1, 5)) == [">1 x = nn.ReLU()", "       ^^^^^^^"]


def test_indentation_gives_way_before_code_does():
    text = "            a = 1\n            layer = Conv2d(3, 64, 3)"
    assert drawn(text, Span(2, 21, 2, 37), 30) == [" 1 a = 1", ">2 layer = Conv2d(3, 64, 3)", "           ^^^^^^^^^^^^^^^^"]


def test_long_lines_are_cut_around_the_span():
    text = "net = Sequential(" + "ReLU(), " * 20 + "Conv2d(3, 4, 5), " + "ReLU(), " * 20 + ")"
    column = text.index("Conv2d") + 1
    first, second = drawn(text, Span(1, column, 1, column + 15), 40)
    assert first == ">1 \u2026, ReLU(), Conv2d(3, 4, 5), ReLU(), ReL\u2026"
    assert first[second.index("^") : second.rindex("^") + 1] == "Conv2d(3, 4, 5)"


def test_a_megabyte_on_one_line_is_quick_and_short():
    text = "x = [" + "1, " * 1_000_000 + "f()]"
    first, second = drawn(text, Span(1, len(text) - 3, 1, len(text)), 60)
    assert len(first) <= 63
    assert first[second.index("^") : second.rindex("^") + 1] == "f()"


@pytest.mark.parametrize("line", [0, -1, 4, 10**9])
def test_lines_that_are_not_there(line):
    assert code_frame(("a", "b", "c"), Span(line), 60) == []


lines = st.lists(st.text(st.sampled_from("ab \t(.\u6a21\u0301\x1b\u202e\x0c"), max_size=60), min_size=1, max_size=12)
maybe = st.none() | st.integers(-1, 70)


@given(lines, st.integers(1, 12), maybe, maybe, maybe, st.integers(5, 80))
@settings(max_examples=500)
def test_any_span_fits(source, line, column, end_line, end_column, width):
    frame = code_frame(tuple(source), Span(line, column, end_line, end_column), width)
    assert bool(frame) == (line <= len(source))
    for drawn_line in frame:
        assert cell_len(drawn_line.text) <= width
        if drawn_line.underline:
            assert drawn_line.underline[0] >= 0
            assert drawn_line.underline[1] >= 1


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"a\r\nb\rc\n", ("a", "b", "c", "")),
        (b"\xef\xbb\xbfa", ("a",)),
        ("# coding: latin-1\n\u00e4".encode("latin-1"), ("# coding: latin-1", "\u00e4")),
        (b"a\x0cb\xe2\x80\xa8c", ("a\x0cb\u2028c",)),
        (b"\xff", ()),
        (b"\0", ()),
    ],
)
def test_reading(data, expected, tmp_path):
    (tmp_path / "m.py").write_bytes(data)
    assert SourceLines(tmp_path).of("m.py") == expected
    assert SourceLines(tmp_path).of(str(tmp_path / "m.py")) == expected


@pytest.mark.parametrize("path", ["", "gone.py", "a\0b", ".", "x" * 5000])
def test_what_cannot_be_read_has_no_lines(path, tmp_path):
    assert SourceLines(tmp_path).of(path) == ()
