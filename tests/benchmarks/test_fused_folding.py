from __future__ import annotations

from benchmarks.fused.folding import measure
from benchmarks.fused.folding_models import in_turn
from benchmarks.fused.folding_table import table
from benchmarks.zoo.names import Entry


def test_measures_a_model():
    row = measure(Entry("torchvision", "mnasnet0_5", ""))
    error, _ = row.pop("error"), row.pop("seconds")
    assert len(row.pop("pair_names")) == 52
    assert row == {
        "family": "torchvision", "name": "mnasnet0_5", "input": "2x3x64x64", "norms": 52, "fx": 52, "folds": 52, "refused": {},
        "pairs": 52, "folded": 52,
    }  # fmt: skip
    assert 0 < error < 1e-5


def test_tells_what_could_not_be_measured():
    row = measure(Entry("torchvision", "no_such_model", ""))
    assert "no_such_model" in row["problem"].lower()


def test_takes_every_kind_of_model_before_another_of_the_same():
    names = ["resnet152", "resnet18", "densenet121", "resnet50"]
    ordered = in_turn([Entry("torchvision", name, "") for name in names])
    assert [entry.name for entry in ordered] == ["resnet18", "densenet121", "resnet50", "resnet152"]


def test_writes_the_page():
    rows = [
        {
            "family": "timm", "name": "a", "input": "2x3x64x64", "norms": 5, "fx": 2, "folds": 3, "refused": {"relu": 2}, "pairs": 3,
            "folded": 4, "error": 2e-7,
        },
        {
            "family": "timm", "name": "b", "input": "2x3x64x64", "norms": 1, "fx": "TraceError", "folds": 0, "refused": {"relu": 1},
            "pairs": 1, "folded": 0, "error": 2e-3, "error64": 1e-12,
        },
        {"family": "timm", "name": "c", "norms": 0},
        {"family": "timm", "name": "d", "problem": "it is no model"},
    ]  # fmt: skip
    lines = table(rows, 9).splitlines()
    assert [line for line in lines if line and not line.startswith("`python")] == [
        "# Folding: torchvision and timm",
        "- 4 of 9 models, taken one of each file of source code after another, small ones first; 1 could not be measured.",
        "- 2 have batch norms, 6 runs of one in all. 4 were folded.",
        "- `torch.fx.experimental.optimization.fuse` folds 2, and does not run on 1 of the models.",
        "- The graph that autograd records shows 4 pairs of a layer and a norm that nothing comes between.",
        "  Models in which fewer were folded: b.",
        "- Largest relative error in float32: 2.0e-03, of 2 models that were run.",
        "Above 1e-04: b (2.0e-03, in float64 1.0e-12)",
        "Norms that no layer beside them takes up; merging parallel branches takes 1 of them in after all.",
        "| reason | norms |",
        "| --- | ---: |",
        "| relu | 3 |",
        "| model | input | norms | folded | pairs in autograd's graph | fx fuse | error | in float64 |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |",
        "| a | 2x3x64x64 | 5 | 4 | 3 | 2 | 2.0e-07 |  |",
        "| b | 2x3x64x64 | 1 | 0 | 1 | TraceError | 2.0e-03 | 1.0e-12 |",
        "Not measured:",
        "- d: it is no model",
    ]
