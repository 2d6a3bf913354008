import argparse
import copy
import os

import torch
import torch.ao.quantization as tq
import torchvision
from torch import nn
from torch.utils.data import DataLoader

from utils.imagenette import imagenette


def evaluate(model, loader, device="cpu"):
    model.eval()
    n = hit = 0
    with torch.inference_mode():
        for x, y in loader:
            hit += (model(x.to(device)).argmax(1) == y.to(device)).sum().item()
            n += len(y)
    return hit / n


def train_one_epoch(model, criterion, optimizer, loader, device, ntrain_batches):
    model.train()
    for count, (x, y) in enumerate(loader):
        loss = criterion(model(x.to(device)), y.to(device))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if count >= ntrain_batches:
            return


def main(args):
    train_loader = DataLoader(imagenette("train"), 64, shuffle=True)
    test_loader = DataLoader(imagenette("val"), 256)
    model = torchvision.models.quantization.mobilenet_v2(weights="DEFAULT", quantize=False)
    model.classifier[1] = nn.Linear(model.last_channel, 10)
    model.fuse_model(is_qat=True)
    model.train()
    model.qconfig = tq.get_default_qat_qconfig("fbgemm")
    tq.prepare_qat(model, inplace=True)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4)
    for nepoch in range(args.epochs):
        train_one_epoch(model, nn.CrossEntropyLoss(), optimizer, train_loader, torch.device("cpu"), 20)
        if nepoch > 3:
            model.apply(tq.disable_observer)
        if nepoch > 2:
            model.apply(torch.nn.intrinsic.qat.freeze_bn_stats)
        snapshot = copy.deepcopy(model)
        quantized_model = tq.convert(snapshot.eval(), inplace=False)
        print("epoch", nepoch, "int8 accuracy", evaluate(quantized_model, test_loader))
    final = tq.convert(model.eval(), inplace=False)
    torch.jit.save(torch.jit.script(final), args.out)
    print("size MB", os.path.getsize(args.out) / 1e6)


if __name__ == "__main__":
    p = argparse.ArgumentParser()
    p.add_argument("--epochs", type=int, default=8)
    p.add_argument("--out", default="qat.pt")
    main(p.parse_args())
