"""Throughput of a few timm models on random input; also the parameter counts."""
import argparse
import time

import timm
import torch


def count(model):
    return sum(p.numel() for p in model.parameters()) / 1e6


def throughput(model, batch, size, steps, backward):
    x = torch.randn(batch, 3, size, size, device='cuda')
    for i in range(steps + 10):
        if i == 10:
            torch.cuda.synchronize()
            t = time.perf_counter()
        y = model(x)
        if backward:
            y.sum().backward()
    torch.cuda.synchronize()
    return batch * steps / (time.perf_counter() - t)


def smoke():
    net = timm.create_model('resnet50d')
    with torch.no_grad():
        out = net(torch.randn(2, 3, 224, 224))
    assert out.shape == (2, 1000), out.shape


if __name__ == '__main__':
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('models', nargs='+')
    parser.add_argument('-b', '--batch', type=int, default=64)
    parser.add_argument('--size', type=int, default=224)
    parser.add_argument('--steps', type=int, default=50)
    args = parser.parse_args()
    smoke()
    for name in args.models:
        model = timm.create_model(name).cuda()
        fwd_bwd = throughput(model, args.batch, args.size, args.steps, True)
        model.eval()
        with torch.inference_mode():
            fwd = throughput(model, args.batch, args.size, args.steps, False)
        print(f'{name:30} {count(model):7.1f}M {fwd:8.0f} img/s {fwd_bwd:8.0f} img/s (train)')
