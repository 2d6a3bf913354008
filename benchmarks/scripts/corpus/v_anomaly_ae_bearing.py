"""Bearing vibration anomaly detection: train on healthy windows, threshold on reconstruction error."""
import argparse
import json

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class ConvAE(nn.Module):
    def __init__(self, latent=16):
        super().__init__()
        self.encoder = nn.Sequential(nn.Conv1d(1, 16, 7, 2, 3), nn.BatchNorm1d(16), nn.ReLU(), nn.Conv1d(16, latent, 7, 2, 3))
        self.decoder = nn.Sequential(nn.ConvTranspose1d(latent, 16, 4, 2, 1), nn.BatchNorm1d(16), nn.ReLU(), nn.ConvTranspose1d(16, 1, 4, 2, 1))

    def forward(self, x):
        return self.decoder(self.encoder(x))


def windows(path, size=512):
    signal = np.load(path).astype("float32")
    signal = signal[: len(signal) // size * size].reshape(-1, 1, size)
    return TensorDataset(torch.from_numpy(signal))


def errors(model, dataset, device):
    out = []
    with torch.no_grad():
        for (x,) in DataLoader(dataset, batch_size=256):
            x = x.to(device)
            out.append((model(x) - x).pow(2).mean(dim=(1, 2)).cpu())  # expect: NA401
    return torch.cat(out).numpy()


def fit(model, dataset, device, epochs):
    opt = torch.optim.Adam(model.parameters(), lr=1e-3)
    for epoch in range(epochs):
        total = 0.0
        for (x,) in DataLoader(dataset, batch_size=64, shuffle=True):
            x = x.to(device)
            loss = nn.functional.mse_loss(model(x), x)
            opt.zero_grad()
            loss.backward()
            opt.step()
            total += loss.item()
        print(epoch, total)
    model.eval()
    return model


def main():
    p = argparse.ArgumentParser()
    p.add_argument("healthy")
    p.add_argument("monitored")
    p.add_argument("--weights", default="")
    p.add_argument("--epochs", type=int, default=30)
    args = p.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = ConvAE().to(device)
    healthy = windows(args.healthy)
    if args.weights:
        model.load_state_dict(torch.load(args.weights, map_location=device))
    else:
        model = fit(model, healthy, device, args.epochs)
    base = errors(model, healthy, device)
    threshold = float(base.mean() + 3 * base.std())
    flagged = np.flatnonzero(errors(model, windows(args.monitored), device) > threshold)
    print(json.dumps({"threshold": threshold, "anomalies": flagged.tolist()}))


if __name__ == "__main__":
    main()
