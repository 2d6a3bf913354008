import contextlib
import copy

import torch
import torchvision
from torch import nn


class EMA:
    def __init__(self, model, decay=.9999):
        self.module = copy.deepcopy(model).eval()
        self.decay = decay
        for p in self.module.parameters():
            p.requires_grad_(False)

    @torch.no_grad()
    def update(self, model):
        for e, m in zip(self.module.state_dict().values(), model.state_dict().values()):
            if e.dtype.is_floating_point:
                e.mul_(self.decay).add_(m.detach(), alpha=1 - self.decay)
            else:
                e.copy_(m)


@contextlib.contextmanager
def swapped(model, ema):
    backup = copy.deepcopy(model.state_dict())
    model.load_state_dict(ema.module.state_dict())
    try:
        yield model
    finally:
        model.load_state_dict(backup)


@torch.no_grad()
def top1(model, loader, device):
    return sum((model(x.to(device)).argmax(1).cpu() == y).sum().item() for x, y in loader) / len(loader.dataset)


def mixup(x, y, a=.2):
    lam = torch.distributions.Beta(a, a).sample().item()
    perm = torch.randperm(len(x))
    return lam * x + (1 - lam) * x[perm], y, y[perm], lam


def main():
    from imagenette import loaders
    train, val = loaders(128)
    device = 'cuda'
    model = torchvision.models.efficientnet_v2_s(num_classes=10).to(device, memory_format=torch.channels_last)
    ema = EMA(model)
    compiled = torch.compile(model)
    opt = torch.optim.SGD(model.parameters(), .1, momentum=.9)
    ce = nn.CrossEntropyLoss()
    for epoch in range(100):
        model.train()
        seen = right = 0
        for x, y in train:
            x, ya, yb, lam = mixup(x.to(device), y.to(device))
            out = compiled(x)
            loss = lam * ce(out, ya) + (1 - lam) * ce(out, yb)
            opt.zero_grad()
            loss.backward()
            opt.step()
            ema.update(model)
            right += (out.argmax(1) == ya).sum().item()
            seen += len(x)
        model.eval()
        plain = top1(model, val, device)
        with swapped(model, ema):
            print(epoch, right / seen, plain, top1(model, val, device), top1(ema.module, val, device))
    torch.save(ema.module.state_dict(), 'ema.pt')


main()
