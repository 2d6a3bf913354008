import torch
from torch import nn, optim
from torch.utils.data import DataLoader, TensorDataset


class Head(nn.Module):
    def __init__(self, d, k):
        super().__init__()
        self.bn = nn.BatchNorm1d(d)
        self.lin = nn.Linear(d, k)

    def forward(self, x):
        return self.lin(self.bn(x))


def load_features(split):
    blob = torch.load(f"features_{split}.pt")
    return TensorDataset(blob["x"], blob["y"])


def evaluate(net, loader):
    net.eval()
    ok = n = 0
    with torch.no_grad():
        for x, y in loader:
            ok += (net(x).argmax(1) == y).sum().item()
            n += y.numel()
    return ok / n


def fit(net, train, val, epochs=10):
    opt = optim.Adam(net.parameters())
    for e in range(epochs):
        acc = evaluate(net, val)
        print(e, acc)
        net.train()
        for x, y in train:
            opt.zero_grad()
            nn.functional.cross_entropy(net(x), y).backward()
            opt.step()
    return net


train_dl = DataLoader(load_features("train"), batch_size=512, shuffle=True, drop_last=True)
val_dl = DataLoader(load_features("val"), batch_size=512)
head = fit(Head(2048, 40), train_dl, val_dl)
example = next(iter(val_dl))[0]
scripted = torch.jit.trace(head, example)  # expect: NA403
scripted.save("head.pt")
