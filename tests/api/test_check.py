"""The library's entry: targets by name, and modules of this process."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import normadvisor
from normadvisor.api import SourceJob, check_source, check_sources
from normadvisor.errors import ConfigError, UsageError
from normadvisor.rulebook import load_rules
from normadvisor.types import RunContext


def model():
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 36, 10), nn.Softmax(-1))


def test_a_module_of_this_process_is_checked_and_left_as_it_was(in_folder):
    net = model().eval()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    report = normadvisor.check(net, loss="cross_entropy")
    assert [(finding.rule, finding.model, finding.modules) for finding in report.active] == [
        ("NA102", "Sequential", ("0",)),
        ("NA501", "Sequential", ("5",)),
    ]
    assert [(entry.target, entry.inputs, entry.error) for entry in report.models] == [("Sequential", "2x3x8x8", None)]
    assert all(not module.training for module in net.modules())
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


@pytest.mark.parametrize("inputs", ["2x3x8x8", ["2x3x8x8"], torch.zeros(2, 3, 8, 8), (torch.zeros(2, 3, 8, 8),)])
def test_inputs_are_text_or_tensors(in_folder, inputs):
    (entry,) = normadvisor.check(model(), inputs=inputs).models
    assert entry.inputs.removesuffix(":float32") == "2x3x8x8"


def test_a_module_that_does_not_take_the_inputs_is_a_problem(in_folder):
    report = normadvisor.check(model(), inputs="2x5x8x8")
    assert [problem.target for problem in report.problems] == ["Sequential"]
    assert report.exit_code() == 2


def test_a_target_by_name_is_checked_in_a_worker(in_folder):
    (in_folder / "net.py").write_text("from torch import nn\nmodel = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8))\n")
    report = normadvisor.check("net.py")
    assert [(finding.rule, finding.line) for finding in report.active] == [("NA102", 2)]


@pytest.mark.parametrize("wrong", [3, None, object()])
def test_what_is_no_target_is_refused(in_folder, wrong):
    with pytest.raises(UsageError, match="cannot be checked"):
        normadvisor.check(wrong)


def test_unknown_context_is_refused(in_folder):
    with pytest.raises(ConfigError, match="unknown context key 'batchsize'"):
        normadvisor.check(model(), batchsize=2)


CODE = "from torch import nn\n\n{pragma}\ndef build(width=8):\n    return nn.Sequential(nn.Conv2d(3, width, 3), nn.BatchNorm2d(width))\n"


@pytest.fixture(scope="module")
def rules():
    return {rule.id: rule for rule in load_rules()}


def test_sources_are_checked_with_their_own_rules_inputs_and_context(rules):
    bias, small = [rules["NA102"]], [rules["NA201"]]
    jobs = [
        SourceJob(code=CODE.format(pragma=""), rules=bias),
        SourceJob(code=CODE.format(pragma=""), rules=small),
        SourceJob(code=CODE.format(pragma=""), rules=small, context=RunContext(batch_size=2)),
        SourceJob(code=CODE.format(pragma="# normadvisor: batch_size=2"), rules=small, inputs=["2x3x9x9"]),
        SourceJob(code=CODE.format(pragma=""), rules=bias, model="build(width=16)"),
        SourceJob(code="import torch\nraise ValueError('no')\nmodel = torch.nn.Sequential(torch.nn.ReLU())\n", rules=bias),
        SourceJob(code="def (", rules=bias),
        SourceJob(code="x = 1\n", rules=bias),
    ]
    reports = check_sources(jobs)
    assert [[(finding.rule, finding.path, finding.line) for finding in report.findings] for report in reports] == [
        [("NA102", "example.py", 5)], [], [("NA201", "example.py", 5)], [("NA201", "example.py", 5)], [("NA102", "example.py", 5)], [], [], [],
    ]  # fmt: skip
    assert [[(problem.message, problem.location.path) for problem in report.problems] for report in reports[4:]] == [
        [], [("importing example.py raised ValueError: no", "example.py")], [("not valid Python: invalid syntax", "example.py")], [],
    ]  # fmt: skip
    assert [len(report.models) for report in reports] == [1, 1, 1, 1, 1, 1, 0, 0]


def test_one_source(rules):
    assert [finding.rule for finding in check_source(CODE.format(pragma=""), rules=[rules["NA102"]]).findings] == ["NA102"]


def test_no_sources_need_no_worker():
    assert check_sources([]) == []


def test_inputs_in_the_place_of_settings_are_refused():
    with pytest.raises(UsageError, match="settings is a value of type tuple"):
        normadvisor.check("net.py", (1, 2))
