"""Events of scripts against rules: what matches, what is one finding, what is silent."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from normadvisor.errors import RuleError
from normadvisor.match import match_script
from normadvisor.match.script import ScriptFindings, script_findings
from normadvisor.rulebook import load_rules
from normadvisor.rulebook.model import Adjustment, Clause, Definitions, FixTemplate, Pattern, ScriptSide
from normadvisor.script.events import Event, ScriptModel
from normadvisor.types import Applicability, Confidence, Edit, Location, Related, RunContext, Severity
from normadvisor.types.events import EVENTS

ROOT = Path("/project")
TRAIN, ENGINE, ELSEWHERE = "/project/train.py", "/project/engine.py", "/other/engine.py"


def at(line, path=TRAIN, column=5):
    return Location(path, line, column, line, column + 8)


def call(line, *, kind="model_call", path=TRAIN, text="model(x)", places=(), **attributes):
    known = {"model": "model", "function": "evaluate", "mode": "train", "batchnorm": "yes", **attributes}
    return Event(kind, at(line, path), known, {name: (at(place), f"{name} here") for name, place in places}, text)


def check(events, *rules, context=None, modules=None, root=ROOT):
    return match_script(ScriptModel(path=TRAIN, events=tuple(events)), rules, context or RunContext(), root=root, modules=modules or {})


@pytest.fixture
def rule(rule_of):
    def made(where="call.mode == 'train'", *, op="model_call", **fields):
        pattern = Pattern(node="call", op=op, where=where, any_of=fields.pop("any_of", []), without=fields.pop("without", []))
        return rule_of(pattern, **{"scope": "script", "message": "{call.model}", **fields})

    return made


def test_a_finding_carries_everything_the_rule_says(rule):
    spoken = rule(
        message="{call.model} in {call.function}:\n  {call.text}, {call}, {matches}",
        related=["switch", "built", "layer"],
        evidence={"mode": "call.mode", "layers": "call.layers", "ratio": "call.batch_size / 3", "places": "call.places"},
        fix=FixTemplate(applicability=Applicability.UNSAFE, description="call {call.model}.eval()"),
        confidence=Confidence.SUSPECTED,
    )
    (finding,) = check([call(9, layers=("BatchNorm2d at net.py:3",), batch_size=4, places=[("built", 3), ("switch", 5)])], spoken)
    fingerprint = finding.fingerprint
    assert finding.to_dict() == {
        "rule": "AA001", "name": "a-rule", "severity": "warning", "confidence": "suspected",
        "message": "model in evaluate: model(x), model(x), 1",
        "path": TRAIN, "line": 9, "column": 5, "end_line": 9, "end_column": 13, "cell": None, "model": None, "modules": [],
        "related": [
            {"path": TRAIN, "line": 5, "message": "switch here", "cell": None}, {"path": TRAIN, "line": 3, "message": "built here", "cell": None},
        ],
        "evidence": {"mode": "train", "layers": ["BatchNorm2d at net.py:3"], "ratio": 4 / 3, "places": ["built", "switch"]},
        "fix": {
            "applicability": "unsafe", "description": "call model.eval()", "edits": [], "title": "", "trade_off": "", "operations": [],
            "refused": "",
        },
        "alternatives": [],
        "suppressed": None, "fingerprint": fingerprint,
    }  # fmt: skip
    assert len(fingerprint) == 16


def test_only_events_of_the_kind_match(rule):
    events = [call(1), call(2, kind="export"), call(3, mode="eval")]
    assert [finding.line for finding in check(events, rule())] == [1]
    assert [finding.line for finding in check(events, rule(op=["export", "model_call"]))] == [1]
    assert check(events, rule(op="loss_call")) == []
    assert check([], rule()) == []


def test_alternatives_and_exceptions(rule):
    spoken = rule(
        any_of=[Clause(where="call.batchnorm == 'yes'"), Clause(where="call.dropout == 'yes'")],
        without=[Clause(where="call.deliberate is not None"), Clause(where="call.model is None")],
    )
    events = [
        call(1, model="a"), call(2, model="b", batchnorm="no"), call(3, model="c", batchnorm="no", dropout="yes"), call(4, model="d", deliberate="sampling"),
        call(5, model=None),
    ]  # fmt: skip
    assert [finding.line for finding in check(events, spoken)] == [1, 3]


def test_the_context_and_values_of_the_rule_are_known(rule):
    spoken = rule("small and call.mode == 'train'", define=Definitions(values={"limit": "4 * 2", "small": "context.per_device_batch <= limit"}))
    context = RunContext(batch_size=32, world_size=8)
    assert len(check([call(1)], spoken, context=context)) == 1
    assert check([call(1)], spoken, context=RunContext(batch_size=32)) == []
    assert check([call(1)], spoken) == []
    timed = rule(when="context.task == 'rl'")
    assert [len(check([call(1)], timed, context=RunContext(task=task))) for task in ("rl", "video")] == [1, 0]


def test_the_script_side_of_a_graph_rule(rule_of):
    side = ScriptSide(
        pattern=Pattern(node="call", op="model_call"), message="{call.model} here", severity=Severity.ERROR, confidence=Confidence.SUSPECTED,
    )  # fmt: skip
    both = rule_of(Pattern(node="conv", op="conv"), define=Definitions(values={"nodes": "model.nodes"}), script=side)
    (finding,) = check([call(4)], both)
    assert (finding.message, finding.severity, finding.confidence, finding.fix) == ("model here", "error", "suspected", None)
    assert check([call(4)], rule_of(Pattern(node="conv", op="conv"))) == []


def test_at_one_place_the_worst_speaks(rule):
    spoken = rule(
        "True", message="{call.mode}",
        adjust=[
            Adjustment(when="call.mode == 'mixed'", severity=Severity.ERROR, message="mixed {call.model}"),
            Adjustment(when="call.mode == 'train'", confidence=Confidence.SUSPECTED),
            Adjustment(when="True", severity=Severity.INFO),
        ],
    )  # fmt: skip
    found = check([call(7, mode="eval"), call(7, mode="mixed"), call(7, mode="train")], spoken)
    assert [(finding.message, finding.severity, finding.related) for finding in found] == [("mixed model", "error", ())]
    (finding,) = check([call(7, mode="train"), call(7, mode="train", model="other")], spoken)
    assert (finding.severity, finding.confidence) == ("warning", "suspected")


def test_one_mistake_in_one_function_is_one_finding(rule):
    events = [call(9, text="model(b)", places=[("switch", 3)]), call(7, places=[("switch", 3)]), call(8, model="other", places=[("switch", 3)])]
    first, second = check(events, rule())
    assert (first.line, first.related) == (7, (Related(TRAIN, 9, "here as well: `model(b)`"),))
    assert (second.line, second.related) == (8, ())
    apart = [call(7, places=[("switch", 3)]), call(8, places=[("switch", 4)]), call(9, places=[("switch", 3)], function="test")]
    assert [finding.line for finding in check(apart, rule())] == [7, 8, 9]
    built = [call(7, places=[("built", 3)]), call(8, places=[("built", 3)])]
    assert [finding.line for finding in check(built, rule())] == [7]


def test_a_warning_leads_over_an_earlier_remark(rule):
    spoken = rule(adjust=[Adjustment(when="call.deliberate is not None", severity=Severity.INFO)])
    (finding,) = check([call(3, deliberate="sampling", places=[("built", 1)]), call(5, places=[("built", 1)])], spoken)
    assert (finding.line, finding.severity, [related.line for related in finding.related]) == (5, "warning", [3])


def test_what_is_written_twice_in_one_function_is_one_finding(rule):
    drops = [call(line, model=None, kind="dropout_call", text="F.dropout(x)") for line in (3, 4)]
    built = call(5, model=None, kind="dropout_call", text="nn.Dropout()(x)", constructed=True)
    first, second = check([*drops, built], rule(op="dropout_call"))
    assert (first.line, first.related) == (3, (Related(TRAIN, 4, "here as well: `F.dropout(x)`"),))
    assert (second.line, second.related) == (5, ())
    assert first.fingerprint != second.fingerprint
    losses = [call(line, kind="loss_call", loss="cross_entropy", activation=how) for line, how in ((3, "softmax"), (4, "softmax"), (5, "log_softmax"))]
    assert [finding.line for finding in check(losses, rule(op="loss_call"))] == [3, 5]


def test_events_without_a_model_stay_apart(rule):
    events = [call(line, model=None, kind="initialization", text="nn.init.zeros_(p)") for line in (3, 4)]
    first, second = check(events, rule(op="initialization"))
    assert (first.line, second.line) == (3, 4)
    assert first.fingerprint != second.fingerprint


def test_a_finding_may_point_at_a_place_of_the_event(rule):
    step = [call(line, kind="optimizer_step", text="optimizer.step()", places=[("switch", 4)]) for line in (20, 30)]
    spoken = rule(op="optimizer_step", at="switch", related=["switch", "built"])
    (finding,) = check(step, spoken)
    assert (finding.line, finding.related) == (4, (Related(TRAIN, 20, "leads to `optimizer.step()`"),))
    (finding,) = check([call(20, kind="optimizer_step")], spoken)
    assert finding.line == 20


def test_a_file_outside_the_root_is_reported_at_the_call_that_led_there(rule):
    inside = call(9, path=ENGINE, places=[("entered_from", 30)])
    outside = call(9, path=ELSEWHERE, places=[("entered_from", 30)], text="model(images)")
    imported = call(9, path=ELSEWHERE)
    assert [(finding.path, finding.line) for finding in check([inside], rule())] == [(ENGINE, 9)]
    spoken = rule(related=["entered_from"], fix=FixTemplate(applicability=Applicability.UNSAFE, description="eval()", edit="insert_eval"))
    (finding,) = check([outside], spoken, modules={ELSEWHERE: None})
    assert (finding.path, finding.line) == (TRAIN, 30)
    assert finding.related == (Related(ELSEWHERE, 9, "leads to `model(images)`"),)
    assert (finding.fix.description, finding.fix.edits) == ("eval()", ())
    assert check([imported], rule()) == []


def test_it_may_be_decided_later_which_other_files_are_looked_at(rule):
    events = [call(3), call(9, path=ENGINE, places=[("entered_from", 30)]), call(7, path=ELSEWHERE, places=[("entered_from", 31)])]
    found = script_findings(ScriptModel(path=TRAIN, events=tuple(events)), [rule()], RunContext(), modules={})
    assert [(finding.path, finding.line) for finding in found.own] == [(TRAIN, 3)]
    assert {path: ([item.line for item in other.there], [item.line for item in other.here]) for path, other in found.elsewhere.items()} == {
        ENGINE: ([9], [30]), ELSEWHERE: ([7], [31]),
    }  # fmt: skip
    assert [(finding.path, finding.line) for finding in found.within(lambda path: path == ENGINE)] == [(ENGINE, 9), (TRAIN, 3), (TRAIN, 31)]
    assert script_findings(ScriptModel(path=TRAIN), [rule()], RunContext(), modules={}) == ScriptFindings()


@pytest.mark.parametrize(
    ("other", "lines"),
    [
        (call(7), [("AA001", 7)]),
        (call(9, places=[("switch", 3)]), [("AA001", 7)]),
        (call(9, places=[("switch", 4)]), [("AA001", 7), ("AA002", 9)]),
        (call(9), [("AA001", 7), ("AA002", 9)]),
    ],
    ids=["same place", "same cause", "other cause", "no cause"],
)
def test_a_more_precise_rule_silences(rule, other, lines):
    precise = rule("call.purpose == 'inference'")
    broad = rule("call.purpose != 'inference' or call.model is not None", id="AA002", silenced_by=["AA001"])
    events = [call(7, purpose="inference", places=[("switch", 3)]), other]
    assert [(finding.rule, finding.line) for finding in check(events, broad, precise)] == lines
    assert {finding.rule for finding in check(events, broad)} == {"AA002"}


def test_a_cell_of_a_notebook_is_a_place_of_its_own(rule):
    def cell(number):
        event = call(2)
        event.location = Location("/project/book.ipynb", 2, 1, 2, 9, cell=number)
        event.places = {"built": (Location("/project/book.ipynb", 2, 1, cell=1), "built here")}
        return event

    (finding,) = check([cell(5), cell(4)], rule(related=["built"]))
    assert (finding.cell, finding.line) == (4, 2)
    assert [(related.cell, related.line) for related in finding.related] == [(1, 2), (5, 2)]


def test_fingerprints_survive_moved_lines_and_renamed_files(rule):
    def prints(events):
        return [finding.fingerprint for finding in check(events, rule())]

    before = prints([call(3, function="a"), call(7, function="b"), call(9, function="b", text="model( y )", model="m")])
    moved = prints([call(13, function="a"), call(17, path=ENGINE, function="b"), call(29, function="b", text="model(\n y\n)", model="m")])
    assert len(set(before)) == 3
    assert set(moved) == set(before)
    assert prints([call(3, function="c")])[0] not in before


def test_edits_are_made_where_the_source_is_at_hand(rule, monkeypatch):
    made = []

    class Edits:
        @staticmethod
        def edits_for(action, event, module):
            made.append((action, event.text, module))
            return (Edit(TRAIN, 9, 1, 9, 1, "model.eval()\n"),)

    monkeypatch.setitem(sys.modules, "normadvisor.script.edits", Edits)
    fix = FixTemplate(applicability=Applicability.UNSAFE, description="x", edit="insert_eval")
    (finding,) = check([call(9)], rule(fix=fix), modules={TRAIN: "module"})
    assert (finding.fix.edits, made) == ((Edit(TRAIN, 9, 1, 9, 1, "model.eval()\n"),), [("insert_eval", "model(x)", "module")])
    (finding,) = check([call(9)], rule(fix=fix))
    assert finding.fix.edits == ()


def test_an_expression_that_fails_names_the_rule(rule):
    with pytest.raises(RuleError) as caught:
        check([call(3)], rule("call.model < 3"))
    assert str(caught.value).startswith("AA001: where of `call`: 'call.model < 3' cannot be evaluated")


def test_rules_can_be_sent_to_other_processes(rule):
    sent = pickle.loads(pickle.dumps(rule()))
    assert [finding.line for finding in check([call(3)], sent)] == [3]


def test_every_builtin_script_rule_runs_on_events_of_which_nothing_is_known():
    rules = list(load_rules())
    events = [Event(kind, at(line)) for line, kind in enumerate(EVENTS, 1)]
    blank = [Event(kind, at(line), dict.fromkeys(attributes)) for line, (kind, attributes) in enumerate(EVENTS.items(), 1)]
    unknown = [Event(kind, at(line), dict.fromkeys(attributes, "unknown")) for line, (kind, attributes) in enumerate(EVENTS.items(), 1)]
    assert check(events, *rules) == []
    assert check(blank, *rules) == []
    assert check([event for event in unknown if event.kind in {"model_call", "export", "optimizer_step"}], *rules) == []


def test_matching_scripts_imports_neither_torch_nor_what_graphs_need():
    code = (
        "import sys\nfrom pathlib import Path\nfrom normadvisor.match import match_script\nfrom normadvisor.rulebook import load_rules\n"
        "from normadvisor.script.events import Event, ScriptModel\nfrom normadvisor.types import Location, RunContext\n"
        "event = Event('optimizer', Location('a.py', 1), {'weight_decay': 0.1, 'covers_norm': 'yes', 'norm_layers': ['BatchNorm2d at a.py:1']})\n"
        "script = ScriptModel(path='a.py', events=(event,))\n"
        "found = match_script(script, list(load_rules()), RunContext(), root=Path(), modules={})\n"
        "print([finding.rule for finding in found], sorted({'torch', 'pydantic', 'normadvisor.match.engine', 'normadvisor.graph'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "['NA508'] []\n"


def test_layers_are_named_by_file_and_line(rule):
    layers = ["BatchNorm2d at /home/me/my at home/net.py:3", "BatchNorm2d at C:\\me\\net.py:3", "Dropout", "BatchNorm2d at net.py:4"]
    (finding,) = check([call(9, layers=layers)], rule(evidence={"layers": "call.layers"}))
    assert finding.evidence == {"layers": ["BatchNorm2d at net.py:3", "Dropout", "BatchNorm2d at net.py:4"]}
