from __future__ import annotations

import subprocess
import sys

import pytest

from normadvisor.script.knowledge import UNDECIDED, lookup
from normadvisor.script.knowledge.tables import _parsed, names_of


def held(name, arguments=None, *, complete=True):
    """Kinds held by what a call builds."""
    found = lookup(name).contents(arguments, complete=complete)
    return None if found is None else (found.batchnorm, found.dropout, found.other)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("torchvision.models.resnet18", ("factory", "train")),
        ("torchvision.models.detection.fasterrcnn_resnet50_fpn", ("factory", "train")),
        ("torchvision.models.ResNet", ("class", "train")),
        ("torchvision.models.absent", None),
        ("torchvision.transforms.Normalize", None),
        ("timm.create_model", ("factory", "train")),
        ("timm.models.resnet50", ("factory", "train")),
        ("timm.data.create_dataset", None),
        ("transformers.BertForSequenceClassification.from_pretrained", ("factory", "eval")),
        ("transformers.AutoModel.from_pretrained", ("factory", "eval")),
        ("transformers.AutoModelForCausalLM.from_config", ("factory", "train")),
        ("transformers.BertModel", ("class", "train")),
        ("transformers.AutoTokenizer.from_pretrained", None),
        ("transformers.BertConfig.from_pretrained", None),
        ("transformers.BertTokenizer", None),
        ("diffusers.UNet2DConditionModel.from_pretrained", ("factory", "eval")),
        ("diffusers.UNet2DConditionModel", ("class", "train")),
        ("diffusers.DDPMScheduler.from_pretrained", None),
        ("segmentation_models_pytorch.Unet", ("class", "train")),
        ("efficientnet_pytorch.EfficientNet.from_pretrained", ("factory", "train")),
        ("open_clip.create_model_and_transforms", ("pair", "train")),
        ("clip.load", ("pair", "eval")),
        ("ultralytics.YOLO", ("framework", "unknown")),
        ("torch.hub.load", ("factory", "unknown")),
        ("torch.load", None),
        ("numpy.zeros", None),
    ],
)
def test_what_is_known_of_a_name(name, expected):
    found = lookup(name)
    assert (None if found is None else (found.kind, found.initial_mode)) == expected


@pytest.mark.parametrize(
    ("name", "arguments", "expected"),
    [
        ("torchvision.models.resnet18", {}, ("yes", "no", "no")),
        ("torchvision.models.vgg16", {}, ("no", "yes", "no")),
        ("torchvision.models.vgg16", {"dropout": 0.0}, ("no", "unknown", "no")),
        ("torchvision.models.vit_b_16", {}, ("no", "no", "no")),
        ("torchvision.models.vit_b_16", {"dropout": 0.1}, ("no", "yes", "no")),
        ("torchvision.models.convnext_tiny", {}, ("no", "yes", "no")),
        ("torchvision.models.resnet18", {"norm_layer": "torch.nn.GroupNorm"}, ("unknown", "no", "unknown")),
        ("torchvision.models.resnet18", {"weights": UNDECIDED, "num_classes": 3}, ("yes", "no", "no")),
        ("torchvision.models.quantization.resnet18", {}, ("yes", "no", "no")),
        ("torchvision.models.detection.fasterrcnn_resnet50_fpn", {}, ("no", "no", "no")),
        ("torchvision.models.detection.fasterrcnn_resnet50_fpn", {"weights_backbone": None}, ("yes", "no", "no")),
        ("torchvision.models.detection.fasterrcnn_resnet50_fpn", {"weights_backbone": UNDECIDED}, ("unknown", "no", "no")),
        ("torchvision.models.get_model", {0: "ResNet50"}, ("yes", "no", "no")),
        ("torchvision.models.get_model", {0: UNDECIDED}, None),
        ("timm.create_model", {0: "resnet50.a1_in1k", "pretrained": True}, ("yes", "no", "no")),
        ("timm.create_model", {"model_name": "vit_base_patch16_224"}, ("no", "no", "no")),
        ("timm.create_model", {0: "vit_base_patch16_224", "drop_rate": 0.1}, ("no", "yes", "no")),
        ("timm.create_model", {0: "vit_base_patch16_224", "drop_path_rate": 0.1}, ("no", "yes", "no")),
        ("timm.create_model", {0: "vit_base_patch16_224", "drop_path_rate": 0.0}, ("no", "no", "no")),
        ("timm.create_model", {0: "vit_base_patch16_224", "drop_path_rate": UNDECIDED}, ("no", "unknown", "no")),
        ("timm.create_model", {0: "absent"}, None),
        ("timm.create_model", {0: UNDECIDED}, None),
        ("transformers.BertModel", {0: UNDECIDED}, ("no", "yes", "no")),
        ("transformers.LlamaForCausalLM", {0: UNDECIDED}, ("no", "unknown", "no")),
        ("transformers.ResNetForImageClassification", {}, ("yes", "unknown", "no")),
        ("torch.hub.load", {0: "pytorch/vision:v0.10.0", 1: "resnet18"}, ("yes", "no", "no")),
        ("torch.hub.load", {0: "someone/else", 1: "resnet18"}, None),
        ("segmentation_models_pytorch.Unet", {0: "resnet34"}, ("yes", "unknown", "unknown")),
        ("segmentation_models_pytorch.Unet", {0: UNDECIDED}, ("yes", "unknown", "unknown")),
        ("efficientnet_pytorch.EfficientNet.from_name", {0: "efficientnet-b0"}, ("yes", "yes", "no")),
    ],
)
def test_what_a_factory_builds(name, arguments, expected):
    assert held(name, arguments) == expected


def test_further_arguments_leave_a_no_open():
    assert held("torchvision.models.resnet18", complete=False) == ("yes", "unknown", "no")


def test_layers_and_counts():
    found = lookup("torchvision.models.efficientnet_v2_s").contents()
    assert (dict(found.layers), dict(found.counts)) == (
        {"batchnorm": ("BatchNorm2d",), "dropout": ("Dropout", "StochasticDepth")},
        {"BatchNorm2d": 110, "Dropout": 1, "StochasticDepth": 39},
    )


def test_tables_are_read_only_when_needed():
    code = (
        "import sys, normadvisor.script.knowledge as k\n"
        "from normadvisor.script.knowledge.tables import names_of\n"
        "k.lookup('torch.nn.Linear'); assert names_of.cache_info().currsize == 0\n"
        "k.lookup('torchvision.models.resnet18'); assert names_of.cache_info().currsize == 1\n"
        "assert not {'torch', 'timm', 'torchvision', 'transformers'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_what_a_model_holds_is_parsed_when_it_is_asked_for():
    names_of.cache_clear()
    _parsed.cache_clear()
    assert len(names_of("timm")) > 1000
    assert _parsed.cache_info().currsize == 0
    for name in ("resnet18", "resnet50"):
        lookup(f"timm.models.{name}").contents()
    assert _parsed.cache_info().currsize == 2


def test_tables_agree_with_the_installed_libraries():
    torchvision = pytest.importorskip("torchvision")
    known = set(names_of("torchvision"))
    assert [name for name in ("resnet18", "vit_b_16", "maxvit_t", "raft_small") if name not in known] == []
    model = torchvision.models.mobilenet_v3_small()
    counts = lookup("torchvision.models.mobilenet_v3_small").contents().counts
    assert {name: sum(type(module).__name__ == name for module in model.modules()) for name in counts} == dict(counts)
