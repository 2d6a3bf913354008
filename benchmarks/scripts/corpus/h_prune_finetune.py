import copy
import sys

import torch
import torch.nn as nn
import torch.nn.utils.prune as prune
import torchvision as tv
from tqdm import tqdm


def loaders(root, bs=128):
    t = tv.transforms.Compose([tv.transforms.Resize(224), tv.transforms.ToTensor()])
    a = tv.datasets.CIFAR10(root, True, t, download=True)
    b = tv.datasets.CIFAR10(root, False, t)
    return torch.utils.data.DataLoader(a, bs, True), torch.utils.data.DataLoader(b, bs)


def measure_sparsity(model):
    zero = total = 0
    for m in model.modules():
        if isinstance(m, nn.Conv2d):
            zero += int((m.weight == 0).sum())
            total += m.weight.nelement()
    return zero / total


def finetune(model, loader, epochs, lr):
    opt = torch.optim.SGD(model.parameters(), lr, momentum=0.9)
    for _ in range(epochs):
        for x, y in tqdm(loader):
            opt.zero_grad()
            loss = nn.functional.cross_entropy(model(x.cuda()), y.cuda())
            loss.backward()
            opt.step()
    return model


def test(model, loader):
    model.eval()  # expect: NA402
    n = 0
    with torch.no_grad():
        for x, y in loader:
            n += (model(x.cuda()).max(1)[1].cpu() == y).sum().item()
    return n / len(loader.dataset)


def iterative_prune(model, train_dl, test_dl, rounds=5, amount=0.2):
    best = None
    for r in range(rounds):
        targets = [(m, "weight") for m in model.modules() if isinstance(m, nn.Conv2d)]
        prune.global_unstructured(targets, pruning_method=prune.L1Unstructured, amount=amount)
        before = test(model, test_dl)
        finetune(model, train_dl, 2, 1e-3)
        after = test(model, test_dl)
        print(f"round {r} sparsity {measure_sparsity(model):.3f} {before:.4f} -> {after:.4f}")
        if best is None or after > best[0]:
            best = after, copy.deepcopy(model.state_dict())
    for m, name in targets:
        prune.remove(m, name)
    return best


if __name__ == "__main__":
    train_dl, test_dl = loaders(sys.argv[1])
    net = tv.models.vgg16_bn(weights="DEFAULT")
    net.classifier[-1] = nn.Linear(4096, 10)
    net.cuda()
    finetune(net, train_dl, 5, 1e-2)
    acc, state = iterative_prune(net, train_dl, test_dl)
    torch.save(state, f"pruned_{acc:.4f}.pth")
