"""The tables of the diagnosis benchmark, on rows made by hand."""

import pytest

pytest.importorskip("sklearn", reason="the digits that the networks are trained on are scikit-learn's (extra: zoo)")

from benchmarks.probe.diagnosis import families, measure, plants, table
from benchmarks.probe.diagnosis.network import KINDS

REGISTERED = (families, plants)


def row(name, kind="healthy", said=(), **changes):
    family, plant, _ = name.split("/")
    return {
        "name": name,
        "family": family,
        "plant": "" if plant == "healthy" else plant,
        "kind": kind,
        "development": name.endswith(("0", "2")),
        "normadvisor": list(said),
        "information": [],
        "messages": [],
        "sagemaker": [],
        "autotrainer": [],
        "problem": "",
        "same_loss": True,
        "seconds": 2.0,
        **changes,
    }


ROWS = [
    row("mlp/healthy/0", sagemaker=["PoorWeightInitialization"]),
    row("mlp/healthy/1", said=["NA610"]),
    row("mlp/detached/0", "no-gradient", ["NA606"], sagemaker=["UnchangedTensor"], autotrainer=["relu"]),
    row("mlp/detached/1", "no-gradient", information=["NA608"], problem="it hung"),
    row("mlp/negative-bias-one/0", "dead", ["NA606"], sagemaker=["DeadRelu"], autotrainer=["vanish"], same_loss=False),
]
TRUTH = {
    "mlp/healthy/0": 0.9,
    "mlp/healthy/1": 0.7,
    "mlp/healthy/2": 0.1,
    "mlp/detached/0": 0.3,
    "mlp/detached/1": 0.5,
    "mlp/negative-bias-one/0": 0.1,
    "mlp/negative-bias-one/1": 0.69,
}


@pytest.fixture
def page(monkeypatch):
    monkeypatch.setattr(table, "known", lambda: {name: {"name": name, "skill": skill} for name, skill in TRUTH.items()})
    return table.lines(ROWS)


def part(page, title):
    start = page.index(title)
    after = [index for index, line in enumerate(page) if line.startswith("#") and index > start]
    return [line for line in page[start + 1 : min(after, default=len(page))] if line]


def test_overall_counts_alarms_names_and_false_alarms(page):
    assert part(page, "## Both halves")[:6] == [
        "| | recall: any alarm | recall: the trouble is named | false alarms |",
        "| --- | --- | --- | --- |",
        "| normadvisor | 0.667 (2 of 3) | 0.333 (1 of 3) | 0.500 (1 of 2) |",
        "| SageMaker Debugger | 0.667 (2 of 3) | 0.667 (2 of 3) | 0.500 (1 of 2) |",
        "| SageMaker Debugger, six rules | 0.667 (2 of 3) | 0.667 (2 of 3) | 0.000 (0 of 2) |",
        "| AutoTrainer | 0.667 (2 of 3) | 0.333 (1 of 3) | 0.000 (0 of 2) |",
    ]


def test_each_kind_has_its_line(page):
    lines = part(page, "## Both halves")[6:]
    assert [line.split(" | ")[0].strip("| ") for line in lines[2:]] == [*KINDS, "healthy"]
    assert "| dead | 1 | 1 | 0 | 1 | 1 | 1 | 1 | 1 | 0 |" in lines
    assert "| no-gradient | 2 | 1 | 1 | 1 | 1 | 1 | 1 | 1 | 1 |" in lines
    assert "| healthy | 2 | 1 |  | 1 |  | 0 |  | 0 |  |" in lines


def test_halves_are_apart_and_mistakes_are_listed(page):
    held_out = part(page, "## Held-out half")
    assert held_out[2] == "| normadvisor | 0.000 (0 of 1) | 0.000 (0 of 1) | 1.000 (1 of 1) |"
    assert held_out[-5:] == [
        "Missed: 1",
        "- mlp/detached/1 (no-gradient): A ``detach`` was left inside. Said: NA608 as information. it hung",
        "Alarmed, under another name: none",
        "False alarms: 1",
        "- mlp/healthy/1 (healthy): nothing odd. Said: NA610.",
    ]
    development = part(page, "## Development half")
    assert development[-4:] == [
        "Missed: none",
        "Alarmed, under another name: 1",
        "- mlp/negative-bias-one/0 (dead): The bias of one hidden layer before a rectifier begins far below zero. Said: NA606.",
        "False alarms: none",
    ]


def test_the_confusion_matrix_says_who_spoke_on_what(page):
    assert part(page, "### normadvisor: who says what") == [
        "| planted | networks | NA606 | NA610 | silent |",
        "| --- | --- | --- | --- | --- |",
        *(f"| {kind} | 0 |  |  | 0 |" for kind in ("vanishing", "exploding")),
        "| dead | 1 | 1 |  | 0 |",
        *(f"| {kind} | 0 |  |  | 0 |" for kind in ("saturated", "nan")),
        "| no-gradient | 2 | 1 |  | 1 |",
        *(f"| {kind} | 0 |  |  | 0 |" for kind in ("bad-init", "mode")),
        "| healthy | 2 |  | 1 | 1 |",
    ]


def test_the_ground_says_what_was_left_out(page):
    assert part(page, "## Ground") == [
        "1 families, 2 causes.",
        "Of 3 healthy networks that were trained, 1 did not learn and are left out;",
        "of 4 planted ones, 1 learned more than 0.75 of what their twins did and are left out.",
        "Skill (0 guessing, 1 knowing), quartiles:",
        "0.65, 0.80, 0.95 of the healthy ones, 0.10, 0.30, 0.50 of the planted ones.",
        "10 seconds of probing, one process per network.",
        "First losses that differ between the tools, where training draws nothing: mlp/negative-bias-one/0.",
    ]


def test_one_network_is_measured_and_judged_by_all(tmp_path):
    found = measure.measure("mlp/detached/0", tmp_path)
    assert found["normadvisor"] == ("NA606",)
    assert found["autotrainer"] == ("relu",)
    assert "UnchangedTensor" in found["sagemaker"]
    assert (found["kind"], found["development"], found["same_loss"], found["problem"]) == ("no-gradient", True, True, "")
    assert [path.name for path in tmp_path.iterdir()] == ["no-gradient__mlp__detached__0.json"]
