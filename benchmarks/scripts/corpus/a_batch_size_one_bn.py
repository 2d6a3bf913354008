import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset


class AutoEncoder(nn.Module):
    def __init__(self, n=30, code=4):
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(n, 16), nn.BatchNorm1d(16), nn.ELU(), nn.Linear(16, code))
        self.decoder = nn.Sequential(nn.Linear(code, 16), nn.BatchNorm1d(16), nn.ELU(), nn.Linear(16, n))

    def forward(self, x):
        return self.decoder(self.encoder(x))


def train(net, x, epochs=20, lr=1e-3):
    loader = DataLoader(TensorDataset(x), batch_size=1, shuffle=True)
    opt = torch.optim.SGD(net.parameters(), lr)
    net.train()
    for _ in range(epochs):
        for batch, in loader:
            loss = nn.functional.mse_loss(net(batch), batch)  # expect: NA202
            opt.zero_grad()
            loss.backward()
            opt.step()


def anomaly_scores(net, x):
    net.eval()
    with torch.no_grad():
        return [nn.functional.mse_loss(net(row[None]), row[None]).item() for row in x]


if __name__ == '__main__':
    x = torch.load('transactions.pt').float()
    net = AutoEncoder(x.shape[1])
    train(net, x[:5000])
    print(sorted(anomaly_scores(net, x[5000:]))[-10:])
