"""What questions look like, without a terminal."""

from __future__ import annotations

from normadvisor.cli.interactive.session import Answer, Item, Menu, Question
from normadvisor.cli.interactive.views import Painter
from normadvisor.report import RenderOptions
from normadvisor.types import Applicability, Confidence, Edit, Finding, Fix, Severity

EDIT = Edit("net.py", 1, 1, 1, 2, "x")
FIX = Fix(Applicability.SAFE, "Leave it out, all of it.", (EDIT,), "leave it out", "costs a \x1b[31mkey")
FINDING = Finding(rule="XX001", name="own-rule", severity=Severity.ERROR, confidence=Confidence.CONFIRMED, message="wrong", model="Net")


def painted(view, *, diff="", width=60, encoding="utf-8"):
    painter = Painter(options=RenderOptions(width=width, encoding=encoding), rules={}, diff=lambda _view: diff)
    return [line.plain for line in (painter.menu(view) if isinstance(view, Menu) else painter.question(view))]


def question(fix=FIX, **others):
    return Question(number=2, total=3, item=Item(finding=FINDING, fixes=(fix,)), fix=0, answers=(Answer("y", "yes"), Answer("q", "quit")), **others)


def test_a_finding_without_a_place_and_without_a_page():
    diff = "\x1b[1m--- a/net.py\x1b[0m\n\x1b[1m+++ b/net.py\x1b[0m\n-\told\n+\tnew\n"
    assert painted(question(notices=("fixed",)), diff=diff) == [
        "fixed",
        "",
        "── 2 of 3 ──────────────────────────────────────────────────",
        "Net  XX001 own-rule  [error, confirmed]",
        "  wrong",
        "",
        "  fix       leave it out (safe)",
        "            Leave it out, all of it.",
        "            trade-off: costs a \\x1b[31mkey",
        "",
        "--- a/net.py",
        "+++ b/net.py",
        "-   old",
        "+   new",
        "",
        "Apply this fix? [y]es [q]uit",
    ]


def test_a_question_that_stands_above_is_its_prompt():
    assert painted(question(notices=("press one of y q",), again=True)) == ["press one of y q", "Apply this fix? [y]es [q]uit"]


def test_a_fix_in_words_has_no_diff():
    words = Fix(Applicability.DISPLAY, "Use larger batches.")
    assert painted(question(words), encoding="ascii")[1:] == [
        "-- 2 of 3 --------------------------------------------------",
        "Net  XX001 own-rule  [error, confirmed]",
        "  wrong",
        "",
        "  fix       Use larger batches. (in words only)",
        "",
        "What now? [y]es [q]uit",
    ]


def test_a_long_diff_is_cut():
    lines = painted(question(), diff="".join(f"+{number}\n" for number in range(300)))
    assert lines[-4:] == ["+118", "… and 181 more lines; --diff prints them all", "", "Apply this fix? [y]es [q]uit"]
    lines = painted(question(), diff="".join(f"+{number}\n" for number in range(120)))
    assert lines[-3:] == ["+119", "", "Apply this fix? [y]es [q]uit"]


def test_a_menu_in_few_columns():
    refused = Fix(Applicability.UNSAFE, "Convert all of them to the other kind.", (), "convert", "slow", (), "net.py:3 builds other layers too")
    view = Menu(item=Item(finding=FINDING, fixes=(FIX, refused)), fix=0, failed=((0, "the outputs differ by 0.5"),))
    assert painted(view, width=40) == [
        "",
        "> 1  leave it out (safe)",
        "     Leave it out, all of it.",
        "     trade-off: costs a \\x1b[31mkey",
        "     rolled back: the outputs differ by",
        "     0.5",
        "  2  convert (unsafe)",
        "     Convert all of them to the other",
        "     kind.",
        "     trade-off: slow",
        "     not in the source: net.py:3 builds",
        "     other layers too",
        "",
        "Which fix? [1-2] [b]ack",
    ]
