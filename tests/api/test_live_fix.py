from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from normadvisor.api.live_fix import fix
from normadvisor.config import Settings
from normadvisor.errors import NormAdvisorError
from normadvisor.rewrite.keys import KeyMap

IMAGES = "2x3x16x16"


@pytest.fixture
def settings(tmp_path) -> Settings:
    return Settings(root=tmp_path)


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1, self.act1, self.act2 = nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.ReLU()
        self.drop, self.conv2, self.bn2 = nn.Dropout(0.2), nn.Conv2d(8, 8, 3), nn.BatchNorm2d(8)
        self.head, self.spare, self.old = nn.Linear(8, 4), nn.ReLU(), nn.BatchNorm2d(3)

    def forward(self, x):
        x = self.act2(self.act1(self.bn1(self.conv1(x))))
        x = F.relu(self.bn2(self.conv2(self.drop(x))))
        return self.head(x.mean((2, 3)))


def rules(items) -> list[tuple[str, tuple[str, ...]]]:
    return sorted((item.finding.rule, item.finding.modules) for item in items)


def test_safe_fixes_are_applied_and_proven(settings) -> None:
    model = Net()
    with torch.no_grad():
        model.bn1.running_mean.normal_()
    before, x = copy.deepcopy(model).eval(), torch.randn(2, 3, 16, 16)
    weights = dict(model.named_parameters())
    result = fix(model, IMAGES, settings=settings)
    assert rules(result.applied) == [
        ("NA102", ("conv1",)), ("NA102", ("conv2",)), ("NA105", ("act2",)), ("NA110", ("spare",)),
    ]  # fmt: skip
    assert all(item.proofs[0].proof.equal and item.proofs[0].proof.modes == ("train", "eval") for item in result.applied)
    assert (result.model, model.training, model.conv1.bias) == (model, True, None)
    assert all(parameter is weights[name] for name, parameter in model.named_parameters())
    torch.testing.assert_close(model.eval()(x), before(x))
    assert {finding.rule for finding in result.report.findings}.isdisjoint({"NA102", "NA105"})


def test_what_is_left_alone_is_told(settings) -> None:
    result = fix(Net(), IMAGES, settings=settings)
    assert [(item.finding.rule, item.unsafe) for item in result.skipped] == [("NA103", True), ("NA110", True)]
    lines = str(result).splitlines()
    assert lines[0].startswith("fixed NA105 act2: remove the second one, which does nothing (safe: outputs, gradients and buffers equal")
    assert "left NA103 drop: only with unsafe fixes: remove the dropout" in lines
    assert "  bn1.running_mean -= conv1.bias" in lines
    assert lines[-1] == "4 fixed (4 safe), 0 rolled back, 2 left"


def test_unsafe_fixes_are_applied_where_asked(settings) -> None:
    model = Net()
    result = fix(model, IMAGES, unsafe=True, settings=settings)
    assert (result.rolled_back, result.skipped) == ((), ())
    assert [type(layer) for layer in (model.drop, model.old, model.spare)] == [nn.Identity] * 3
    assert model(torch.randn(2, 3, 16, 16)).shape == (2, 4)


def test_rules_are_selected(settings) -> None:
    model = Net()
    result = fix(model, IMAGES, select="NA1", ignore=["NA105", "NA110"], settings=settings)
    assert rules(result.applied) == [("NA102", ("conv1",)), ("NA102", ("conv2",))]
    assert isinstance(model.act2, nn.ReLU)
    assert [item.finding.rule for item in result.skipped] == ["NA103"]


def test_checkpoints_follow_the_key_map(settings, tmp_path) -> None:
    model = Net().eval()
    checkpoint, x = copy.deepcopy(model.state_dict()), torch.randn(2, 3, 16, 16)
    wanted = model(x)
    result = fix(model, IMAGES, unsafe=True, settings=settings)
    result.save_key_map(tmp_path / "keys.json")
    assert KeyMap.load(tmp_path / "keys.json") == result.key_map
    model.load_state_dict(result.key_map.apply(checkpoint))
    torch.testing.assert_close(model(x), wanted)


def test_the_optimizer_follows_and_all_can_be_undone(settings) -> None:
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    model(torch.randn(2, 3, 16, 16)).sum().backward()
    optimizer.step()
    before, groups = copy.deepcopy(model.state_dict()), list(optimizer.param_groups[0]["params"])
    layers = dict(model.named_modules())
    result = fix(model, IMAGES, unsafe=True, optimizer=optimizer, settings=settings)
    assert {id(each) for each in optimizer.param_groups[0]["params"]} == {id(each) for each in model.parameters()}
    result.undo()
    result.undo()
    assert all(left is right for left, right in zip(optimizer.param_groups[0]["params"], groups, strict=True))
    assert dict(model.named_modules()) == layers
    after = model.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(value, before[key]) for key, value in after.items())


def test_small_batches_get_another_norm(settings) -> None:
    model = nn.Sequential(nn.Conv2d(3, 32, 3, bias=False), nn.BatchNorm2d(32), nn.ReLU(), nn.Conv2d(32, 8, 3))
    result = fix(model, IMAGES, select=["NA201"], unsafe=True, settings=settings, batch_size=2)
    assert rules(result.applied) == [("NA201", ("1",))]
    assert isinstance(model[1], nn.GroupNorm)
    assert not [finding for finding in result.report.findings if finding.rule == "NA201"]


def test_a_fix_that_would_bring_another_finding_is_taken_back(settings, monkeypatch) -> None:
    import normadvisor.api.examine

    original = normadvisor.api.examine.match

    def match(graph, *args):
        found = original(graph, *args)
        if graph.modules["conv2"].attrs.get("bias") is False:
            found += [each for each in original(graph, *args) if each.rule == "NA103"]
            found[-1] = type(found[-1])(**{**{name: getattr(found[-1], name) for name in found[-1].__slots__}, "rule": "NA777"})
        return found

    monkeypatch.setattr(normadvisor.api.examine, "match", match)
    model = Net()
    result = fix(model, IMAGES, select=["NA102"], settings=settings)
    assert rules(result.applied) == [("NA102", ("conv1",))]
    assert rules(result.rolled_back) == [("NA102", ("conv2",))]
    assert result.rolled_back[0].reason.startswith("it would bring NA777 drop: ")
    assert (model.conv1.bias is None, model.conv2.bias is None) == (True, False)


class Spoiled:
    """A change that does more than it should, and takes that back with the rest."""

    def __init__(self, change, norm: nn.Module) -> None:
        self.key_map, self.notes, self._change, self._norm = change.key_map, change.notes, change, norm
        norm.eps = 1e-3

    def undo(self) -> None:
        self._change.undo()
        self._norm.eps = 1e-5


def test_a_fix_that_changes_the_function_is_taken_back(settings, monkeypatch) -> None:
    """The writer is made to spoil one layer of two: the proof finds it, and which."""
    import normadvisor.rewrite.model as writer

    original = writer.change_model

    def spoiled(model, operations, graph, **words):
        change = original(model, operations, graph, **words)
        return Spoiled(change, model.bn2) if model.conv2.bias is None else change

    monkeypatch.setattr(writer, "change_model", spoiled)
    model = Net()
    result = fix(model, IMAGES, select=["NA102"], settings=settings)
    assert rules(result.applied) == [("NA102", ("conv1",))]
    assert rules(result.rolled_back) == [("NA102", ("conv2",))]
    assert result.rolled_back[0].reason.startswith("the output 0 differs by")
    assert (model.bn2.eps, model.conv2.bias is None) == (1e-5, False)


def test_a_fold_that_was_not_done_is_found(settings, monkeypatch) -> None:
    import normadvisor.rewrite.model as writer

    original = writer.change_model

    def spoiled(model, operations, graph, **words):
        mean = model.bn2.running_mean.clone()
        change = original(model, operations, graph, **words)
        model.bn2.running_mean.copy_(mean)
        return change

    monkeypatch.setattr(writer, "change_model", spoiled)
    result = fix(Net(), IMAGES, select=["NA102"], settings=settings)
    assert rules(result.applied) == [("NA102", ("conv1",))]
    assert result.rolled_back[0].reason == "bn2.running_mean holds other values than the key map says"


def test_a_second_run_has_nothing_to_do(settings) -> None:
    model = Net()
    fix(model, IMAGES, unsafe=True, settings=settings)
    result = fix(model, IMAGES, unsafe=True, settings=settings)
    assert (result.applied, result.rolled_back, result.skipped, bool(result.key_map)) == ((), (), (), False)
    assert str(result) == "0 fixed (0 safe), 0 rolled back, 0 left"


def test_models_in_eval_mode_and_frozen_ones_stay_so(settings) -> None:
    model = Net().eval().requires_grad_(False)
    result = fix(model, IMAGES, unsafe=True, settings=settings)
    assert result.applied
    assert not any(module.training for module in model.modules())
    assert not any(parameter.requires_grad for parameter in model.parameters())


def test_wrong_calls_are_refused(settings) -> None:
    with pytest.raises(NormAdvisorError, match="a value of type int cannot be mended"):
        fix(3, settings=settings)
    with pytest.raises(NormAdvisorError, match="NA9"):
        fix(Net(), select="NA9", settings=settings)
    with pytest.raises(NormAdvisorError):
        fix(Net(), "2x5x16x16", settings=settings)


def test_a_bias_stays_where_the_norm_behind_it_becomes_another(settings) -> None:
    def net() -> nn.Module:
        return nn.Sequential(nn.Conv2d(3, 16, 3), nn.GroupNorm(16, 16), nn.ReLU(), nn.Conv2d(16, 8, 3), nn.BatchNorm2d(8), nn.ReLU())

    assert rules(fix(net(), IMAGES, settings=settings).applied) == [("NA102", ("0",)), ("NA102", ("3",))]
    model = net()
    assert rules(fix(model, IMAGES, settings=settings, unsafe=True).applied) == [("NA102", ("3",)), ("NA302", ("1",))]
    assert (model[0].bias is None, model[1].num_groups, model[3].bias is None) == (False, 8, True)
