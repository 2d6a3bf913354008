from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from normadvisor.targets.inputs import candidate_inputs
from normadvisor.types import RunContext

_spec = importlib.util.spec_from_file_location("driver", Path(__file__).with_name("driver.py"))
driver = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(driver)


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("torchvision.models:resnet18", "2x3x224x224"),
        ("torchvision.models:googlenet", "2x3x224x224"),
        ("torchvision.models.video:r3d_18", "2x3x16x112x112"),
        ("torchvision.models.optical_flow:raft_small", "2x3x224x224 2x3x224x224"),
        ("torchvision.models.segmentation:lraspp_mobilenet_v3_large", "2x3x224x224"),
        ("timm:create_model('vit_tiny_patch16_384')", "2x3x384x384"),
        ("timm:create_model('efficientnet_b0', in_chans=1)", "2x1x224x224"),
        ("transformers:BertModel(num_hidden_layers=1)", "input_ids=2x16:int64"),
        ("transformers:ViTModel(num_hidden_layers=1, image_size=64)", "pixel_values=2x3x64x64"),
        ("transformers:T5Model(num_layers=1)", "input_ids=2x16:int64 decoder_input_ids=2x16:int64"),
        ("transformers:CLIPModel", "input_ids=2x16:int64 pixel_values=2x3x224x224"),
        ("transformers:ASTModel(num_hidden_layers=1)", "input_values=2x1024x128"),
    ],
)
def test_accepted_inputs(from_zoo, target, expected):
    assert driver.find(from_zoo(target).model)[0].spec == expected


def test_detectors_take_lists_of_images_with_and_without_targets(from_zoo):
    search = candidate_inputs(from_zoo("torchvision.models.detection:maskrcnn_resnet50_fpn").model, [], RunContext())
    with_targets = next(search)
    target = "{boxes=2x4, labels=2:int64, masks=2x320x320:uint8}"
    assert with_targets.spec == f"[3x320x320, 3x320x320] [{target}, {target}]"
    assert search.send(ValueError("not these")).spec == "[3x320x320, 3x320x320]"
