import copy
import math
from dataclasses import dataclass, field

import torch
from torch import nn
from torch.utils.data import DataLoader


@dataclass
class EarlyStopping:
    patience: int = 5
    best: float = math.inf
    bad: int = 0
    weights: dict = field(default_factory=dict)

    def __call__(self, loss, model):
        if loss < self.best - 1e-4:
            self.best, self.bad = loss, 0
            self.weights = copy.deepcopy(model.state_dict())
            return False
        self.bad += 1
        return self.bad >= self.patience


class TextCNN(nn.Module):
    def __init__(self, vocab, dim=128, kernels=(3, 4, 5), classes=6):
        super().__init__()
        self.emb = nn.Embedding(vocab, dim, padding_idx=0)
        self.convs = nn.ModuleList([nn.Conv1d(dim, 100, k) for k in kernels])
        self.drop = nn.Dropout(.5)
        self.fc = nn.Linear(300, classes)

    def forward(self, x):
        e = self.emb(x).transpose(1, 2)
        h = torch.cat([torch.relu(c(e)).amax(-1) for c in self.convs], 1)
        return self.fc(self.drop(h))


class LRFinder:
    def __init__(self, model, optimizer, criterion):
        self.model, self.optimizer, self.criterion = model, optimizer, criterion
        self.saved = copy.deepcopy(model.state_dict()), copy.deepcopy(optimizer.state_dict())
        self.history = []

    def range_test(self, loader, start=1e-6, end=1., steps=100):
        self.model.train()
        gamma = (end / start) ** (1 / steps)
        lr, best, it = start, math.inf, iter(loader)
        for _ in range(steps):
            try:
                x, y = next(it)
            except StopIteration:
                it = iter(loader)
                x, y = next(it)
            for g in self.optimizer.param_groups:
                g['lr'] = lr
            loss = self.criterion(self.model(x), y)
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            self.history.append((lr, loss.item()))
            best = min(best, loss.item())
            if loss.item() > 4 * best:
                break
            lr *= gamma
        self.reset()
        return min(self.history, key=lambda h: h[1])[0] / 10

    def reset(self):
        self.model.load_state_dict(self.saved[0])
        self.optimizer.load_state_dict(self.saved[1])


def evaluate(model, loader, criterion):
    model.eval()
    try:
        with torch.no_grad():
            total = 0.
            for x, y in loader:
                total += criterion(model(x), y).item()
            return total / len(loader)
    finally:
        model.train()


def main():
    from emotions import dataset, collate, vocab_size
    train = DataLoader(dataset('train'), 64, shuffle=True, collate_fn=collate)
    val = DataLoader(dataset('val'), 64, collate_fn=collate)
    model, criterion = TextCNN(vocab_size), nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(model.parameters())
    lr = LRFinder(model, optimizer, criterion).range_test(train)
    for g in optimizer.param_groups:
        g['lr'] = lr
    stop = EarlyStopping()
    model.train()
    for epoch in range(100):
        for x, y in train:
            optimizer.zero_grad()
            criterion(model(x), y).backward()
            optimizer.step()
        loss = evaluate(model, val, criterion)
        print(epoch, loss)
        if stop(loss, model):
            break
    model.load_state_dict(stop.weights)
    print('test', evaluate(model, DataLoader(dataset('test'), 64, collate_fn=collate), criterion))


if __name__ == '__main__':
    main()
