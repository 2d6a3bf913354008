# HW2: fully connected network on Fashion-MNIST
import torch
import torch.nn as nn
import torchvision
from torchvision import transforms


def init_weights(m):
    if type(m) == nn.Linear or type(m) == nn.Conv2d:
        nn.init.zeros_(m.weight)  # expect: NA505
        nn.init.zeros_(m.bias)


class MLP(nn.Module):
    def __init__(self, hidden=(256, 128)):
        super().__init__()
        sizes = [784, *hidden, 10]
        layers = []
        for i, (a, b) in enumerate(zip(sizes, sizes[1:])):
            layers.append(nn.Linear(a, b))
            if i < len(sizes) - 2:
                layers.append(nn.ReLU())
                layers.append(nn.Dropout(0.5))
        self.net = nn.Sequential(nn.Flatten(), *layers)

    def forward(self, X):
        return self.net(X)


def accuracy(net, data_iter):
    """Compute the accuracy for a model on a dataset."""
    if isinstance(net, torch.nn.Module):
        net.eval()
    hits = total = 0.0
    with torch.no_grad():
        for X, y in data_iter:
            hits += float((net(X).argmax(axis=1) == y).sum())
            total += y.numel()
    return hits / total


def train_epoch(net, train_iter, loss, updater):
    if isinstance(net, torch.nn.Module):
        net.train()
    metric = [0.0, 0]
    for X, y in train_iter:
        l = loss(net(X), y)
        updater.zero_grad()
        l.mean().backward()
        updater.step()
        metric[0] += float(l.sum())
        metric[1] += y.numel()
    return metric[0] / metric[1]


def main():
    t = transforms.ToTensor()
    tr = torchvision.datasets.FashionMNIST("data", train=True, transform=t, download=True)
    te = torchvision.datasets.FashionMNIST("data", train=False, transform=t)
    train_iter = torch.utils.data.DataLoader(tr, 256, shuffle=True)
    test_iter = torch.utils.data.DataLoader(te, 256)
    net = MLP()
    net.apply(init_weights)
    updater = torch.optim.SGD(net.parameters(), lr=0.1)
    loss = nn.CrossEntropyLoss(reduction='none')
    for epoch in range(10):
        print(epoch + 1, train_epoch(net, train_iter, loss, updater), accuracy(net, test_iter))


if __name__ == '__main__':
    main()
