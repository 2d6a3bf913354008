import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class MLP(nn.Sequential):
    def __init__(self, d, h, k, p=.2):
        super().__init__(nn.Linear(d, h), nn.ReLU(), nn.Dropout(p), nn.Linear(h, h), nn.ReLU(), nn.Dropout(p), nn.Linear(h, k))


def run_epoch(model, loader, criterion, optimizer=None):
    is_train = optimizer is not None
    model.train(is_train)
    total, correct = 0., 0
    with torch.set_grad_enabled(is_train):
        for x, y in loader:
            out = model(x)
            loss = criterion(out, y)
            if is_train:
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            total += loss.item() * len(x)
            correct += (out.argmax(1) == y).sum().item()
    n = len(loader.dataset)
    return total / n, correct / n


def make(n, seed):
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(n, 20, generator=g)
    return TensorDataset(x, (x[:, :5].sum(1) > 0).long())


model = MLP(20, 64, 2)
crit = nn.CrossEntropyLoss()
opt = torch.optim.RMSprop(model.parameters(), lr=1e-3)
train_loader, test_loader = DataLoader(make(5000, 0), 64, shuffle=True), DataLoader(make(1000, 1), 256)
for epoch in range(1, 21):
    tl, ta = run_epoch(model, train_loader, crit, opt)
    vl, va = run_epoch(model, test_loader, crit)
    print(f'{epoch:02d} {tl:.3f} {ta:.3f} | {vl:.3f} {va:.3f}')
