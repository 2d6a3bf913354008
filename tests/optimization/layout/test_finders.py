import pytest
import torch
from torch import nn

from normadvisor.graph import trace
from normadvisor.optimization.candidate import Candidate, Refused, Setting
from normadvisor.optimization.layout.finders import find_formats
from normadvisor.optimization.prepared import Given
from normadvisor.rewrite.model.journal import Journal
from normadvisor.rewrite.model.refusal import CannotChange


def found(model, *args, mode="inference"):
    inputs = Given(args)
    graph = trace(model, inputs, target="net", sites={}, mode="eval")
    setting = Setting(mode=mode, device=torch.device("cpu"), dtype=torch.float32, inputs=inputs)
    return list(find_formats(model, graph, setting))


def described(candidate):
    return candidate.rule, candidate.pattern, candidate.replacement, candidate.modules, candidate.shape_key


def maps():
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.ConvTranspose2d(8, 4, 3)).eval()


def test_all_maps_are_one_candidate():
    [candidate] = found(maps(), torch.randn(2, 3, 8, 8))
    assert described(candidate) == (
        "NA706", "contiguous maps", "channels_last maps", ("",), "2 convolutions, the first gives 2x8x6x6 (inference)",
    )  # fmt: skip


def test_volumes_are_another():
    model = nn.Sequential(nn.Conv3d(1, 2, 3), nn.Flatten(2), nn.Conv1d(2, 2, 3)).eval()
    [candidate] = found(model, torch.randn(1, 1, 5, 5, 5))
    assert described(candidate)[1:3] == ("contiguous maps", "channels_last_3d maps")


@pytest.mark.parametrize(
    ("model", "mode", "remark"),
    [
        (nn.Conv2d(3, 8, 3), "inference", "give it inputs in torch.channels_last as well, where you can: others are converted in each call"),
        (nn.Conv2d(3, 8, 3), "training", ""),
        (nn.Conv2d(3, 8, 3).to(memory_format=torch.channels_last), "inference", ""),
    ],
    ids=["last", "training", "contiguous"],
)
def test_inputs_in_the_same_format_are_advised(model, mode, remark):
    [candidate] = found(model, torch.randn(2, 3, 8, 8), mode=mode)
    assert candidate.remark == remark


@pytest.mark.parametrize("model", [nn.Linear(3, 3), nn.Conv1d(3, 3, 1), nn.ReLU()])
def test_without_maps_there_is_nothing_to_choose(model):
    assert found(model.eval(), torch.randn(2, 3, 3)) == []


def test_a_model_that_has_it_may_be_better_without():
    model = maps().to(memory_format=torch.channels_last)
    [candidate] = found(model, torch.randn(2, 3, 8, 8))
    assert described(candidate)[1:3] == ("channels_last maps", "contiguous maps")


def test_weights_stay_the_same_parameters_with_the_same_values():
    model = maps()
    before = dict(model.named_parameters())
    values = {key: value.detach().clone() for key, value in before.items()}
    [candidate] = found(model, torch.randn(2, 3, 8, 8))
    journal = Journal()
    assert candidate.apply(model, journal) == ()
    after = dict(model.named_parameters())
    assert all(after[key] is before[key] and torch.equal(after[key], values[key]) for key in before)
    assert model(torch.randn(2, 3, 8, 8)).is_contiguous(memory_format=torch.channels_last)
    journal.undo()
    assert all(value.is_contiguous() for value in model.parameters())


def test_it_is_done_to_any_copy():
    [candidate] = found(maps(), torch.randn(2, 3, 8, 8))
    copy = maps().double()
    candidate.apply(copy, Journal())
    assert copy(torch.randn(2, 3, 8, 8).double()).is_contiguous(memory_format=torch.channels_last)


def test_an_optimizer_goes_on():
    model = maps().train()
    optimizer = torch.optim.Adam(model.parameters())
    [candidate] = found(model.eval(), torch.randn(2, 3, 8, 8))
    model.train()(torch.randn(2, 3, 8, 8)).sum().backward()
    optimizer.step()
    candidate.apply(model, Journal())
    before = model[0].weight.detach().clone()
    optimizer.zero_grad()
    model(torch.randn(2, 3, 8, 8)).sum().backward()
    optimizer.step()
    assert not torch.equal(model[0].weight, before)


def test_weights_without_values_are_refused():
    model = maps()
    [candidate] = found(model, torch.randn(2, 3, 8, 8))
    assert isinstance(candidate, Candidate)
    with torch.device("meta"):
        empty = maps()
    assert found(empty, torch.randn(2, 3, 8, 8)) == [
        Refused(rule="NA706", modules=("",), reason="weights on the meta device have no memory format")
    ]
    with pytest.raises(CannotChange):
        candidate.apply(empty, Journal())
