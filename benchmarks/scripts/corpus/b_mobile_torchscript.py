import sys

import torch
import torchvision
from torch.utils.mobile_optimizer import optimize_for_mobile

NAMES = ["mobilenet_v2", "squeezenet1_1", "mnasnet1_0"]


def load(name, weights):
    model = getattr(torchvision.models, name)(num_classes=37)
    model.load_state_dict(torch.load(weights, map_location="cpu"))
    return model


def export_traced(weights):
    model = torchvision.models.mobilenet_v2(num_classes=37)
    model.load_state_dict(torch.load(weights, map_location="cpu"))
    example = torch.rand(1, 3, 224, 224)
    traced = torch.jit.trace(model, example)  # expect: NA403
    optimize_for_mobile(traced)._save_for_lite_interpreter("mobilenet_v2.ptl")
    print("wrote mobilenet_v2.ptl")


def export_scripted(weights):
    model = torchvision.models.mnasnet1_0(num_classes=37)
    model.load_state_dict(torch.load(weights, map_location="cpu"))
    scripted = torch.jit.script(model)  # expect: NA403:info
    scripted.save("mnasnet.pt")


def export_quantized(weights):
    model = torchvision.models.quantization.mobilenet_v2(num_classes=37)
    model.load_state_dict(torch.load(weights, map_location="cpu"))
    model.eval()
    model.fuse_model()
    model.qconfig = torch.quantization.get_default_qconfig("qnnpack")
    torch.quantization.prepare(model, inplace=True)
    for _ in range(10):
        model(torch.rand(4, 3, 224, 224))
    torch.quantization.convert(model, inplace=True)
    torch.jit.trace(model, torch.rand(1, 3, 224, 224)).save("mobilenet_v2_q.pt")


if __name__ == "__main__":
    kind, path = sys.argv[1:3]
    {"trace": export_traced, "script": export_scripted, "quant": export_quantized}[kind](path)
