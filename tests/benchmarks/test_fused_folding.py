from __future__ import annotations

from benchmarks.fused.folding import measure
from benchmarks.fused.folding_models import first_of_files, in_turn
from benchmarks.fused.folding_table import table
from benchmarks.zoo.names import Entry


def test_measures_a_model():
    row = measure(Entry("torchvision", "mnasnet0_5", ""))
    errors, _ = row.pop("errors"), row.pop("seconds")
    assert row == {
        "family": "torchvision", "name": "mnasnet0_5", "input": "2x3x64x64", "norms": 52, "fx": 52, "legal": 52, "folded": 52, "left": {},
        "kinds": {"conv2d + batch_norm -> conv2d": 52, "dropout in eval mode -> identity": 1}, "missed": {}, "beyond": [],
    }  # fmt: skip
    assert list(errors) == ["apart", "original", "folded", "original_rms", "folded_rms", "function"]
    assert errors["function"] < 1e-12 < errors["folded"] < 1e-5
    assert errors["folded_rms"] < errors["folded"]
    assert 0.5 < errors["folded_rms"] / errors["original_rms"] < 2


def test_tells_what_could_not_be_measured():
    row = measure(Entry("torchvision", "no_such_model", ""))
    assert "no_such_model" in row["problem"].lower()


def test_takes_every_kind_of_model_before_another_of_the_same():
    names = ["resnet152", "resnet18", "densenet121", "resnet50"]
    ordered = in_turn([Entry("torchvision", name, "") for name in names])
    assert [entry.name for entry in ordered] == ["resnet18", "densenet121", "resnet50", "resnet152"]
    assert [entry.name for entry in first_of_files(ordered)] == ["resnet18", "densenet121"]


def test_writes_the_page():
    small = {"apart": 2e-7, "original": 2e-7, "folded": 3e-7, "function": 1e-15, "original_rms": 1e-7, "folded_rms": 1.5e-7}
    large = {"apart": 2e-3, "original": 2e-4, "folded": 5e-4, "function": 1e-12, "original_rms": 1e-4, "folded_rms": 2e-4}
    rows = [
        {
            "family": "timm", "name": "a", "input": "2x3x64x64", "norms": 5, "fx": 2, "legal": 3, "folded": 4, "left": {"bn5": "relu stands before it"},
            "missed": {}, "beyond": ["bn1"], "errors": small, "harsh": large,
        },
        {
            "family": "timm", "name": "b", "input": "2x3x64x64", "norms": 2, "fx": "TraceError", "legal": 2, "folded": 0,
            "left": {"bn1": "relu stands before it", "bn2": ""}, "missed": {"bn2": "ahead"}, "beyond": [], "errors": {"apart": 1e-7},
        },
        {"family": "timm", "name": "c", "norms": 0},
        {"family": "timm", "name": "d", "problem": "it is no model"},
    ]  # fmt: skip
    lines = table(rows, 9, "python -m something").splitlines()
    assert lines[2].endswith("Made by `python -m something`.")
    assert [
        line for line in lines if line.startswith(("- ", "|", "Mild statistics, ", "Harsh statistics, ", "Folded over", "Largest error"))
    ] == [
        "- 4 of 9 models, taken one of each file of source code after another, small ones first; 1 could not be measured.",
        "- 2 have batch norms that run with stored statistics, 7 in all. 4 of these were folded.",
        "- `torch.fx.experimental.optimization.fuse` folds 2, and does not run on 1 of the models.",
        "| model | legal and not folded | how | the reason given |",
        "| --- | --- | --- | --- |",
        "| b | bn2 | ahead |  |",
        "| reason | norms | models | for example | what it is |",
        "| --- | ---: | ---: | --- | --- |",
        "| relu stands before it | 2 | 2 | a: bn5 | an activation stands before it, and another, a sum or a padded layer behind it |",
        "| not looked at | 1 | 1 | b: bn2 |  |",
        "Mild statistics, 1 models (1 more have no copy in float64):",
        "| | original | folded | the function |",
        "| --- | ---: | ---: | ---: |",
        "| median | 2.0e-07 | 3.0e-07 | 1.0e-15 |",
        "| largest | 2.0e-07 (a) | 3.0e-07 (a) | 1.0e-15 (a) |",
        "| models above 1e-04 | 0 | 0 | 0 |",
        "Folded over original, root of the mean square: median 1.50, from 1.50 to 1.50.",
        "Largest error of the folded above 2 times that of the original: none.",
        "Harsh statistics, 1 models (0 more have no copy in float64):",
        "| | original | folded | the function |",
        "| --- | ---: | ---: | ---: |",
        "| median | 2.0e-04 | 5.0e-04 | 1.0e-12 |",
        "| largest | 2.0e-04 (a) | 5.0e-04 (a) | 1.0e-12 (a) |",
        "| models above 1e-04 | 1 | 1 | 0 |",
        "Folded over original, root of the mean square: median 2.00, from 2.00 to 2.00.",
        "Largest error of the folded above 2 times that of the original: a (2.0e-04, 5.0e-04).",
        "| harsh statistics | original | folded | the function | folded over original, typical |",
        "| --- | ---: | ---: | ---: | ---: |",
        "| a | 2.0e-04 | 5.0e-04 | 1.0e-12 | 2.00 |",
        "| model | input | norms | folded | legal | fx fuse | original | folded | the function |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
        "| a | 2x3x64x64 | 5 | 4 | 3 | 2 | 2.0e-07 | 3.0e-07 | 1.0e-15 |",
        "| b | 2x3x64x64 | 2 | 0 | 2 | TraceError |  | 1.0e-07 |  |",
        "- d: it is no model",
    ]
