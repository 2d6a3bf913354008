import argparse
import sys

import numpy as np
import onnx
import onnxruntime
import torch

from midas.dpt_depth import DepthNet
from midas.utils import load_weights


def parse():
    p = argparse.ArgumentParser()
    p.add_argument("--weights", default="weights/depth_small.pt")
    p.add_argument("--img-size", nargs="+", type=int, default=[256, 256])
    p.add_argument("--dynamic", action="store_true")
    p.add_argument("--train-mode", action="store_true", help="export for further training")
    return p.parse_args()


def check(path, x, reference):
    onnx.checker.check_model(onnx.load(path))
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    out = session.run(None, {session.get_inputs()[0].name: x.numpy()})[0]
    np.testing.assert_allclose(reference.numpy(), out, rtol=1e-3, atol=1e-4)


def export(model, x, path, dynamic):
    axes = {"image": {0: "batch"}, "depth": {0: "batch"}} if dynamic else None
    torch.onnx.export(model, (x,), path, input_names=["image"], output_names=["depth"], dynamic_axes=axes, opset_version=17)


def main():
    args = parse()
    model = DepthNet(backbone="efficientnet_lite3", non_negative=True)
    load_weights(model, args.weights)
    for p in model.parameters():
        p.requires_grad_(False)
    model.train(args.train_mode)
    if args.train_mode:
        print("nothing to verify in training mode", file=sys.stderr)
        return
    x = torch.zeros(1, 3, *args.img_size)
    y = model(x)  # warm up, and reference for the check
    for dynamic in {False, args.dynamic}:
        path = "depth_dynamic.onnx" if dynamic else "depth.onnx"
        export(model, x, path, dynamic)
        check(path, x, y)
    torch.jit.trace(model, x).save("depth.torchscript")


if __name__ == "__main__":
    main()
