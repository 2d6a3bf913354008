"""Which findings are the same before and after edits."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from normadvisor.api.fixing.shift import Places, pairs
from normadvisor.types import Confidence, Edit, Finding, Severity


def place_of(text, offset):
    before = text[:offset]
    return before.count("\n") + 1, offset - (before.rfind("\n") + 1) + 1


@given(st.data())
def test_places_outside_of_edits_lead_back_to_where_they_were(data):
    text = data.draw(st.text("ab\n", min_size=1, max_size=60))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=8, unique=True)))
    edits, kept, result, last = [], [], "", 0
    for begin, end in zip(cuts[::2], cuts[1::2], strict=False):
        new = data.draw(st.text("cd\n", max_size=9))
        kept += [(len(result) + offset - last, offset) for offset in range(last, begin)]
        result += text[last:begin] + new
        edits.append(Edit("a.py", *place_of(text, begin), *place_of(text, end), new))
        last = end
    kept += [(len(result) + offset - last, offset) for offset in range(last, len(text))]
    result += text[last:]
    places = Places(data.draw(st.permutations(edits)))
    found = [places.before("a.py", None, *place_of(result, after)) for after, _ in kept]
    assert found == [place_of(text, before) for _, before in kept]


def test_what_an_edit_put_there_was_where_the_edit_began():
    places = Places([Edit("a.py", 2, 5, 2, 8, "one\ntwo\nthree")])
    assert [places.before("a.py", None, *place) for place in ((2, 4), (2, 5), (3, 2), (4, 5), (4, 6), (5, 1))] == [
        (2, 4), (2, 5), (2, 5), (2, 5), (2, 8), (3, 1),
    ]  # fmt: skip


def test_other_files_and_cells_are_where_they_were():
    places = Places([Edit("a.py", 1, 1, 1, 1, "\n\n")])
    assert places.before("b.py", None, 4, 2) == (4, 2)
    assert places.before("a.py", 1, 4, 2) == (4, 2)
    assert places.before("a.py", None, 4, 2) == (2, 2)


def finding(line, rule="NA102", column=1, fingerprint="", modules=(), path="a.py"):
    return Finding(
        rule=rule, name="n", severity=Severity.INFO, confidence=Confidence.CONFIRMED, message="m", path=path, line=line, column=column,
        fingerprint=fingerprint or f"{line}:{column}", modules=modules,
    )  # fmt: skip


NOTHING = Places(())


def test_place_counts_before_line_and_fingerprint():
    # The first of two equal lines is mended: the second one takes over its fingerprint.
    first, second = finding(3, fingerprint="x"), finding(4, fingerprint="y")
    left = replace(second, fingerprint="x")
    assert pairs([first, second], [left], NOTHING) == [(second, left), (first, None)]


def test_findings_are_found_where_lines_have_moved():
    places = Places([Edit("a.py", 2, 1, 2, 1, "import x\n")])
    before, after = finding(5, fingerprint="a"), finding(6, fingerprint="b")
    assert pairs([before], [after], places) == [(before, after)]


def test_another_column_of_the_line_is_the_same():
    before, after = finding(5, column=3), finding(5, column=9)
    assert pairs([before], [after], NOTHING) == [(before, after)]


def test_fingerprints_and_modules_tell_where_places_do_not():
    moved, model = finding(5, fingerprint="a"), finding(None, fingerprint="b", modules=("x",), path=None)
    moved_after, model_after = finding(50, fingerprint="a"), finding(None, fingerprint="c", modules=("x",), path=None)
    assert pairs([moved, model], [moved_after, model_after], NOTHING) == [(moved, moved_after), (model, model_after)]


def test_a_finding_about_the_model_is_the_same_without_its_first_layer():
    before, after = finding(5, modules=("a", "b", "c")), finding(9, modules=("b", "c"))
    assert pairs([before], [after], NOTHING) == [(before, after)]
    assert pairs([before], [replace(after, modules=("x",))], NOTHING) == [(before, None), (None, replace(after, modules=("x",)))]


def test_without_a_place_the_rule_decides():
    before, after = (finding(None, path=None, fingerprint=mark, modules=(mark,)) for mark in "ab")
    assert pairs([before], [after], NOTHING) == [(before, after)]


def test_another_rule_at_the_place_is_new():
    before, after = finding(5), finding(5, rule="NA105")
    assert pairs([before], [after], NOTHING) == [(before, None), (None, after)]
