import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import fetch_california_housing
from sklearn.model_selection import train_test_split
from torch.utils.data import DataLoader, TensorDataset


class Net(nn.Module):
    def __init__(self, d, h=100, p=0.1):
        super().__init__()
        self.fc1 = nn.Linear(d, h)
        self.bn = nn.BatchNorm1d(h)
        self.drop = nn.Dropout(p)
        self.fc2 = nn.Linear(h, h)
        self.out = nn.Linear(h, 1)

    def forward(self, x):
        x = self.drop(F.relu(self.bn(self.fc1(x))))
        x = self.drop(F.relu(self.fc2(x)))
        return self.out(x).squeeze(-1)


def enable_dropout(model):
    """ Function to enable the dropout layers during test-time """
    for m in model.modules():
        if m.__class__.__name__.startswith('Dropout'):
            m.train()


def predict_with_uncertainty(model, x, forward_passes=50):
    model.eval()
    enable_dropout(model)
    samples = []
    with torch.no_grad():
        for _ in range(forward_passes):
            samples.append(model(x))  # allow: NA401
    samples = torch.stack(samples)
    model.eval()
    return samples.mean(0), samples.std(0)


def picp(y, mu, sigma, z=1.96):
    return ((y >= mu - z * sigma) & (y <= mu + z * sigma)).float().mean().item()


X, y = fetch_california_housing(return_X_y=True)
X_tr, X_te, y_tr, y_te = train_test_split(X, y, random_state=0)
mu, sd = X_tr.mean(0), X_tr.std(0)
X_tr, X_te = [torch.tensor((a - mu) / sd, dtype=torch.float32) for a in (X_tr, X_te)]
y_tr, y_te = torch.tensor(y_tr, dtype=torch.float32), torch.tensor(y_te, dtype=torch.float32)
loader = DataLoader(TensorDataset(X_tr, y_tr), batch_size=128, shuffle=True, drop_last=True)

model = Net(X.shape[1])
opt = torch.optim.Adam(model.parameters(), 1e-3)
for epoch in range(100):
    model.train()
    for xb, yb in loader:
        opt.zero_grad()
        loss = F.mse_loss(model(xb), yb)
        loss.backward()
        opt.step()
    if epoch % 10 == 9:
        model.eval()
        with torch.no_grad():
            rmse = F.mse_loss(model(X_te), y_te).sqrt().item()
        mean, std = predict_with_uncertainty(model, X_te)
        print(f'{epoch:3d} rmse {rmse:.3f} mc-rmse {F.mse_loss(mean, y_te).sqrt():.3f} picp {picp(y_te, mean, std):.3f}')

np.savez('mc.npz', mean=mean.numpy(), std=std.numpy())
