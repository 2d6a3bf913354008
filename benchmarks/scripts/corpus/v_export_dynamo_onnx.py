import argparse
import pathlib

import timm
import torch
from torch import nn


class BreedClassifier(nn.Module):
    def __init__(self, name, classes):
        super().__init__()
        self.encoder = timm.create_model(name, pretrained=False, num_classes=0)
        self.head = nn.Sequential(nn.Dropout(0.3), nn.Linear(self.encoder.num_features, classes))

    def forward(self, x):
        return self.head(self.encoder(x)).softmax(-1)


def read_checkpoint(path):
    blob = torch.load(path, map_location="cpu", weights_only=True)
    model = BreedClassifier(blob["arch"], len(blob["classes"]))
    model.load_state_dict(blob["state_dict"])
    return model, blob["classes"]


def main():
    parser = argparse.ArgumentParser(description="checkpoint to ONNX")
    parser.add_argument("checkpoint", type=pathlib.Path)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--half", action="store_true")
    args = parser.parse_args()
    model, classes = read_checkpoint(args.checkpoint)
    example = torch.randn(2, 3, args.size, args.size)
    if args.half:
        model, example = model.half(), example.half()
    batch = torch.export.Dim("batch", min=1, max=64)
    program = torch.onnx.export(model, (example,), dynamo=True, dynamic_shapes=({0: batch},))  # expect: NA403
    program.optimize()
    program.save(str(args.checkpoint.with_suffix(".onnx")))
    args.checkpoint.with_suffix(".txt").write_text("\n".join(classes))


if __name__ == "__main__":
    main()
