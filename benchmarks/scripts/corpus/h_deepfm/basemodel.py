"""Keras-like base class: compile, fit, evaluate, predict."""
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
import torch.utils.data as Data


class BaseModel(nn.Module):
    def __init__(self, device='cpu'):
        super(BaseModel, self).__init__()
        self.device = device

    def compile(self, lr=1e-3, metrics=None):
        self.optim = torch.optim.Adam(self.parameters(), lr=lr)
        self.loss_func = F.binary_cross_entropy
        self.metrics = metrics or {}

    def fit(self, x, y, batch_size=256, epochs=1, validation_split=0.):
        split = int(len(x) * (1. - validation_split))
        x, val_x, y, val_y = x[:split], x[split:], y[:split], y[split:]
        tensors = Data.TensorDataset(torch.from_numpy(x), torch.from_numpy(y))
        loader = Data.DataLoader(tensors, shuffle=True, batch_size=batch_size)
        model = self.train()
        for epoch in range(epochs):
            total = 0
            for xb, yb in loader:
                pred = model(xb.to(self.device)).squeeze()
                self.optim.zero_grad()
                loss = self.loss_func(pred, yb.to(self.device).float(), reduction='sum')
                loss.backward()
                self.optim.step()
                total += loss.item()
            msg = 'Epoch {} loss {:.4f}'.format(epoch + 1, total / len(x))
            if validation_split:
                for name, value in self.evaluate(val_x, val_y, batch_size).items():
                    msg += ' val_{} {:.4f}'.format(name, value)
                model = self.train()
            print(msg)
        return self

    def evaluate(self, x, y, batch_size=256):
        pred = self.predict(x, batch_size)
        return {name: fn(y, pred) for name, fn in self.metrics.items()}

    def predict(self, x, batch_size=256):
        model = self.eval()
        out = []
        with torch.no_grad():
            for i in range(0, len(x), batch_size):
                out.append(model(torch.from_numpy(x[i:i + batch_size]).to(self.device)).cpu().numpy())
        return np.concatenate(out).astype("float64")
