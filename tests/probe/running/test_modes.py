"""What differs between train and eval mode: healthy models of all kinds beside every leak that is to be told from them."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

SHAPE = (2, 3, 16, 16)


class Custom(nn.Module):
    """BatchNorm by hand, the way tutorials write it."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def update(self, mean: torch.Tensor, var: torch.Tensor) -> None:
        # Keras' convention: the share that is kept.
        self.running_mean = 0.99 * self.running_mean + 0.01 * mean.detach()
        self.running_var.mul_(0.99).add_(0.01 * var.detach())

    def normalized(self, x: torch.Tensor, mean: torch.Tensor, var: torch.Tensor) -> torch.Tensor:
        return (x - mean[None, :, None, None]) / (var + 1e-5)[None, :, None, None].sqrt()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        mean, var = self.running_mean, self.running_var
        if self.training:
            var, mean = torch.var_mean(x, (0, 2, 3), correction=0)
            self.update(mean, var)
        return self.normalized(x, mean, var) * self.weight[None, :, None, None] + self.bias[None, :, None, None]


class NeverUpdates(Custom):
    def update(self, mean, var):
        pass


class ForgetsTheRoot(Custom):
    def normalized(self, x, mean, var):
        if self.training:
            return super().normalized(x, mean, var)
        return (x - mean[None, :, None, None]) / (var + 1e-5)[None, :, None, None]


class AlwaysTheBatch(nn.BatchNorm2d):
    def forward(self, x):
        return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, True, 0.1)


class StaysInTrain(nn.BatchNorm2d):
    def train(self, mode=True):
        return super().train(True)


class StaysInEval(nn.BatchNorm2d):
    def train(self, mode=True):
        return super().train(False)


class AlwaysDrops(nn.Module):
    def forward(self, x):
        return F.dropout(x, 0.5)


class Shaped(Custom):
    """Statistics that broadcast, under the names that other frameworks use."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        del self.running_mean, self.running_var
        self.register_buffer("moving_mean", torch.zeros(1, channels, 1, 1))
        self.register_buffer("moving_var", torch.ones(1, channels, 1, 1))

    def forward(self, x):
        mean, var = self.moving_mean, self.moving_var
        if self.training:
            var, mean = torch.var_mean(x, (0, 2, 3), correction=0, keepdim=True)
            self.moving_mean = 0.99 * self.moving_mean + 0.01 * mean.detach()
            self.moving_var = 0.99 * self.moving_var + 0.01 * var.detach()
        return (x - mean) / (var + 1e-5).sqrt() * self.weight[None, :, None, None] + self.bias[None, :, None, None]


def momentum(value):
    return lambda channels: nn.BatchNorm2d(channels, momentum=value)


def norms(measured):
    return {
        layer.name: (layer.facts["bn_uses"], layer.facts.get("bn_tracks"), layer.facts.get("bn_momentum"))
        for layer in measured.layers
        if "bn_uses" in layer.facts
    }


@pytest.mark.parametrize(
    ("norm", "share"),
    [(nn.BatchNorm2d, 0.1), (momentum(0.01), 0.01), (momentum(0.9), 0.9), (momentum(None), 1.0), (Custom, 0.01), (Shaped, 0.01)],
    ids=["momentum .1", "momentum .01", "momentum .9", "cumulative", "by hand", "other shapes"],
)
@pytest.mark.parametrize("batch", [8, 32])
def test_healthy_norms_differ_by_the_noise_of_batch_statistics_alone_whatever_their_momentum(probe, conv_net, norm, share, batch):
    measured = probe(conv_net(norm), SHAPE, options={"batch_size": batch})
    facts = measured.facts
    assert {name: (uses, tracks) for name, (uses, tracks, _) in norms(measured).items()} == {"1": ("batch", True), "4": ("batch", True)}
    assert [found for _, _, found in norms(measured).values()] == pytest.approx([share, share], rel=1e-3)
    assert 0.4 < facts["norm_gap"] / facts["norm_noise"] < 2.5
    assert all(0.5 < layer.facts["bn_excess"] < 2.0 for layer in measured.layers if "bn_uses" in layer.facts)
    assert (facts["eval_repeat_gap"], facts["eval_batch_gap"], facts["bn_fresh"]) == (0.0, 0.0, True)
    assert (facts["train_in_eval"], facts["eval_in_train"], facts["restored"]) == ([], [], True)


def test_the_gap_does_not_depend_on_the_momentum(probe, conv_net):
    gaps = [probe(conv_net(momentum(value)), SHAPE).facts["norm_gap"] for value in (0.1, 0.01, 0.001)]
    assert gaps == pytest.approx([gaps[0]] * 3, rel=1e-3)


@pytest.mark.parametrize("norm", [momentum(0.0), NeverUpdates], ids=["momentum 0", "by hand"])
def test_running_statistics_that_never_move_are_told(probe, conv_net, norm):
    measured = probe(conv_net(norm), SHAPE)
    assert norms(measured) == {"1": ("batch", False, 0.0), "4": ("batch", False, 0.0)}
    assert measured.facts["norm_gap"] > 5 * measured.facts["norm_noise"]


def test_eval_that_computes_something_else_stands_out_from_the_noise(probe, conv_net):
    measured = probe(conv_net(ForgetsTheRoot), SHAPE)
    assert {tracks for _, tracks, _ in norms(measured).values()} == {True}
    assert measured.facts["norm_gap"] > 3.5 * measured.facts["norm_noise"]
    assert all(layer.facts["bn_excess"] > 3.5 for layer in measured.layers if "bn_uses" in layer.facts)
    gaps = {layer.name: layer.facts["norm_gap"] for layer in measured.layers if layer.name in ("0", "1")}
    assert gaps["0"] == 0.0
    assert gaps["1"] > 0.3


@pytest.mark.parametrize(
    "norm",
    [lambda channels: nn.BatchNorm2d(channels, track_running_stats=False), AlwaysTheBatch, StaysInTrain],
    ids=["no running statistics", "training=True", "stays in train mode"],
)
def test_eval_outputs_that_depend_on_other_samples_are_told(probe, conv_net, norm):
    measured = probe(conv_net(norm), SHAPE)
    assert measured.facts["eval_batch_gap"] > 0.05
    assert measured.facts["eval_repeat_gap"] == 0.0
    first = next(layer.name for layer in measured.layers if layer.facts.get("eval_batch_gap", 0.0) > 1e-3)
    assert first == "1"
    assert measured.facts["train_in_eval"] == (["1", "4"] if norm is StaysInTrain else [])


def test_gaps_of_single_layers_do_not_add_up_with_depth(probe):
    """In 30 layers without shortcuts small deviations grow until outputs are far apart, in a healthy network."""
    torch.manual_seed(0)
    blocks = [layer for _ in range(30) for layer in (nn.Conv2d(16, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU())]
    model = nn.Sequential(nn.Conv2d(3, 16, 3), *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10))
    measured = probe(model, (2, 3, 12, 12), options={"batch_size": 8})
    excess = [layer.facts["bn_excess"] for layer in measured.layers if "bn_uses" in layer.facts]
    assert len(excess) == 30
    assert max(excess) < 2.0


def test_norms_whose_scale_begins_at_zero_use_the_batch_too(probe, conv_net):
    model = conv_net()
    nn.init.zeros_(model[4].weight)
    assert {name: (uses, tracks) for name, (uses, tracks, _) in norms(probe(model, SHAPE)).items()} == {
        "1": ("batch", True),
        "4": ("batch", True),
    }


def test_frozen_norms_are_no_leak(probe, conv_net):
    measured = probe(conv_net(StaysInEval), SHAPE)
    assert norms(measured) == {"1": ("running", None, None), "4": ("running", None, None)}
    assert measured.facts["eval_in_train"] == ["1", "4"]
    assert (measured.facts["train_eval_gap"], measured.facts["eval_batch_gap"]) == (0.0, 0.0)
    assert measured.missing["norm_gap"] == "no layer normalizes with the statistics of the batch"


def test_flags_set_by_hand_in_a_model_that_trains_are_kept(probe, conv_net):
    model = conv_net()
    model[1].eval()
    measured = probe(model, SHAPE)
    assert {name: uses for name, (uses, _, _) in norms(measured).items()} == {"1": "running", "4": "batch"}
    assert measured.facts["eval_in_train"] == ["1"]
    assert [module.training for module in model][:5] == [True, False, True, True, True]


def test_dropout_that_stays_on_is_told_and_located(probe, conv_net):
    measured = probe(conv_net(extra=AlwaysDrops), SHAPE)
    assert measured.facts["eval_repeat_gap"] > 0.1
    assert (measured.facts["eval_dropout"], measured.facts["eval_sampling"]) == (["6"], [])
    assert measured.missing["eval_batch_gap"] == "eval outputs are random"
    gaps = {layer.name: layer.facts["eval_repeat_gap"] for layer in measured.layers}
    assert [name for name, gap in gaps.items() if gap > 1e-6] == ["9"]


@pytest.mark.parametrize("share", [0.1, 0.5])
def test_dropout_that_is_off_in_eval_is_no_leak(probe, conv_net, share):
    measured = probe(conv_net(extra=lambda: nn.Dropout(share)), SHAPE, options={"batch_size": 8})
    facts = measured.facts
    assert (facts["eval_repeat_gap"], facts["eval_batch_gap"]) == (0.0, 0.0)
    assert "eval_dropout" not in facts
    assert facts["train_repeat_gap"] > 0.02
    # Dropout has no part in it: the same network without any gives the same.
    assert facts["norm_gap"] == probe(conv_net(), SHAPE, options={"batch_size": 8}).facts["norm_gap"]


class Branch(nn.Module):
    """A residual branch that is dropped for whole samples (Huang et al., 2016)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(32, 32, 3, padding=1)
        self.norm = nn.BatchNorm2d(32)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        branch = self.norm(self.conv(x))
        if self.training:
            branch = branch * torch.empty(len(x), 1, 1, 1).bernoulli_(0.8) / 0.8
        return x + branch


def test_stochastic_depth_is_no_leak(probe, conv_net):
    measured = probe(conv_net(extra=Branch), SHAPE, options={"batch_size": 8})
    facts = measured.facts
    assert (facts["eval_repeat_gap"], facts["eval_batch_gap"]) == (0.0, 0.0)
    assert facts["train_repeat_gap"] > 0.05
    assert facts["norm_gap"] < 2.5 * facts["norm_noise"]


class Sampler(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encode, self.decode = nn.Linear(6, 4), nn.Linear(2, 6)

    def forward(self, x):
        mean, log_var = self.encode(x).chunk(2, 1)
        return self.decode(mean + torch.randn_like(mean) * (log_var / 2).exp())


def test_sampling_is_told_from_dropout(probe):
    measured = probe(Sampler(), (2, 6))
    assert measured.facts["eval_repeat_gap"] > 0.01
    assert (measured.facts["eval_dropout"], measured.facts["eval_sampling"]) == ([], [""])


class Doubled(nn.Module):
    """A linear map behind dropout, whose gap is known."""

    def __init__(self) -> None:
        super().__init__()
        self.dropout = nn.Dropout(0.3)
        self.weight = nn.Parameter(torch.ones(1, 4096))

    def forward(self, x):
        return F.linear(self.dropout(x), self.weight)


def test_gaps_of_dropout_alone_are_those_of_theory(probe):
    """Of ``sum_i m_i x_i / (1 - p)`` with all ``x_i = 1`` the mean is ``n`` and the variance ``n p / (1 - p)``."""
    batches = [torch.ones(256, 4096), torch.ones(256, 4096)]
    facts = probe(Doubled(), batches=batches, loss_fn=lambda output: output.square().mean()).facts
    single = math.sqrt(0.3 / 0.7 / 4096)
    assert facts["train_eval_gap"] == pytest.approx(single, rel=0.15)
    assert facts["train_repeat_gap"] == pytest.approx(single * math.sqrt(2), rel=0.15)
    assert facts["train_eval_bias"] < 0.3 * single
    assert facts["train_eval_similarity"] == pytest.approx(1.0, abs=1e-3)
    assert facts["eval_repeat_gap"] == facts["eval_batch_gap"] == 0.0


def test_a_systematic_difference_is_all_bias(probe):
    class Scaled(nn.Linear):
        def forward(self, x):
            return super().forward(x) * (1.5 if self.training else 1.0)

    facts = probe(Scaled(6, 4), (2, 6)).facts
    assert (facts["train_eval_gap"], facts["train_eval_bias"]) == (pytest.approx(0.5), pytest.approx(0.5))
    assert (facts["train_repeat_gap"], facts["train_eval_similarity"]) == (0.0, pytest.approx(1.0))


def test_a_trained_checkpoint_is_compared_as_it_is_on_real_data(probe, conv_net):
    model = conv_net()
    generator = torch.Generator().manual_seed(1)
    batches = [(torch.randn(16, 3, 16, 16, generator=generator), torch.randint(0, 10, (16,), generator=generator)) for _ in range(10)]
    for x, _ in batches * 10:
        model(x)
    near = probe(model, batches=batches).facts
    far = probe(model, batches=[(5 * x + 3, y) for x, y in batches]).facts
    assert near["bn_fresh"] is far["bn_fresh"] is False
    assert near["checkpoint_gap"] < 2.5 * near["norm_noise"]
    assert far["checkpoint_gap"] > 5 * far["norm_noise"]
    assert far["norm_gap"] < 2.5 * far["norm_noise"]


def test_outputs_that_are_other_things_in_eval_are_missing_with_the_reason(probe):
    class Head(nn.Linear):
        def forward(self, x):
            return super().forward(x) if self.training else super().forward(x).argmax(1)

    measured = probe(Head(6, 4), (2, 6))
    assert measured.missing["eval_repeat_gap"] == "the eval output holds no tensor of real numbers"
    assert measured.missing["train_eval_gap"] == "train and eval outputs have no shape in common"


def test_an_eval_pass_that_fails_is_told_and_nothing_else_is_lost(probe):
    class Fails(nn.Linear):
        def forward(self, x):
            if not self.training:
                message = "no inference yet"
                raise NotImplementedError(message)
            return super().forward(x)

    measured = probe(Fails(6, 4), (2, 6))
    assert measured.missing["eval_repeat_gap"] == "a forward pass failed: NotImplementedError: no inference yet"
    assert len(measured.series["loss"]) == 2
    assert measured.facts["restored"] is True


class SwapsInForward(nn.Module):
    """Puts another block in place when it first runs, as models do that choose their attention by the length of what they get."""

    def __init__(self):
        super().__init__()
        self.holder = nn.Sequential(nn.Linear(16, 16))
        self.head = nn.Linear(16, 4)
        self.swapped = False

    def forward(self, x):
        if not self.swapped:
            self.holder[0] = nn.Sequential(self.holder[0], nn.Dropout(0.5))
            self.swapped = True
        return self.head(self.holder(x))


def test_modules_put_in_by_forward_have_the_mode_of_their_holder(probe):
    model = SwapsInForward()
    facts = probe(model, (8, 16)).facts
    assert (facts["eval_repeat_gap"], facts["restored"]) == (0.0, True)
    assert facts["train_repeat_gap"] > 0.1


class OneGraph(nn.Module):
    """Averages over the rows of its input, which are nodes of one graph."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(6, 4)

    def forward(self, x, adjacency):
        return self.linear(adjacency @ x)


def test_rows_that_are_no_samples_are_not_put_beside_others(probe):
    measured = probe(OneGraph(), (4, 6), (1, 4, 4))
    assert "eval_batch_gap" not in measured.facts
    assert measured.missing["eval_batch_gap"] == "samples of a batch cannot be told apart, or there is only one"
