"""The questions as a machine: events go in, views come out."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from normadvisor.cli.interactive.session import (
    Checking,
    Explained,
    Explanation,
    Finished,
    Item,
    Menu,
    Pick,
    Pressed,
    Question,
    Session,
    Verified,
)
from normadvisor.types import Applicability, Confidence, Edit, Finding, Fix, Severity

EDIT = Edit("net.py", 1, 1, 1, 2, "x")


def fix(title="Leave out the bias", applicability=Applicability.SAFE, edits=(EDIT,), **others):
    return Fix(applicability, f"{title} of it.", edits, title, **others)


def item(rule="NA102", line=1, fixes=None):
    finding = Finding(
        rule=rule, name="some-rule", severity=Severity.WARNING, confidence=Confidence.CONFIRMED, message="wrong", path="net.py", line=line
    )
    return Item(finding=finding, fixes=fixes if fixes is not None else (fix(),))


def keys(view):
    return "".join(answer.key for answer in view.answers)


def press(session, text):
    for key in text:
        view = session.handle(Pressed(key))
        if isinstance(view, Checking):
            session.handle(Verified(held=(*view.held, *view.new)))
    return session.view


IN_WORDS = fix("Use larger batches", Applicability.DISPLAY, edits=())
REFUSED = fix("Convert to SyncBatchNorm", Applicability.UNSAFE, edits=(), refused="net.py:3 builds it in a loop")
THREE = (fix("GroupNorm", Applicability.UNSAFE), fix("Frozen", Applicability.UNSAFE), IN_WORDS)


def test_without_findings_there_is_nothing_to_ask():
    assert Session([]).view == Finished(picks=())


def test_findings_without_edits_are_passed_over():
    assert Session([item(fixes=(IN_WORDS, REFUSED)), item(fixes=())]).view == Finished(picks=())


def test_the_first_question():
    items = [item(fixes=()), item(line=2), item(line=3)]
    assert Session(items).view == Question(number=1, total=2, item=items[1], fix=0, answers=Session(items).view.answers)
    assert [(answer.key, answer.words) for answer in Session(items).view.answers] == [
        ("y", "yes"), ("n", "no"), ("a", "all of NA102"), ("s", "skip NA102"), ("e", "explain"), ("q", "quit"),
    ]  # fmt: skip


def test_only_answers_that_would_do_something_are_offered():
    assert keys(Session([item()]).view) == "yneq"
    assert keys(Session([item(), item("NA101")]).view) == "yneq"
    assert keys(Session([item(), item()]).view) == "ynaseq"
    assert keys(Session([item(fixes=THREE)]).view) == "ynceq"
    assert keys(press(Session([item(), item()]), "n")) == "yneuq"


def test_yes_tries_the_fix_and_goes_on_when_it_holds():
    items = [item(), item("NA104")]
    session = Session(items)
    assert session.handle(Pressed("y")) == Checking(held=(), new=(Pick(0, 0),))
    view = session.handle(Verified(held=(Pick(0, 0),), proof="equal in float64"))
    assert (view.item, view.number, view.notices) == (items[1], 2, ("fixed: equal in float64",))
    assert session.handle(Pressed("Y")) == Checking(held=(Pick(0, 0),), new=(Pick(1, 0),))
    assert session.handle(Verified(held=(Pick(0, 0), Pick(1, 0)))) == Finished(picks=(Pick(0, 0), Pick(1, 0)), notices=("fixed",))


def test_no_leaves_it():
    assert press(Session([item(), item()]), "nn") == Finished(picks=(), declined=frozenset({0, 1}))


def test_all_of_a_rule_tries_the_same_fix_of_its_later_findings():
    two = (fix("Remove the first", Applicability.UNSAFE), fix("Remove the second", Applicability.UNSAFE))
    items = [item(line=1), item("NA104", 2, two), item("NA104", 3, two[::-1]), item(line=4), item("NA104", 5, (two[0],)), item("NA104", 6)]
    session = Session(items)
    assert press(session, "n").item is items[1]
    press(session, "c2")
    assert session.handle(Pressed("a")) == Checking(held=(), new=(Pick(1, 1), Pick(2, 0)))
    view = session.handle(Verified(held=(Pick(1, 1), Pick(2, 0))))
    assert (view.item, view.notices) == (items[3], ("fixed 2 findings",))


def test_all_never_takes_a_fix_of_another_applicability():
    session = Session([item(), item(fixes=(fix(applicability=Applicability.UNSAFE),))])
    assert keys(session.view) == "ynseq"


def test_skip_leaves_all_later_findings_of_the_rule():
    items = [item(), item("NA104"), item()]
    session = Session(items)
    view = session.handle(Pressed("s"))
    assert (view.item, view.notices) == (items[1], ("skipped 2 findings of NA102",))
    assert session.handle(Pressed("n")) == Finished(picks=(), declined=frozenset({0, 1, 2}))


def test_a_fix_that_is_rolled_back_is_told_and_the_next_finding_asked():
    items = [item(), item("NA104")]
    session = Session(items)
    session.handle(Pressed("y"))
    view = session.handle(Verified(held=(), failed=((Pick(0, 0), "outputs differ by .5"),)))
    assert (view.item, view.notices) == (items[1], ("rolled back: outputs differ by .5",))
    assert keys(view) == "yneq"  # nothing was decided that could be undone


def test_after_a_fix_that_is_rolled_back_the_finding_is_asked_again_with_its_other_fixes():
    session = Session([item(fixes=THREE)])
    session.handle(Pressed("y"))
    view = session.handle(Verified(held=(), failed=((Pick(0, 0), "the model does not build"),)))
    assert (view.fix, view.notices) == (1, ("rolled back: the model does not build", "another fix of the same finding:"))
    assert session.handle(Pressed("c")).failed == ((0, "the model does not build"),)
    assert session.handle(Pressed("1")).notices == ("1 was rolled back: the model does not build",)
    session.handle(Pressed("b"))
    session.handle(Pressed("y"))
    assert session.handle(Verified(held=(), failed=((Pick(0, 1), "no"),))) == Finished(picks=(), notices=("rolled back: no",))


def test_of_several_that_are_rolled_back_each_is_told_with_its_place():
    items = [item(line=3), item(line=4), item(line=5)]
    session = Session(items)
    session.handle(Pressed("a"))
    failed = ((Pick(0, 0), "differs"), (Pick(2, 0), "does not parse"))
    assert session.handle(Verified(held=(Pick(1, 0),), failed=failed)) == Finished(
        picks=(Pick(1, 0),),
        notices=("fixed", "rolled back net.py:3 NA102: differs", "rolled back net.py:5 NA102: does not parse"),
    )


def test_findings_that_went_away_are_not_asked_about():
    items = [item(), item("NA104"), item("NA105")]
    session = Session(items)
    session.handle(Pressed("y"))
    view = session.handle(Verified(held=(Pick(0, 0),), gone=frozenset({1})))
    assert (view.item, view.notices) == (items[2], ("fixed; 1 more finding went away with it",))
    assert session.handle(Pressed("u")).item is items[0]
    assert press(session, "n").item is items[1]


def test_a_fix_that_changes_the_same_text_waits():
    items = [item(), item("NA104"), item("NA105")]
    session = Session(items)
    press(session, "y")
    session.handle(Pressed("y"))
    view = session.handle(Verified(held=(Pick(0, 0),), waiting=frozenset({1})))
    assert (view.item, view.notices) == (items[2], ("it changes the same text as a fix that holds: this is asked again afterwards",))
    assert session.handle(Pressed("u")).item is items[1]
    session.handle(Pressed("y"))
    session.handle(Verified(held=(Pick(0, 0),), waiting=frozenset({1})))
    assert press(session, "n") == Finished(picks=(Pick(0, 0),), waiting=frozenset({1}), declined=frozenset({2}))


def test_choosing_another_fix():
    fixes = (*THREE, REFUSED)
    session = Session([item(fixes=fixes)])
    assert session.handle(Pressed("c")) == Menu(item=item(fixes=fixes), fix=0)
    assert session.handle(Pressed("9")).notices == ("press 1 to 4, or b to go back",)
    assert session.handle(Pressed("\u0663")).notices == ("press 1 to 4, or b to go back",)
    assert session.handle(Pressed("3")).notices == ("3 cannot be applied: it is in words only",)
    assert session.handle(Pressed("4")).notices == ("4 cannot be applied: net.py:3 builds it in a loop",)
    assert session.handle(Pressed("2")).fix == 1
    assert session.handle(Pressed("c")).fix == 1
    assert session.handle(Pressed("b")).fix == 1
    assert session.handle(Pressed("y")) == Checking(held=(), new=(Pick(0, 1),))


def test_where_the_preferred_fix_is_in_words_another_has_to_be_chosen():
    session = Session([item(fixes=(IN_WORDS, THREE[0]))])
    assert (session.view.fix, keys(session.view)) == (0, "nceq")
    assert keys(press(session, "c2")) == "ynceq"


def test_a_preferred_fix_that_the_source_refuses_gives_way_to_the_next():
    assert Session([item(fixes=(REFUSED, THREE[0]))]).view.fix == 1


def test_explaining_comes_back_to_the_question():
    session = Session([item()])
    before = session.view
    assert session.handle(Pressed("e")) == Explanation("NA102")
    assert session.handle(Explained()) == before


def test_undo_takes_back_one_answer_at_a_time():
    items = [item(line=1), item(line=2), item("NA104", line=3), item("NA104", line=4)]
    session = Session(items)
    press(session, "yns")
    declined = frozenset({1, 2, 3})
    assert session.view == Finished(picks=(Pick(0, 0),), notices=("skipped 2 findings of NA104",), declined=declined)
    session = Session(items)
    press(session, "yn")
    for expected in (items[1], items[0]):
        view = session.handle(Pressed("u"))
        assert (view.item, view.notices) == (expected, ("took the last answer back",))
    assert "u" not in keys(view)
    assert session.handle(Pressed("q")) == Finished(picks=(), left=4, ended=True)


def test_undo_of_all_takes_all_back():
    session = Session([item(), item(), item("NA104")])
    press(session, "au")
    assert session.handle(Pressed("q")) == Finished(picks=(), left=3, ended=True)


@pytest.mark.parametrize("key", ["q", "Q", ""])
def test_quit_and_the_end_of_input_keep_what_holds(key):
    session = Session([item(), item("NA104"), item("NA105")])
    press(session, "y")
    assert session.handle(Pressed(key)) == Finished(picks=(Pick(0, 0),), left=2, ended=True)


def test_the_end_of_input_in_the_menu():
    session = Session([item(fixes=THREE)])
    session.handle(Pressed("c"))
    assert session.handle(Pressed("")) == Finished(picks=(), left=1, ended=True)


@pytest.mark.parametrize("key", ["x", "u", "a", "\n", "\x1b", "ä"])
def test_other_keys_say_which_ones_there_are(key):
    session = Session([item()])
    assert session.handle(Pressed(key)).notices == ("press one of y n e q",)


def test_events_that_answer_something_else_are_refused():
    with pytest.raises(ValueError, match="Explained"):
        Session([item()]).handle(Explained())


fix_strategy = st.builds(
    fix,
    title=st.sampled_from(["one", "two", ""]),
    applicability=st.sampled_from(Applicability),
    edits=st.sampled_from([(), (EDIT,)]),
)
item_strategy = st.builds(
    item, rule=st.sampled_from(["NA101", "NA102"]), fixes=st.lists(fix_strategy, max_size=3).map(tuple)
)


@given(st.lists(item_strategy, max_size=5), st.data())
def test_whatever_is_pressed(items, data):
    """Every session ends, and what is picked has edits, one fix for a finding."""
    session = Session(items)
    pressed = 0
    while not isinstance(session.view, Finished):
        match session.view:
            case Checking(held=held, new=new):
                bad = data.draw(st.sets(st.sampled_from([*held, *new])))
                kept = tuple(pick for pick in (*held, *new) if pick not in bad)
                session.handle(Verified(held=kept, failed=tuple((pick, "no") for pick in sorted(bad))))
            case Explanation():
                session.handle(Explained())
            case _:
                pressed += 1
                session.handle(Pressed(data.draw(st.sampled_from("ynasceu123b?")) if pressed < 30 else ""))
    picks = session.view.picks
    assert all(items[pick.item].fixes[pick.fix].edits for pick in picks)
    assert len({pick.item for pick in picks}) == len(picks)
