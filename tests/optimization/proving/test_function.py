import pytest
import torch
from torch import nn

from normadvisor.optimization.prepared import Given
from normadvisor.optimization.proving.function import FunctionProof
from normadvisor.rewrite.model.refusal import CannotChange
from normadvisor.rewrite.proof.result import Proof


def network():
    return nn.Sequential(nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 36, 4))


def folded(model, eps=1e-5, scale=1.0):
    """What folding does, by hand."""
    conv, norm = model[0], model[1]
    factor = scale * norm.weight / torch.sqrt(norm.running_var + eps)
    made = nn.Conv2d(3, 8, 3).to(conv.weight.dtype)
    made.weight = nn.Parameter(conv.weight * factor[:, None, None, None])
    made.bias = nn.Parameter(norm.bias - norm.running_mean * factor)
    model[0], model[1] = made, nn.Identity()


def proof(model, mode="inference", inputs=None, **more):
    return FunctionProof(model=model, inputs=inputs or Given((torch.randn(2, 3, 8, 8),)), mode=mode, **more)


def test_a_fold_is_proven_in_eval_mode():
    model = network().eval()
    found = proof(model).of(folded)
    assert found == Proof(equal=True, modes=("eval",), draws=3, worst=found.worst, what="outputs")
    assert 0 < found.worst < 1e-11
    assert isinstance(model[1], nn.BatchNorm2d)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda model: folded(model, scale=1.001),
        lambda model: folded(model, eps=1e-6),
        lambda model: model.__setitem__(2, nn.GELU()),
        lambda model: model.__setitem__(1, nn.Identity()),
    ],
    ids=["scale", "eps", "activation", "forgotten"],
)
def test_what_computes_something_else_is_not_equal(wrong):
    found = proof(network().eval()).of(wrong)
    assert (found.equal, found.provable) == (False, True)
    assert found.reason.startswith("the output 0 differs by")


def test_a_mistake_that_ordinary_statistics_hide_shows_with_hostile_ones():
    def without_eps(model):
        folded(model, eps=0.0)

    fresh = network().eval()
    found = proof(fresh).of(without_eps)
    assert (found.equal, found.provable) == (False, True)


def test_a_fold_is_not_proven_in_train_mode():
    found = proof(network(), mode="training").of(folded)
    assert found == Proof(equal=False, reason="the parameter 0.weight is no longer there, and an optimizer may hold it")


def inner(model):
    """The same parameters under other names."""
    model[0] = nn.Sequential(model[0])


def test_in_training_parameters_are_known_again_under_new_names():
    found = proof(network(), mode="training").of(inner)
    assert found == Proof(equal=True, modes=("train",), draws=3, worst=0.0, what="outputs, gradients and buffers")


def test_in_training_a_lost_gradient_is_seen():
    class Stopped(nn.Module):
        def __init__(self, layer):
            super().__init__()
            self.layer = layer

        def forward(self, x):
            return self.layer(x).detach()

    def stop(model):
        model[1] = Stopped(model[1])

    found = proof(network(), mode="training").of(stop)
    assert (found.equal, found.provable) == (False, True)
    assert "gradient" in found.reason


def test_in_training_other_statistics_are_seen():
    def momentum(model):
        model[1].momentum = 0.2

    found = proof(network(), mode="training").of(momentum)
    assert not found.equal
    assert found.reason.startswith("the buffer 1.running_mean differs by")


def test_layers_that_were_set_apart_stay_so():
    model = network()
    model[1].eval()
    found = proof(model, mode="training").of(lambda changed: None)
    assert (found.equal, found.modes) == (True, ("as it is",))


def test_tied_parameters_are_one():
    model = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 4))
    model[2].weight = model[0].weight
    found = proof(model, mode="training", inputs=Given((torch.randn(2, 4),))).of(lambda changed: None)
    assert found.equal


def test_what_cannot_be_changed_says_so():
    def refuse(model):
        raise CannotChange("it is shared")

    with pytest.raises(CannotChange):
        proof(network().eval()).of(refuse)


def test_a_model_that_fails_cannot_be_proven():
    class Broken(nn.Module):
        def forward(self, x):
            raise ValueError("no")

    found = proof(Broken().eval()).of(lambda model: None)
    assert found.reason == "equality cannot be proven: forward of the original fails in eval mode: ValueError: no"
    assert not found.provable


def test_a_changed_model_that_fails_is_not_equal():
    found = proof(network().eval()).of(lambda model: model.__setitem__(1, nn.BatchNorm2d(9).eval()))
    assert (found.equal, found.provable) == (False, True)


def test_too_little_memory_is_said():
    found = proof(network().eval(), memory=1000).of(folded)
    assert found.reason == "equality cannot be proven: comparing it in float64 takes 0.0 GiB, and 0.0 GiB may be used"


class Branching(nn.Module):
    """Goes another way for other maps, or where a flag or a mask is given."""

    def __init__(self, limit=0, least=0):
        super().__init__()
        self.first, self.norm, self.limit, self.least = nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), limit, least

    def forward(self, x, raw=False, mask=None):
        y = self.first(x)
        if raw or (self.limit and x.shape[-1] > self.limit) or x.shape[-1] < self.least:
            return y
        return self.norm(y if mask is None else y * mask)


def merged(model):
    """The norm folded into the layer before it: the same for the usual way through the model only."""
    pair = nn.Sequential(model.first, model.norm)
    with torch.no_grad():
        factor = pair[1].weight / torch.sqrt(pair[1].running_var + pair[1].eps)
        made = nn.Conv2d(3, 4, 1).to(factor.dtype)
        made.weight.copy_(pair[0].weight * factor[:, None, None, None])
        made.bias.copy_((pair[0].bias - pair[1].running_mean) * factor + pair[1].bias)
    model.first, model.norm = made, nn.Identity()


@pytest.mark.parametrize(
    ("model", "told"),
    [
        (Branching(limit=10), "with maps 13 wide"),
        (Branching(least=8), "with maps 7 wide"),
        (Branching(), "with raw=True"),
    ],
    ids=["larger", "smaller", "flag"],
)
def test_other_calls_are_compared_as_well(model, told):
    found = proof(model.eval()).of(merged)
    assert (found.equal, found.provable) == (False, True)
    assert found.reason.startswith("the output 0 differs by")
    assert found.reason.endswith(f", {told}")
    assert proof(Branching().eval(), inputs=Given((torch.randn(2, 3, 8, 8), False))).of(merged).equal


def test_calls_that_the_original_refuses_are_left_out():
    looked = proof(network().eval())  # Its linear layer takes maps of one size.
    assert looked.of(folded).equal
    assert looked.left_out == ()


def test_what_no_call_was_given_is_known():
    looked = proof(Branching().eval())
    assert looked.left_out == ("raw", "mask")
    looked.of(lambda model: None)
    assert looked.left_out == ("mask",)


@pytest.mark.parametrize("mode", ["inference", "training"])
def test_the_original_is_run_once_for_all_proofs(mode):
    calls = []

    class Silent(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(8, 4)

        def forward(self, x):
            return self.layer(x)

    class Counting(Silent):
        def forward(self, x):
            calls.append("original")
            return super().forward(x)

    def replace(model):
        calls.append("changed")
        model.__class__ = Silent

    looked = proof(Counting().train(mode == "training"), mode, Given((torch.randn(2, 8),)))
    first, made = looked.of(replace), len(calls)
    second = looked.of(replace)
    assert (first.equal, first) == (True, second)
    assert calls[made:] == ["changed"] * 3


def test_without_memory_to_keep_it_the_original_is_run_each_time(monkeypatch):
    monkeypatch.setattr("normadvisor.optimization.proving.function._SHARE", 0.0)
    looked = proof(network().eval())
    assert looked.of(folded) == looked.of(folded)
    assert looked._kept == {}
