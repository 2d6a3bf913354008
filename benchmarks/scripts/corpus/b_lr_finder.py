"""Learning rate range test. The model and optimizer are restored afterwards."""
import copy

import matplotlib.pyplot as plt
import torch
from tqdm.auto import tqdm


class LRFinder:
    def __init__(self, model, optimizer, criterion, device=None):
        self.model, self.optimizer, self.criterion = model, optimizer, criterion
        self.device = device or next(model.parameters()).device
        self.history = {"lr": [], "loss": []}
        self._saved = copy.deepcopy(model.state_dict()), copy.deepcopy(optimizer.state_dict())

    def reset(self):
        self.model.load_state_dict(self._saved[0])
        self.optimizer.load_state_dict(self._saved[1])

    def range_test(self, train_loader, val_loader=None, start_lr=1e-7, end_lr=10, num_iter=100, smooth_f=0.05, diverge_th=5):
        for g in self.optimizer.param_groups:
            g["lr"] = start_lr
        sched = torch.optim.lr_scheduler.LambdaLR(self.optimizer, lambda i: (end_lr / start_lr) ** (i / num_iter))
        best, it = None, iter(train_loader)
        for iteration in tqdm(range(num_iter)):
            try:
                batch = next(it)
            except StopIteration:
                it = iter(train_loader)
                batch = next(it)
            loss = self._train_batch(batch)
            if val_loader is not None:
                loss = self._validate(val_loader)
            sched.step()
            if self.history["loss"]:
                loss = smooth_f * loss + (1 - smooth_f) * self.history["loss"][-1]
            self.history["lr"].append(sched.get_last_lr()[0])
            self.history["loss"].append(loss)
            best = loss if best is None else min(best, loss)
            if loss > diverge_th * best:
                print("Stopping early, the loss has diverged")
                break

    def _train_batch(self, batch):
        self.model.train()
        x, y = (t.to(self.device) for t in batch)
        self.optimizer.zero_grad()
        loss = self.criterion(self.model(x), y)
        loss.backward()
        self.optimizer.step()
        return loss.item()

    def _validate(self, loader):
        running = 0
        self.model.eval()
        with torch.no_grad():
            for x, y in loader:
                x, y = x.to(self.device), y.to(self.device)
                running += self.criterion(self.model(x), y).item() * len(x)
        return running / len(loader.dataset)

    def plot(self, path="lr.png"):
        plt.plot(self.history["lr"], self.history["loss"])
        plt.xscale("log")
        plt.savefig(path)


if __name__ == "__main__":
    from torchvision import models
    net = models.resnet18(num_classes=10)
    opt = torch.optim.SGD(net.parameters(), lr=0.1)
    data = [(torch.randn(8, 3, 32, 32), torch.randint(0, 10, (8,))) for _ in range(20)]
    finder = LRFinder(net, opt, torch.nn.CrossEntropyLoss())
    finder.range_test(data, num_iter=20)
    finder.reset()
