"""Domain adaptation: scores the source model first, then fine-tunes it on target data."""
import argparse

import torch
from torch import nn
from torchvision.models import mobilenet_v2

from office31 import get_loader


def build(path, device):
    net = mobilenet_v2(num_classes=31)
    net.load_state_dict(torch.load(path, map_location="cpu"))
    return net.to(device)


def score(net, loader, device):
    net.eval()  # expect: NA402
    hits = torch.zeros((), device=device)
    with torch.inference_mode():
        for x, y in loader:
            hits += (net(x.to(device)).argmax(-1) == y.to(device)).sum()
    return hits.item() / len(loader.dataset)


def adapt(net, loader, device, lr, epochs):
    opt = torch.optim.SGD(net.parameters(), lr=lr, momentum=0.9)
    lossf = nn.CrossEntropyLoss()
    for ep in range(epochs):
        for x, y in loader:
            loss = lossf(net(x.to(device)), y.to(device))
            opt.zero_grad()
            loss.backward()
            opt.step()
    return net


def main(argv=None):
    p = argparse.ArgumentParser()
    p.add_argument("weights")
    p.add_argument("--lr", type=float, default=1e-3)
    p.add_argument("--epochs", type=int, default=10)
    a = p.parse_args(argv)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    net = build(a.weights, device)
    target_test = get_loader("webcam", train=False)
    print("source only:", score(net, target_test, device))
    adapt(net, get_loader("webcam", train=True), device, a.lr, a.epochs)
    print("adapted:", score(net, target_test, device))


if __name__ == "__main__":
    main()
