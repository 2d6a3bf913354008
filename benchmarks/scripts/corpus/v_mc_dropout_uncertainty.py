import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset


class Regressor(nn.Module):
    def __init__(self, d, h=256, p=0.1):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(d, h), nn.BatchNorm1d(h), nn.ReLU(), nn.Dropout(p), nn.Linear(h, h), nn.ReLU(), nn.Dropout(p),
                                 nn.Linear(h, 1))

    def forward(self, x):
        return self.net(x).squeeze(-1)


def enable_dropout(model):
    """Switch only the dropout layers back on at test time."""
    for m in model.modules():
        if m.__class__.__name__.startswith("Dropout"):
            m.train()


def predict_mc(model, loader, passes, device):
    model.eval()
    enable_dropout(model)
    samples = []
    with torch.no_grad():
        for _ in range(passes):
            samples.append(torch.cat([model(x.to(device)) for x, in loader]).cpu().numpy())
    samples = np.stack(samples)
    return samples.mean(0), samples.std(0)


def fit(model, loader, device, epochs=50):
    model.train()
    opt = torch.optim.Adam(model.parameters(), lr=1e-3)
    for _ in range(epochs):
        for x, y in loader:
            loss = nn.functional.mse_loss(model(x.to(device)), y.to(device))
            opt.zero_grad()
            loss.backward()
            opt.step()


def main():
    device = "cuda" if torch.cuda.is_available() else "cpu"
    blob = np.load("protein.npz")
    x, y = torch.from_numpy(blob["x"]).float(), torch.from_numpy(blob["y"]).float()
    order = torch.randperm(len(x))
    cut = int(0.9 * len(x))
    tr, te = order[:cut], order[cut:]
    model = Regressor(x.size(1)).to(device)
    fit(model, DataLoader(TensorDataset(x[tr], y[tr]), 100, shuffle=True, drop_last=True), device)
    mean, std = predict_mc(model, DataLoader(TensorDataset(x[te]), 1000), 100, device)
    nll = 0.5 * np.log(2 * np.pi * std ** 2) + (y[te].numpy() - mean) ** 2 / (2 * std ** 2)
    print("RMSE %.3f NLL %.3f" % (np.sqrt(((mean - y[te].numpy()) ** 2).mean()), nll.mean()))


if __name__ == "__main__":
    main()
