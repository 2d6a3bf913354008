import numpy as np
import torch
import torch.nn.functional as F


class Engine:
    def __init__(self, model, config):
        self.model = model.to(config["device"])
        self.config = config
        self.opt = torch.optim.Adam(self.model.parameters(), lr=config["lr"])

    def _batch(self, batch):
        u, i, r = (t.to(self.config["device"]) for t in batch)
        self.opt.zero_grad()
        loss = F.binary_cross_entropy_with_logits(self.model(u, i), r.float())
        loss.backward()
        self.opt.step()
        return loss.item()

    def train_an_epoch(self, loader):
        self.model.train()
        return np.mean([self._batch(b) for b in loader])

    def evaluate(self, data, k=10):
        self.model.eval()
        hits, ndcg = [], []
        with torch.no_grad():
            for u, items in data:
                users = torch.full((len(items),), u, device=self.config["device"])
                scores = self.model(users, items.to(self.config["device"]))
                top = scores.topk(k).indices.tolist()
                hits.append(0 in top)
                ndcg.append(1 / np.log2(top.index(0) + 2) if 0 in top else 0)
        return np.mean(hits), np.mean(ndcg)
