"""Export a classifier to TorchScript, ONNX and torch.export."""
import argparse

import torch
from torchvision.models import get_model, shufflenet_v2_x1_0

FORMATS = ("trace", "onnx", "legacy-onnx", "export")


def build(name, weights):
    model = shufflenet_v2_x1_0(num_classes=12) if name == "default" else get_model(name, num_classes=12)
    if weights:
        model.load_state_dict(torch.load(weights, weights_only=True))
    model.eval()
    for p in model.parameters():
        p.requires_grad_(False)
    return model


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--model", default="default")
    ap.add_argument("--weights")
    ap.add_argument("--format", choices=FORMATS, default="onnx")
    ap.add_argument("--size", type=int, default=224)
    a = ap.parse_args()
    model = build(a.model, a.weights)
    x = torch.rand(1, 3, a.size, a.size)
    if a.format == "trace":
        torch.jit.trace(model, x).save("model.pt")
    elif a.format == "onnx":
        torch.onnx.export(model, (x,), "model.onnx", dynamo=True)
    elif a.format == "legacy-onnx":
        torch.onnx.export(model, x, "model.onnx", opset_version=13, dynamo=False)
    else:
        torch.export.save(torch.export.export(model, (x,)), "model.pt2")


if __name__ == "__main__":
    main()
