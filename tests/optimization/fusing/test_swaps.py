import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import parametrizations

from normadvisor.fused import FusedBatchNormAct1d, FusedBatchNormAct2d, FusedBatchNormAct3d, FusedGroupNormAct
from normadvisor.optimization.fusing.swaps import fused_class
from normadvisor.rewrite.model.journal import Journal
from normadvisor.rewrite.model.refusal import CannotChange

HOOKS = "hooks run around one of the layers, and would see other values"


def images(channels=4, batch=3, side=5):
    return torch.randn(batch, channels, side, side)


@pytest.mark.parametrize("mode", ["training", "inference"])
@pytest.mark.parametrize(
    ("norm", "act", "pattern", "cls"),
    [
        (nn.BatchNorm2d(4), nn.ReLU(inplace=True), "batch_norm + relu", FusedBatchNormAct2d),
        (nn.BatchNorm2d(4, momentum=None, eps=1e-3), nn.SiLU(), "batch_norm + silu", FusedBatchNormAct2d),
        (nn.BatchNorm2d(4, affine=False, track_running_stats=False), nn.LeakyReLU(0.3), "batch_norm + leaky_relu", FusedBatchNormAct2d),
        (nn.GroupNorm(2, 4), nn.SiLU(), "group_norm + silu", FusedGroupNormAct),
        (nn.GroupNorm(4, 4, affine=False), nn.GELU("tanh"), "group_norm + gelu_tanh", FusedGroupNormAct),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else None,
)
def test_a_norm_and_an_activation(fusing, norm, act, pattern, cls, mode):
    found = fusing(nn.Sequential(nn.Conv2d(4, 4, 3), norm, act, nn.Conv2d(4, 2, 1)), images(), mode=mode)
    assert found.places == [(pattern, ("1", "2"))]
    assert found.left == []
    fused = found.check()
    assert [type(layer) for layer in fused] == [nn.Conv2d, cls, nn.Identity, nn.Conv2d]
    assert [layer.training for layer in fused.modules()] == [mode == "training"] * 5
    found.check_kernels()


@pytest.mark.parametrize(
    ("norm", "x", "cls"),
    [(nn.BatchNorm1d(4), torch.randn(6, 4), FusedBatchNormAct1d), (nn.BatchNorm3d(4), torch.randn(2, 4, 3, 2, 5), FusedBatchNormAct3d)],
)
def test_other_ranks(fusing, norm, x, cls):
    found = fusing(nn.Sequential(norm, nn.Hardswish()), x)
    assert [type(layer) for layer in found.check()] == [cls, nn.Identity]


def test_groups_and_keys(fusing):
    model = nn.Sequential(nn.GroupNorm(2, 4), nn.SiLU(), nn.GroupNorm(4, 4), nn.SiLU()).to(memory_format=torch.channels_last)
    found = fusing(model, images().contiguous(memory_format=torch.channels_last))
    assert {item.group for item in found.candidates} == {"NA702 group_norm + silu -> fused group_norm_act"}
    assert [item.shape_key for item in found.candidates] == [
        "3x4x5x5 float32 channels_last 2 groups silu", "3x4x5x5 float32 channels_last 4 groups silu",
    ]  # fmt: skip
    frozen = nn.Sequential(nn.BatchNorm2d(4), nn.LeakyReLU(0.1))
    keys = []
    for mode in ("training", "inference"):
        keys += [item.shape_key for item in fusing(frozen, images(), mode=mode).candidates]
    assert keys == ["3x4x5x5 float32 contiguous train leaky_relu 0.1", "3x4x5x5 float32 contiguous eval leaky_relu 0.1"]


def test_nothing_between_is_skipped_but_what_does_nothing(fusing):
    model = nn.Sequential(nn.BatchNorm2d(4), nn.Identity(), nn.Dropout(0.0), nn.ReLU())
    assert fusing(model, images()).places == [("batch_norm + relu", ("0", "3"))]
    model = nn.Sequential(nn.BatchNorm2d(4), nn.Dropout(0.5), nn.ReLU())
    assert fusing(model, images()).places == []
    assert fusing(model, images(), mode="inference").places == [("batch_norm + relu", ("0", "2"))]
    assert fusing(nn.Sequential(nn.BatchNorm2d(4), nn.MaxPool2d(2), nn.ReLU()), images()).found == []


class ReadTwice(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm, self.act = nn.BatchNorm2d(4), nn.ReLU()

    def forward(self, x):
        y = self.norm(x)
        return self.act(y) + y


class RunTwice(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm, self.act, self.other = nn.BatchNorm2d(4), nn.ReLU(), nn.ReLU()

    def forward(self, x):
        return self.other(self.norm(self.act(self.norm(x))))


def test_what_others_read_or_what_runs_twice_is_left(fusing):
    assert fusing(ReadTwice(), images()).found == []
    assert fusing(RunTwice(), images()).places == [("batch_norm + relu", ("norm", "act")), ("batch_norm + relu", ("norm", "other"))]
    fusing(RunTwice(), images()).check()


class OwnActivation(nn.Module):
    def forward(self, x):
        return F.gelu(x)


class NormWithActivation(nn.BatchNorm2d):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.drop, self.act = nn.Identity(), nn.SiLU(inplace=True)

    def forward(self, x):
        return self.act(self.drop(super().forward(x)))


def test_derived_classes(fusing):
    found = fusing(nn.Sequential(NormWithActivation(4), nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4), OwnActivation()), images())
    assert found.places == [("batch_norm + silu", ("0",)), ("batch_norm + gelu", ("2", "3"))]
    fused = found.check()
    assert [type(layer) for layer in fused] == [FusedBatchNormAct2d, nn.Conv2d, FusedBatchNormAct2d, nn.Identity]


def test_timm_norms_with_activations(fusing, zoo):
    zoo("timm")
    from timm.layers import BatchNormAct2d, GroupNormAct

    model = nn.Sequential(BatchNormAct2d(4, act_layer="silu"), GroupNormAct(4, num_groups=2), BatchNormAct2d(4, apply_act=False), nn.Hardswish())
    for mode in ("training", "inference"):
        found = fusing(model, images(), mode=mode)
        assert found.places == [("batch_norm + silu", ("0",)), ("group_norm + relu", ("1",)), ("batch_norm + hardswish", ("2", "3"))]
        assert [type(layer) for layer in found.check()] == [FusedBatchNormAct2d, FusedGroupNormAct, FusedBatchNormAct2d, nn.Identity]
        found.check_kernels()


def test_refusals(fusing):
    hooked = nn.Sequential(nn.BatchNorm2d(4), nn.ReLU())
    hooked[1].register_forward_hook(lambda *_: None)
    assert fusing(hooked, images()).left == [(("0", "1"), HOOKS)]
    computed = nn.Sequential(nn.GroupNorm(2, 4), nn.ReLU())
    parametrizations.weight_norm(computed[0], dim=None)
    assert fusing(computed, images()).left == [(("0", "1"), "is parametrized; take the parametrization off before")]
    own = nn.Sequential(nn.GroupNorm(2, 4), nn.ReLU())
    own[0].forward = own[0].forward
    assert fusing(own, images()).places == []


def test_sync_batch_norm_is_said():
    assert fused_class(nn.SyncBatchNorm(4)) is None
    assert fused_class(nn.LayerNorm(4)) is None
    assert fused_class(nn.BatchNorm1d(4)) is FusedBatchNormAct1d


def test_a_changed_model_is_refused_before_anything_happens(fusing):
    model = nn.Sequential(nn.BatchNorm2d(4), nn.ReLU())
    found = fusing(model, images())
    for other in (nn.Sequential(nn.InstanceNorm2d(4), nn.ReLU()), nn.Sequential(nn.Identity())):
        before = list(other)
        with pytest.raises(CannotChange):
            found.candidates[0].apply(other, Journal())
        assert list(other) == before
