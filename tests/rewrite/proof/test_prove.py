from __future__ import annotations

import copy
import random
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from normadvisor.rewrite.keys import Fold, KeyMap
from normadvisor.rewrite.proof import Proof, prove
from normadvisor.targets.inputs.spec import Inputs

IMAGES = Inputs((torch.randn(2, 3, 16, 16),))
FOLD = KeyMap(dropped=("conv1.bias",), folded=(Fold("conv1.bias", "bn1.running_mean"),))


class Net(nn.Module):
    """A block of everything that a fix may touch."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1, self.act1 = nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU()
        self.drop = nn.Dropout(0.3)
        self.conv2, self.bn2, self.act2 = nn.Conv2d(8, 8, 3, bias=False), nn.BatchNorm2d(8), nn.GELU()
        self.norm, self.head = nn.GroupNorm(2, 8), nn.Linear(8, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.drop(self.act1(self.bn1(self.conv1(x))))
        x = self.norm(self.act2(self.bn2(self.conv2(x))))
        return self.head(x.mean((2, 3)))


def without_bias(net: nn.Module) -> None:
    net.conv1.register_parameter("bias", None)


def test_a_folded_bias_leaves_the_function_as_it_is() -> None:
    changed = Net()
    without_bias(changed)
    proof = prove(Net(), changed, IMAGES, FOLD)
    assert str(proof).startswith("outputs, gradients and buffers equal in float64, train and eval, 3 draws, worst ")
    assert proof.worst < 1e-11


def test_a_relu_behind_a_relu_may_go() -> None:
    original, changed = Net(), Net()
    original.act1 = nn.Sequential(nn.ReLU(), nn.ReLU())
    changed.act1 = nn.Sequential(nn.ReLU(), nn.Identity())
    assert prove(original, changed, IMAGES).equal


def _set(name: str, **values: object) -> Callable[[nn.Module], None]:
    def change(net: nn.Module) -> None:
        for key, value in values.items():
            setattr(net.get_submodule(name), key, value)

    return change


def _put(name: str, make: Callable[[], nn.Module]) -> Callable[[nn.Module], None]:
    return lambda net: setattr(net, name, make())


def _run(forward: Callable[[nn.Module, torch.Tensor], torch.Tensor]) -> Callable[[nn.Module], None]:
    return lambda net: setattr(net, "forward", forward.__get__(net))


def _dropout_behind(net: nn.Module, x: torch.Tensor) -> torch.Tensor:
    x = net.act1(net.bn1(net.conv1(x)))
    return net.head(net.norm(net.act2(net.bn2(net.drop(net.conv2(x))))).mean((2, 3)))


def _act_before_norm(net: nn.Module, x: torch.Tensor) -> torch.Tensor:
    x = net.drop(net.bn1(net.act1(net.conv1(x))))
    return net.head(net.norm(net.act2(net.bn2(net.conv2(x)))).mean((2, 3)))


def _norm_elsewhere(net: nn.Module, x: torch.Tensor) -> torch.Tensor:
    x = net.drop(net.act1(net.bn1(net.conv1(x))))
    return net.head(net.norm(net.bn2(net.act2(net.conv2(x)))).mean((2, 3)))


class _Frozen(nn.BatchNorm2d):
    """Forgets to update its statistics."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.batch_norm(
            x,
            None if self.training else self.running_mean,
            None if self.training else self.running_var,
            self.weight,
            self.bias,
            self.training,
        )


class _NoGamma(nn.BatchNorm2d):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.batch_norm(x, self.running_mean, self.running_var, None, self.bias, self.training, self.momentum, self.eps)


class _NoBeta(nn.BatchNorm2d):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.batch_norm(x, self.running_mean, self.running_var, self.weight, None, self.training, self.momentum, self.eps)


class _Uncounted(nn.BatchNorm2d):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, self.training, self.momentum, self.eps)


class _Detached(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.relu(x.detach())


class _Halved(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        return gradient / 2


class _HalfGradient(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return _Halved.apply(F.relu(x))


WRONG = {
    "a scale forgotten": _put("bn1", lambda: _NoGamma(8)),
    "a shift forgotten": _put("bn2", lambda: _NoBeta(8)),
    "an activation dropped": _put("act1", nn.Identity),
    "an activation exchanged": _put("act1", lambda: nn.LeakyReLU(0.01)),
    "an activation slightly different": _put("act2", lambda: nn.GELU(approximate="tanh")),
    "momentum changed": _set("bn1", momentum=0.11),
    "momentum lost": _set("bn1", momentum=None),
    "eps changed": _set("bn1", eps=1e-3),
    "eps of a group norm changed": _set("norm", eps=1e-3),
    "groups changed": _set("norm", num_groups=4),
    "statistics of the batch only": _set("bn2", running_mean=None, running_var=None),
    "buffers not updated": _put("bn1", lambda: _Frozen(8)),
    "a counter not updated": _put("bn1", lambda: _Uncounted(8)),
    "dropout moved": _run(_dropout_behind),
    "dropout removed": _put("drop", nn.Identity),
    "dropout likelier": _set("drop", p=0.4),
    "order swapped": _run(_act_before_norm),
    "order of the second block swapped": _run(_norm_elsewhere),
    "padding changed": _set("conv1", padding_mode="reflect", _reversed_padding_repeated_twice=[1, 1, 1, 1]),
    "gradient cut": _put("act1", _Detached),
    "gradient halved": _put("act2", lambda: nn.Sequential(nn.GELU(), _HalfGradient())),
    "a bias dropped that counts": lambda net: net.head.register_parameter("bias", None),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_rewrite_is_found(wrong: str) -> None:
    changed = Net()
    WRONG[wrong](changed)
    keys = KeyMap(dropped=("head.bias",)) if "bias" in wrong else KeyMap()
    if wrong == "statistics of the batch only":
        keys = KeyMap(dropped=("bn2.running_mean", "bn2.running_var"))
    proof = prove(Net(), changed, IMAGES, keys)
    assert (proof.equal, proof.provable) == (False, True), proof
    assert proof.worst > 1e-5


@pytest.mark.parametrize(
    ("keys", "reason"),
    [
        (KeyMap(), "the changed model has no conv1.bias"),
        (KeyMap(dropped=("conv1.bias",)), "the buffer bn1.running_mean differs by"),
        (KeyMap(dropped=("conv1.bias",), folded=(Fold("conv1.bias", "bn1.running_mean", "add"),)), "the buffer bn1.running_mean differs by"),
        (KeyMap(dropped=("conv1.bias",), folded=(Fold("conv1.bias", "bn2.running_mean"),)), "the buffer bn1.running_mean differs by"),
        (KeyMap(dropped=("conv1.bias", "conv1.weight")), "nothing is carried to conv1.weight of the changed model"),
        (KeyMap(dropped=("conv1.bias",), renamed={"conv1.weight": "conv2.weight", "conv2.weight": "conv1.weight"}), "conv1.weight has shape (8, 3, 3, 3) in the changed model"),
    ],
)  # fmt: skip
def test_a_wrong_key_map_is_found(keys: KeyMap, reason: str) -> None:
    changed = Net()
    without_bias(changed)
    proof = prove(Net(), changed, IMAGES, keys)
    assert (proof.equal, proof.provable) == (False, True)
    assert proof.reason.startswith(reason)


def test_the_smallest_eps_counts() -> None:
    """BERT's 1e-12."""
    models = [nn.Sequential(nn.Linear(8, 8), nn.LayerNorm(8, eps=eps), nn.Linear(8, 8)) for eps in (1e-12, 1e-10)]
    assert not prove(*models, Inputs((torch.randn(2, 8),))).equal


def test_layers_of_the_same_shape_must_not_trade_weights() -> None:
    original = nn.Sequential(nn.Conv2d(3, 3, 3), nn.Conv2d(3, 3, 3))
    keys = KeyMap(renamed={"0.weight": "1.weight", "1.weight": "0.weight"})
    assert not prove(original, copy.deepcopy(original), IMAGES, keys).equal


def test_models_and_random_states_are_left_alone() -> None:
    original, changed = Net().eval(), Net().eval()
    kept = [copy.deepcopy(model.state_dict()) for model in (original, changed)]
    torch.manual_seed(3)
    random.seed(3)
    states = torch.get_rng_state(), random.getstate(), torch.get_default_dtype()
    prove(original, changed, IMAGES)
    for model, state in zip((original, changed), kept, strict=True):
        assert not model.training
        assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())
        assert all(parameter.grad is None and parameter.dtype == torch.float32 for parameter in model.parameters())
    assert torch.equal(torch.get_rng_state(), states[0])
    assert (random.getstate(), torch.get_default_dtype()) == states[1:]


class Noisy(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(4, 4)
        self.source = random.SystemRandom()

    def __deepcopy__(self, memo):
        made = Noisy()
        made.head = copy.deepcopy(self.head, memo)
        return made

    def forward(self, x):
        return self.head(x) + self.source.random()


def test_nothing_can_be_said_of_a_model_that_differs_from_run_to_run() -> None:
    proof = prove(Noisy(), Noisy(), Inputs((torch.randn(2, 4),)))
    assert (proof.equal, proof.provable) == (False, False)
    assert str(proof) == "equality cannot be proven: two runs of the original on the same inputs differ in train mode"


class Failing(nn.Module):
    def __init__(self, mode: bool) -> None:
        super().__init__()
        self.head, self.mode = nn.Linear(4, 4), mode

    def forward(self, x):
        if self.training is self.mode:
            raise RuntimeError("not in this mode")
        return self.head(x)


def test_a_model_that_runs_in_one_mode_only_is_not_proven() -> None:
    proof = prove(Failing(mode=True), Failing(mode=True), Inputs((torch.randn(2, 4),)))
    assert str(proof) == "equality cannot be proven: forward of the original fails in train mode: RuntimeError: not in this mode"


def test_a_changed_model_that_fails_is_not_equal() -> None:
    original = nn.Sequential(nn.Linear(4, 4))
    changed = nn.Sequential(nn.Linear(4, 4))
    changed.register_forward_hook(lambda *_: 1 / 0)
    proof = prove(original, changed, Inputs((torch.randn(2, 4),)))
    assert proof.reason == "the changed model fails in train mode: ZeroDivisionError: division by zero"


def test_values_that_are_not_finite_prove_nothing() -> None:
    class Log(nn.Module):
        def forward(self, x):
            return torch.log(-x.abs() - 1)

    proof = prove(Log(), Log(), Inputs((torch.randn(2, 4),)))
    assert str(proof) == "equality cannot be proven: it gives values that are not finite in train mode"


class Single(nn.Module):
    """Computes its softmax in float32, as language models do, and knows its device."""

    def __init__(self, wrong: bool = False) -> None:
        super().__init__()
        self.table, self.query, self.wrong = nn.Embedding(30, 8), nn.Linear(8, 8), wrong
        self.device = torch.device("cuda")
        self.register_buffer("positions", torch.arange(64).expand(1, -1), persistent=False)

    def forward(self, ids, mask=None):
        x = self.table(ids) + torch.zeros(8, device=self.device, dtype=torch.float32)
        scores = self.query(x) @ x.transpose(1, 2)
        weights = F.softmax(scores.to(torch.float32), dim=-1, dtype=torch.float32).to(x.dtype)
        return {"hidden": weights @ x.float() * (1 + 1e-7 * self.wrong), "positions": self.positions[:, : ids.shape[1]]}


def test_precision_and_device_asked_for_by_the_model_do_not_matter() -> None:
    ids = Inputs((torch.randint(0, 30, (2, 7)),))
    assert str(prove(Single(), Single(), ids)).startswith("outputs, gradients and buffers equal in float64, train and eval, 3 draws")
    assert prove(Single(), Single(wrong=True), ids).reason == "the output 0 differs by 1e-07 of its largest entry in train mode"


@pytest.mark.parametrize("changed_on_meta", [False, True])
def test_models_without_data_can_be_compared(changed_on_meta: bool) -> None:
    with torch.device("meta"):
        original = Net()
    with torch.device("meta" if changed_on_meta else "cpu"):
        changed, wrong = Net(), Net()
    without_bias(changed)
    wrong.bn1.eps = 1e-3
    images = Inputs((torch.empty(1, 3, 64, 64, device="meta"),))
    assert prove(original, changed, images, FOLD).equal
    assert not prove(original, wrong, images).equal


def test_lazy_models_can_be_compared() -> None:
    def build(eps: float) -> nn.Module:
        return nn.Sequential(nn.LazyConv2d(4, 3), nn.LazyBatchNorm2d(eps=eps), nn.ReLU())

    assert prove(build(1e-5), build(1e-5), IMAGES).equal
    assert not prove(build(1e-5), build(1e-3), IMAGES).equal


def test_models_may_begin_in_place_and_give_nothing_to_differentiate() -> None:
    class Ranking(nn.Module):
        def forward(self, x):
            return x.relu_().argsort(-1)

    proof = prove(Ranking(), Ranking(), Inputs((torch.randn(2, 9),)))
    assert (proof.equal, proof.what) == (True, "outputs and buffers")


def test_tied_weights_and_shared_layers_stay_so() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table, self.act = nn.Embedding(9, 4), nn.ReLU()
            self.blocks = nn.Sequential(nn.Linear(4, 4), self.act, nn.Linear(4, 4), self.act)
            self.head = nn.Linear(4, 9, bias=False)
            self.head.weight = self.table.weight

        def forward(self, ids):
            return self.head(self.blocks(self.table(ids)))

    ids = Inputs((torch.randint(0, 9, (2, 5)),))
    untied = Tied()
    untied.head.weight = nn.Parameter(untied.head.weight.detach().clone())
    assert prove(Tied(), Tied(), ids).equal
    assert prove(Tied(), untied, ids).reason.startswith("the gradient of table.weight differs")


def test_layers_whose_mode_was_set_by_hand_are_compared_as_they_are() -> None:
    original, changed = Net(), Net()
    original.bn1.eval()
    changed.bn1.eval()
    assert prove(original, changed, IMAGES).modes == ("train", "eval", "as it is")
    # The bias counts while the norm behind it does not follow the batch.
    without_bias(changed)
    assert (
        prove(original, changed, IMAGES, FOLD).reason
        == "the gradient of conv1.bias is not zero, though the parameter is gone with each layer in the mode it was in"
    )


def test_a_separated_norm_adds_its_gradients_up() -> None:
    class Shared(nn.Module):
        def __init__(self, apart: bool) -> None:
            super().__init__()
            self.norm = nn.LayerNorm(4)
            self.other = nn.LayerNorm(4) if apart else self.norm
            if not apart:
                del self.other
            self.apart = apart

        def forward(self, x):
            return (self.other if self.apart else self.norm)(self.norm(x).tanh())

    keys = KeyMap(copied={"other.weight": "norm.weight", "other.bias": "norm.bias"})
    assert prove(Shared(apart=False), Shared(apart=True), Inputs((torch.randn(2, 4),)), keys).equal


def test_a_model_that_ties_what_was_apart_is_found() -> None:
    original, changed = (nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4)) for _ in range(2))
    changed[2].weight = changed[0].weight
    assert prove(original, changed, Inputs((torch.randn(2, 4),))).reason.startswith("the output 0 differs")


def test_a_model_that_trains_itself_as_it_runs_is_not_proven() -> None:
    class Average(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(4))

        def forward(self, x):
            with torch.no_grad():
                self.weight.mul_(0.9)
            return x * 2

    proof = prove(Average(), Average(), Inputs((torch.randn(2, 4),)))
    assert str(proof) == "equality cannot be proven: RuntimeError: forward writes into the parameter weight"


class Deep(nn.Module):
    """A block in a model that is said to be too large."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3)
        self.blocks = nn.ModuleList([nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU()) for _ in range(2)])
        self.head = nn.Linear(8, 200_000)

    def forward(self, x):
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        return self.head(x.mean((2, 3)))


def test_a_model_that_is_too_large_is_proven_by_what_holds_the_change() -> None:
    changed = Deep()
    changed.blocks[1][0].register_parameter("bias", None)
    keys = KeyMap(dropped=("blocks.1.0.bias",), folded=(Fold("blocks.1.0.bias", "blocks.1.1.running_mean"),))
    proof = prove(Deep(), changed, IMAGES, keys, memory=1 << 24)
    assert (proof.equal, proof.modes) == (True, ("train", "eval"))
    assert proof.what == "outputs, gradients and buffers of blocks.1[0:2], which hold all that was changed,"
    wrong = KeyMap(dropped=("blocks.1.0.bias",))
    assert prove(Deep(), changed, IMAGES, wrong, memory=1 << 24).reason.startswith("in blocks.1: the buffer 1.running_mean differs")


def test_a_model_that_is_too_large_without_a_known_change_is_not_proven() -> None:
    proof = prove(Deep(), Deep(), IMAGES, memory=1 << 24)
    assert (proof.equal, proof.provable) == (False, False)
    assert proof.reason.startswith("equality cannot be proven: comparing it in float64 takes 0.1 GiB, and 0.0 GiB may be used; --memory")


def test_what_an_edit_did_elsewhere_is_not_missed() -> None:
    """Only the block would be run, so the rest has to be the same code."""
    for spoil in (
        lambda net: setattr(net.blocks[0][1], "eps", 1e-3),
        lambda net: setattr(net.blocks[0], "2", nn.LeakyReLU()),
        lambda net: setattr(net, "stem", nn.Conv2d(3, 8, 3, padding_mode="reflect")),
        lambda net: setattr(net, "__class__", type("Deep", (Deep,), {"forward": lambda self, x: Deep.forward(self, x) * 2})),
    ):
        changed = Deep()
        changed.blocks[1][0].register_parameter("bias", None)
        spoil(changed)
        keys = KeyMap(dropped=("blocks.1.0.bias",), folded=(Fold("blocks.1.0.bias", "blocks.1.1.running_mean"),))
        proof = prove(Deep(), changed, IMAGES, keys, memory=1 << 24)
        assert (proof.equal, proof.provable) == (False, False)


def test_parts_are_told_by_the_caller_where_no_key_changes() -> None:
    changed = Deep()
    changed.blocks[0][2] = nn.LeakyReLU()
    proof = prove(Deep(), changed, IMAGES, parts=[("blocks.0.2",)], memory=1 << 24)
    assert proof.reason.startswith("in blocks.0: the output 0 differs")


def test_proofs_survive_json() -> None:
    proof = prove(Net(), Net(), IMAGES, draws=1)
    assert Proof.from_dict(proof.to_dict()) == proof


def test_rounding_in_a_model_that_amplifies_it_is_no_difference() -> None:
    """Norms over a batch explode without shortcuts between them (Yang et al. 2019); written with other operations, nothing changes."""

    class Explosive(nn.Module):
        def __init__(self, by_hand: bool) -> None:
            super().__init__()
            self.layers = nn.ModuleList([nn.Linear(16, 16) for _ in range(40)])
            self.by_hand = by_hand

        def forward(self, x):
            for layer in self.layers:
                x = layer(x)
                centred = x - x.mean(0)
                normalized = centred / ((centred * centred).mean(0) + 1e-5).sqrt()
                x = F.relu(normalized if self.by_hand else F.batch_norm(x, None, None, training=True, momentum=0.0))
            return x

    proof = prove(Explosive(by_hand=False), Explosive(by_hand=True), Inputs((torch.randn(32, 16),)), tolerance=1e-14)
    assert proof.equal, proof
    assert proof.worst > 1e-13
