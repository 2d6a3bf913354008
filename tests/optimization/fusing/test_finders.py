import pytest
import torch
from torch import nn

from normadvisor.fused import FusedBatchNormAct2d
from normadvisor.optimization.candidate import Refused
from normadvisor.optimization.finders import finders
from normadvisor.optimization.fusing.finders import find_fused
from normadvisor.optimization.fusing.places import places

ON_CPU = "on cpu torch's own operations are the faster ones: the fused ones are kernels for NVIDIA GPUs"


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.bn, self.act = nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.ReLU()
        self.gn, self.silu, self.ln = nn.GroupNorm(2, 4), nn.SiLU(), nn.LayerNorm(6)

    def forward(self, x):
        y = self.act(self.bn(self.conv(x)))
        y = self.silu(self.gn(y))
        return self.ln(y + y.flip(0))


def test_the_finder_is_registered():
    assert find_fused in finders()["fuse"]


def test_on_a_cpu_each_place_is_refused(fusing):
    found = fusing(Model(), torch.randn(2, 3, 6, 6), force=False)
    assert found.found == [
        Refused(rule="NA702", modules=("bn",), reason=ON_CPU),
        Refused(rule="NA702", modules=("gn",), reason=ON_CPU),
        Refused(rule="NA703", modules=("ln",), reason=ON_CPU),
    ]
    assert fusing(nn.Linear(2, 2), torch.randn(2, 2), force=False).found == []


def test_everything_is_found_in_one_go(fusing):
    found = fusing(Model(), torch.randn(2, 3, 6, 6))
    assert [(item.group, item.modules) for item in found.candidates] == [
        ("NA702 batch_norm + relu -> fused batch_norm_act", ("bn", "act")),
        ("NA702 group_norm + silu -> fused group_norm_act", ("gn", "silu")),
        ("NA703 add + layer_norm -> fused add_layer_norm", ("ln",)),
    ]
    found.check()
    found.check_kernels()


class Separate(nn.Module):
    """Recognised as a norm by what it computes; where it keeps its scale is its own business."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(4, 1, 1))

    def forward(self, x):
        mean, var = x.mean((0, 2, 3), keepdim=True), x.var((0, 2, 3), unbiased=False, keepdim=True)
        return (x - mean) / torch.sqrt(var + 1e-5) * self.scale


def test_what_is_left_says_why(fusing):
    found = fusing(nn.Sequential(nn.SyncBatchNorm(3), nn.ReLU(), nn.Conv2d(3, 4, 1), Separate(), nn.ReLU()), torch.randn(4, 3, 8, 8), mode="inference")
    assert found.places == []
    assert found.left == [
        (("0", "1"), "SyncBatchNorm exchanges statistics between processes, which no fused operation does"),
        (("3", "4"), "Separate is no norm of torch.nn, and it is not known where it keeps what it needs"),
    ]


@pytest.mark.parametrize(
    ("name", "counts"),
    [
        ("efficientnet_b0", {"batch_norm + silu": 33}),
        ("resnetv2_50", {"batch_norm + relu": 49}),
        ("resnet50_gn", {"group_norm + relu": 33}),
        ("vit_tiny_patch16_224", {"add + layer_norm": 12}),
        ("mobilenetv3_small_050", {"batch_norm + relu": 5, "batch_norm + hardswish": 18}),
    ],
)
def test_timm_models(fusing, zoo, name, counts):
    timm = zoo("timm")

    size = {"img_size": 32} if "vit" in name else {}
    found = fusing(timm.create_model(name, num_classes=2, **size), torch.randn(2, 3, 32, 32))
    patterns = [pattern for pattern, _ in found.places]
    assert {pattern: patterns.count(pattern) for pattern in patterns} == counts
    found.check()


def test_every_place_of_the_graph_is_found_or_has_a_reason(fusing, zoo):
    timm = zoo("timm")

    from normadvisor.graph import trace

    found = fusing(timm.create_model("regnetx_002", num_classes=2), torch.randn(2, 3, 32, 32))
    graph = trace(found.model, found.inputs, target="model", sites={}, mode="train")
    shown = {(place.rule, place.modules[0]) for place in places(graph)}
    assert {(item.rule, item.modules[0]) for item in found.found} == shown


def test_what_is_fused_stays_so(fusing):
    fused = fusing(nn.Sequential(nn.BatchNorm2d(3), nn.ReLU(), nn.SiLU()), torch.randn(2, 3, 4, 4)).check().float()
    assert [type(layer) for layer in fused] == [FusedBatchNormAct2d, nn.Identity, nn.SiLU]
    assert fusing(fused, torch.randn(2, 3, 4, 4)).found == []
    assert fusing(fused, torch.randn(2, 3, 4, 4), force=False).found == []
