#!/usr/bin/env python3
"""Export a trained segmentation model to ONNX and compare the outputs."""
import argparse
import logging

import numpy as np
import onnx
import onnxruntime
import segmentation_models_pytorch as smp
import torch

logger = logging.getLogger("export")


def get_args():
    p = argparse.ArgumentParser()
    p.add_argument("checkpoint")
    p.add_argument("--output", default="model.onnx")
    p.add_argument("--height", type=int, default=512)
    p.add_argument("--width", type=int, default=512)
    p.add_argument("--encoder", default="resnet34")
    return p.parse_args()


def build_model(args):
    model = smp.Unet(args.encoder, encoder_weights=None, classes=1)
    state = torch.load(args.checkpoint, map_location="cpu")
    state = state.get("model_state_dict", state)
    model.load_state_dict({k.removeprefix("module."): v for k, v in state.items()})
    return model


def check(path, dummy, expected):
    onnx.checker.check_model(onnx.load(path))
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (got,) = session.run(None, {"image": dummy.numpy()})
    diff = np.abs(got - expected.numpy()).max()
    logger.info("largest difference %.2e", diff)
    return diff < 1e-3


def main():
    logging.basicConfig(level=logging.INFO)
    args = get_args()
    model = build_model(args)
    dummy = torch.randn(1, 3, args.height, args.width)
    torch.onnx.export(model, (dummy,), args.output, input_names=["image"], output_names=["mask"], dynamo=True)  # expect: NA403
    model.eval()
    with torch.no_grad():
        expected = model(dummy)
    if not check(args.output, dummy, expected):
        logger.warning("outputs differ!")


if __name__ == "__main__":
    main()
