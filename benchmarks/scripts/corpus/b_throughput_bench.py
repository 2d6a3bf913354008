"""Throughput and memory of timm models: forward only and forward+backward, on random data."""
import argparse
import csv
import time
from contextlib import nullcontext

import timm
import torch
import torch.nn.functional as F
from torch.profiler import ProfilerActivity, profile, schedule

parser = argparse.ArgumentParser()
parser.add_argument("--models", nargs="+", default=["resnet50", "efficientnet_b0", "vit_small_patch16_224"])
parser.add_argument("-b", "--batch-size", type=int, default=64)
parser.add_argument("--steps", type=int, default=50)
parser.add_argument("--amp", action="store_true")
parser.add_argument("--trace", default="")
args = parser.parse_args()


def sync():
    if torch.cuda.is_available():
        torch.cuda.synchronize()


class Bench:
    def __init__(self, name, device):
        self.name, self.device = name, device
        self.model = timm.create_model(name).to(device)
        self.x = torch.randn(args.batch_size, 3, 224, 224, device=device)
        self.y = torch.randint(0, 1000, (args.batch_size,), device=device)
        self.amp = torch.autocast(device_type=device) if args.amp else nullcontext()

    def _time(self, fn):
        for _ in range(10):
            fn()
        sync()
        t0 = time.perf_counter()
        for _ in range(args.steps):
            fn()
        sync()
        return args.steps * args.batch_size / (time.perf_counter() - t0)

    def train(self):
        self.model.train()
        opt = torch.optim.SGD(self.model.parameters(), lr=1e-3)

        def step():
            opt.zero_grad(set_to_none=True)
            with self.amp:
                loss = F.cross_entropy(self.model(self.x), self.y)
            loss.backward()
            opt.step()

        return self._time(step)

    def forward_only(self):
        # cost of the forward as it runs in training, hence not in eval mode
        self.model.train()

        def step():
            with torch.no_grad(), self.amp:
                self.model(self.x)  # allow: NA401 NA404

        return self._time(step)

    def infer(self):
        self.model.eval()
        with torch.inference_mode(), self.amp:
            return self._time(lambda: self.model(self.x))

    def trace(self, path):
        with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA], schedule=schedule(1, 1, 3)) as prof:
            for _ in range(5):
                self.model(self.x)  # allow: NA401 NA404
                prof.step()
        prof.export_chrome_trace(path)


if __name__ == "__main__":
    rows = []
    for name in args.models:
        b = Bench(name, "cuda" if torch.cuda.is_available() else "cpu")
        if args.trace:
            b.trace(f"{args.trace}_{name}.json")
        rows.append([name, b.train(), b.forward_only(), b.infer()])
        print("%-30s train %.1f fwd %.1f infer %.1f img/s" % tuple(rows[-1]))
    with open("bench.csv", "w") as f:
        csv.writer(f).writerows(rows)
