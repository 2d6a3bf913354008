import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
N = 1025
X = torch.rand(N, 2) * 4 - 2
Y = torch.sin(X[:, :1]) * torch.cos(X[:, 1:])
ds = TensorDataset(X, Y)
loader = DataLoader(ds, batch_size=64, shuffle=True)

net = nn.Sequential(
    nn.Linear(2, 64), nn.BatchNorm1d(64), nn.Tanh(),
    nn.Linear(64, 64), nn.BatchNorm1d(64), nn.Tanh(),
    nn.Linear(64, 1),
)
opt = torch.optim.Adam(net.parameters(), 1e-3)
for epoch in range(200):
    net.train()
    for xb, yb in loader:
        pred = net(xb)  # expect: NA202
        loss = nn.functional.mse_loss(pred, yb)
        opt.zero_grad()
        loss.backward()
        opt.step()
net.eval()
with torch.no_grad():
    print(nn.functional.mse_loss(net(X), Y).item())
