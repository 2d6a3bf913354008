"""``normadvisor.probe`` and ``normadvisor.audit`` on models of this process, which stay as they were."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from torch import nn

import normadvisor
from normadvisor import AuditError, NormAdvisorError, Severity
from normadvisor.api.audit import AuditReport
from normadvisor.api.shown import ProbeResult
from normadvisor.config import Settings

SHORT = {"steps": 3, "budget": 600}


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3)
        self.bn = nn.BatchNorm2d(8)
        self.act = nn.ReLU()
        self.last = nn.Linear(8, 4)

    def forward(self, x):
        return self.last(self.act(self.bn(self.conv(x))).mean((2, 3)))


@pytest.fixture
def model():
    torch.manual_seed(0)
    return Net()


@pytest.fixture
def settings(tmp_path):
    return Settings(root=tmp_path)


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(1)
    return torch.randn(6, 3, 12, 12, generator=generator), torch.randint(0, 4, (6,), generator=generator)


def everything(model, optimizer=None):
    state = {key: (value.data_ptr(), value.clone()) for key, value in model.state_dict(keep_vars=True).items()}
    flags = [module.training for module in model.modules()]
    return state, flags, torch.get_rng_state(), None if optimizer is None else optimizer.state_dict()


def same(one, other):
    return (
        all(one[0][key][0] == other[0][key][0] and torch.equal(one[0][key][1], other[0][key][1]) for key in one[0])
        and one[1] == other[1] and torch.equal(one[2], other[2]) and str(one[3]) == str(other[3])
    )  # fmt: skip


def test_a_model_is_measured_with_the_batch_and_the_loss_and_left_as_it_was(model, batch, settings):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    before = everything(model, optimizer)
    result = normadvisor.probe(model, batch, nn.functional.cross_entropy, optimizer=optimizer, settings=settings, **SHORT)
    assert isinstance(result, ProbeResult)
    assert same(before, everything(model, optimizer))
    (measured,) = result.measurements
    assert (measured.target, [layer.name for layer in measured.layers]) == ("Net", ["conv", "bn", "act", "last"])
    assert len(measured.series["loss"]) == 3
    with torch.no_grad():
        expected = nn.functional.cross_entropy(model.train()(batch[0]), batch[1]).item()
    assert measured.series["loss"][0] == pytest.approx(expected, rel=1e-5)
    assert (measured.setup["batch_size"], measured.facts["real_data"], measured.facts["restored"]) == (6, True, True)


def test_without_a_batch_one_is_drawn_and_said(model, settings):
    result = normadvisor.probe(model, settings=settings, batch_size=4, lr=0.01, optimizer="sgd", **SHORT)
    (measured,) = result.measurements
    assert {key: measured.setup[key] for key in ("batch_size", "lr", "optimizer")} == {"batch_size": 4, "lr": 0.01, "optimizer": "sgd"}
    assert measured.facts["real_data"] is False
    assert result.report.problems == ()


def test_several_batches_may_come_from_a_generator(model, batch, settings):
    result = normadvisor.probe(model, data=(batch for _ in range(3)), settings=settings, **SHORT)
    assert result.measurements[0].facts["real_data"] is True


def test_findings_of_the_structure_are_for_an_audit(model, batch, settings):
    probed = normadvisor.probe(model, batch, settings=settings, **SHORT)
    assert [finding.rule for finding in probed.findings if not finding.rule.startswith("NA6")] == []
    audited = normadvisor.audit(model, batch, nn.functional.cross_entropy, settings=settings, **SHORT)
    (found,) = [finding for finding in audited.findings if finding.rule == "NA102"]
    assert (found.modules, found.model, str(found.confidence)) == (("conv",), "Net", "confirmed")
    assert found.evidence["bias_gradient_over_weight_gradient"] < 1e-5  # what it rests on was measured


class Cut(nn.Module):
    """Its first layer gets no gradient: a warning of NA606."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.last = nn.Linear(432, 16), nn.Linear(16, 16), nn.Linear(16, 4)

    def forward(self, x):
        return self.last(self.second(self.first(x.flatten(1)).relu()).relu().detach())


def test_an_audit_is_go_or_no_go_and_raises(batch, settings, tmp_path):
    report = normadvisor.audit(Cut(), batch, settings=settings, **SHORT)
    assert isinstance(report, AuditReport)
    assert (report.go, report.exit_code, report.remarks) == (False, 1, ())
    assert report.reasons[0].startswith("NA606 no-gradient: 2 trainable layers got no gradient")
    report.raise_on("error")
    with pytest.raises(AuditError) as caught:
        report.raise_on(Severity.WARNING)
    assert [finding.rule for finding in caught.value.findings] == [finding.rule for finding in report.findings if finding.severity.rank >= 1]
    assert str(caught.value).startswith("NA606 no-gradient: ")
    assert isinstance(caught.value, NormAdvisorError)
    with pytest.raises(NormAdvisorError, match="severity cannot be 'fatal'"):
        report.raise_on("fatal")
    data = report.to_dict()
    json.dumps(data, allow_nan=False)
    assert data["audit"] == {"go": False, "reasons": list(report.reasons), "remarks": []}
    assert [item["target"] for item in data["probe"]["measurements"]] == ["Cut"]
    assert str(report).splitlines()[0].startswith(" NO GO  audit of Cut")
    report.html(tmp_path / "audit.html")
    assert (tmp_path / "audit.html").read_text().startswith("<!doctype html>")
    assert "Compared with the other run" not in (tmp_path / "audit.html").read_text()
    report.html(tmp_path / "audit.html", compare=report.measurements)
    assert "Compared with the other run" in (tmp_path / "audit.html").read_text()
    with pytest.raises(NormAdvisorError, match="cannot write"):
        report.html(tmp_path / "no" / "audit.html")


def test_what_computes_the_same_without_it_is_a_remark(model, batch, settings, tmp_path):
    report = normadvisor.audit(model, batch, nn.functional.cross_entropy, settings=settings, **SHORT)
    assert [(finding.rule, str(finding.severity)) for finding in report.findings] == [("NA102", "warning")]
    assert (report.go, report.exit_code, len(report.remarks)) == (True, 0, 1)
    assert report.remarks[0].startswith("NA102 bias-before-norm: the bias of conv has no effect")
    assert report.reasons[0] == "1 model checked, nothing found that speaks against training"
    report.raise_on("info")
    assert str(report).splitlines()[0].startswith(" GO  with remarks, audit of Net")
    assert report.to_dict()["audit"] == {"go": True, "reasons": list(report.reasons), "remarks": list(report.remarks)}
    report.html(tmp_path / "audit.html")
    assert "Remarks, which say nothing against training" in (tmp_path / "audit.html").read_text()


def test_a_model_that_nothing_can_train_is_no_go(batch, settings):
    frozen = nn.Sequential(nn.Flatten(), nn.Linear(432, 4)).requires_grad_(requires_grad=False)
    report = normadvisor.audit(frozen, batch, nn.functional.cross_entropy, settings=replace(settings, ignore=("NA606",)), **SHORT)
    expected = "Sequential: no gradient was measured: all parameters are frozen, so that training would change nothing"
    assert (report.go, report.exit_code, report.reasons) == (False, 1, (expected,))
    with pytest.raises(AuditError, match="all parameters are frozen"):
        report.raise_on("error")


def test_findings_about_a_sequential_do_not_point_into_torch(batch, settings):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), *(nn.Sequential(nn.Linear(432, 432), nn.Sigmoid()) for _ in range(8)), nn.Linear(432, 4))
    report = normadvisor.audit(model, batch, nn.functional.cross_entropy, settings=settings, **SHORT)
    assert [finding.rule for finding in report.findings if finding.rule.startswith("NA60")]
    assert [finding.path for finding in report.findings if finding.path is not None] == []


def test_a_healthy_model_may_go(batch, settings):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(432, 32), nn.ReLU(), nn.Linear(32, 4))
    report = normadvisor.audit(model, batch, nn.functional.cross_entropy, settings=settings, **SHORT)
    assert (report.go, report.exit_code, report.findings) == (True, 0, ())
    report.raise_on("info")
    assert "GO" in str(report).splitlines()[0]
    assert report.reasons[0] == "1 model checked, nothing found that speaks against training"


def test_a_model_that_cannot_run_is_a_problem_and_no_go(batch, settings):
    model = nn.Sequential(nn.Linear(7, 3))
    before = everything(model)
    report = normadvisor.audit(model, batch, settings=settings, **SHORT)
    assert (report.go, len(report.report.problems), report.measurements) == (False, 1, ())
    assert str(report).splitlines()[0].startswith(" NOT JUDGED  audit of ")
    with pytest.raises(AuditError):
        report.raise_on("error")
    assert same(before, everything(model))


def test_a_loss_that_fails_leaves_the_model_as_it_was(model, batch, settings):
    def loss(output, target):
        raise LookupError("no such class")

    before = everything(model)
    result = normadvisor.probe(model, batch, loss, settings=settings, **SHORT)
    (problem,) = result.report.problems
    assert "LookupError: no such class" in problem.message
    assert same(before, everything(model))


def test_progress_is_told(model, batch, settings):
    steps = []
    normadvisor.probe(model, batch, settings=settings, progress=steps.append, **SHORT)
    assert {(step.target, step.phase) for step in steps} == {("Net", "probing")}
    assert any(step.part for step in steps)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"stepz": 3}, "unknown option 'stepz' (did you mean 'steps'?)"),
        ({"data": "mine:batches"}, "data='module:function' is for targets that are loaded in a worker (pass the batches themselves: data=loader)"),
        ({"batch": torch.zeros(1), "data": []}, "batch and data are two ways to say the same (pass one of them)"),
        ({"loss_fn": 3}, "loss_fn is a value of type int (pass a function or a module: loss(output, target))"),
        ({"optimizer": 3}, "optimizer is a value of type int (pass a torch.optim.Optimizer, or a name)"),
        ({"optimizer": "adamm"}, "optimizer cannot be 'adamm' (did you mean 'adam'?)"),
        ({"device": "meta"}, "device cannot be 'meta' (auto, cpu, cuda, cuda:1, mps)"),
    ],
)
def test_what_cannot_be_is_said_before_anything_runs(model, settings, arguments, message):
    with pytest.raises(NormAdvisorError) as caught:
        normadvisor.probe(model, settings=settings, **arguments)
    assert str(caught.value) == message


def test_targets_take_no_live_things():
    with pytest.raises(NormAdvisorError) as caught:
        normadvisor.probe("net.py", torch.zeros(2))
    assert str(caught.value) == (
        "batch is for a torch.nn.Module of this process; targets are loaded in a worker (say data='module:function', which returns batches)"
    )


def test_neither_a_model_nor_text(settings):
    with pytest.raises(NormAdvisorError, match="a value of type int cannot be measured"):
        normadvisor.probe(3, settings=settings)


def test_weights_without_values_are_refused(settings):
    with torch.device("meta"):
        model = nn.Linear(3, 2)
    with pytest.raises(NormAdvisorError, match="meta device, where they have no values"):
        normadvisor.probe(model, settings=settings)


def test_the_function_is_found_whichever_part_is_imported_first():
    import subprocess
    import sys

    code = """
import sys
import normadvisor.probe.keeping.keep
import normadvisor
from normadvisor import probe
from normadvisor.probe import kept
assert callable(normadvisor.probe) and normadvisor.probe is probe and probe.__name__ == "probe", probe
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
