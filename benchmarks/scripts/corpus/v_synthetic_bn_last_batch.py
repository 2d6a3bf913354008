import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

N_TRAIN = 1025
BATCH = 64

rng = np.random.default_rng(0)
x = torch.from_numpy(rng.normal(size=(N_TRAIN, 20)).astype("float32"))
y = (x[:, :3].sum(1, keepdim=True) > 0).float()
dataset = TensorDataset(x, y)
loader = DataLoader(dataset, batch_size=BATCH, shuffle=True)

model = nn.Sequential(
    nn.Linear(20, 64),
    nn.BatchNorm1d(64),
    nn.ReLU(),
    nn.Linear(64, 1),
)
criterion = nn.BCEWithLogitsLoss()
optimizer = torch.optim.SGD(model.parameters(), lr=0.05)

for epoch in range(10):
    model.train()
    running = 0.0
    for xb, yb in loader:
        optimizer.zero_grad()
        out = model(xb)  # expect: NA202:error
        loss = criterion(out, yb)
        loss.backward()
        optimizer.step()
        running += loss.item() * len(xb)
    print(epoch, running / N_TRAIN)

model.eval()
with torch.no_grad():
    grid = torch.randn(500, 20)
    truth = (grid[:, :3].sum(1, keepdim=True) > 0).float()
    print("accuracy", ((model(grid) > 0).float() == truth).float().mean().item())
