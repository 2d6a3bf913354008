"""Pool based active learning: train on the labelled part, score the rest, move the most uncertain over."""
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Subset
from torchvision import datasets, transforms
from torchvision.models import vgg16_bn


class Strategy:
    def __init__(self, dataset, idxs_lb, args):
        self.dataset = dataset
        self.idxs_lb = idxs_lb
        self.args = args
        self.device = torch.device(args["device"])
        self.clf = None

    def train(self):
        net = vgg16_bn(weights=None, num_classes=10)
        self.clf = net.to(self.device)
        self.clf.train()
        optimizer = torch.optim.SGD(self.clf.parameters(), lr=0.05, momentum=0.3)
        loader = DataLoader(Subset(self.dataset, np.where(self.idxs_lb)[0]), shuffle=True, batch_size=64)
        for epoch in range(self.args["n_epoch"]):
            for x, y in loader:
                x, y = x.to(self.device), y.to(self.device)
                optimizer.zero_grad()
                loss = F.cross_entropy(self.clf(x), y)
                loss.backward()
                optimizer.step()

    def predict(self, data):
        self.clf.eval()
        preds = torch.zeros(len(data), dtype=torch.long)
        with torch.no_grad():
            for i, (x, _) in enumerate(DataLoader(data, batch_size=500)):
                preds[i * 500:(i + 1) * 500] = self.clf(x.to(self.device)).argmax(1).cpu()
        return preds

    def predict_prob(self, data):
        probs = []
        with torch.no_grad():
            for x, _ in DataLoader(data, batch_size=500):
                out = self.clf(x.to(self.device))  # expect: NA401
                probs.append(F.softmax(out, dim=1).cpu())
        return torch.cat(probs)


class EntropySampling(Strategy):
    def query(self, n):
        unlabeled = np.where(~self.idxs_lb)[0]
        probs = self.predict_prob(Subset(self.dataset, unlabeled))
        u = (probs * torch.log(probs + 1e-12)).sum(1)
        return unlabeled[u.sort()[1][:n].numpy()]


def main():
    tf = transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.5,) * 3, (0.5,) * 3)])
    pool = datasets.CIFAR10("data", train=True, download=True, transform=tf)
    test = datasets.CIFAR10("data", train=False, transform=tf)
    labelled = np.zeros(len(pool), dtype=bool)
    labelled[np.random.choice(len(pool), 1000, replace=False)] = True
    strategy = EntropySampling(pool, labelled, {"n_epoch": 20, "device": "cuda"})
    y_test = torch.tensor(test.targets)
    for rd in range(10):
        strategy.train()
        q = strategy.query(1000)
        acc = (strategy.predict(test) == y_test).float().mean().item()
        print(f"round {rd}: {labelled.sum()} labels, acc {acc:.4f}")
        strategy.idxs_lb[q] = True


if __name__ == "__main__":
    main()
