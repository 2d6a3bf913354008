from typing import ClassVar

import pytest
import torch
from torch import fx, nn

from normadvisor.optimization.candidate import Setting
from normadvisor.optimization.fusing.layouts import Layout, recorded

TENSORS = [
    (torch.zeros(2, 3, 4, 5), "2x3x4x5 float32 contiguous"),
    (torch.zeros(2, 3, 4, 5, dtype=torch.float16).contiguous(memory_format=torch.channels_last), "2x3x4x5 float16 channels_last"),
    (torch.zeros(2, 3, 4, 5, 6).contiguous(memory_format=torch.channels_last_3d), "2x3x4x5x6 float32 channels_last_3d"),
    (torch.zeros(5, 4).T, "4x5 float32 strides 1x4"),
    (torch.zeros(()), " float32 contiguous"),
    (torch.zeros(0, 3), "0x3 float32 contiguous"),
]


@pytest.mark.parametrize(("tensor", "key"), TENSORS, ids=[key for _, key in TENSORS])
def test_keys_and_drawn_tensors(tensor, key):
    layout = Layout.of(tensor)
    drawn = layout.draw(torch.device("cpu"), 1)
    assert layout.key == key
    assert Layout.of(drawn) == layout
    assert torch.equal(drawn, layout.draw(torch.device("cpu"), 1))
    assert tensor.numel() < 2 or not torch.equal(drawn, layout.draw(torch.device("cpu"), 2))


def test_of_nodes():
    node = fx.Graph().placeholder("x")
    assert Layout.of_node(node) is None
    node.meta["value"] = 3
    assert Layout.of_node(node) is None
    node.meta["value"] = torch.zeros(2, device="meta")
    assert Layout.of_node(node) == Layout((2,), torch.float32, (1,))
    assert Layout.of_node(None) is None


class Inputs:
    args = (torch.randn(2, 3, 8, 8),)
    kwargs: ClassVar[dict] = {}


def test_what_layers_get_is_recorded_and_nothing_changes():
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Dropout(0.5), nn.Flatten(), nn.Linear(256, 2)).to(memory_format=torch.channels_last)
    model.train()
    model[2].eval()
    model.spare = None
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = torch.get_rng_state()
    setting = Setting(mode="training", device=torch.device("cpu"), dtype=torch.float32, inputs=Inputs)
    found = recorded(model, {"1", "4"}, setting)
    assert {name: layout.key for name, layout in found.items()} == {"1": "2x4x8x8 float32 channels_last", "4": "2x256 float32 contiguous"}
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert [layer.training for layer in model] == [True, True, False, True, True]
    assert not any(layer._forward_pre_hooks for layer in model)
    assert torch.equal(torch.get_rng_state(), state)
