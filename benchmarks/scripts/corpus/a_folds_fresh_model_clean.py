import copy

import numpy as np
import torch
import torch.nn as nn
from sklearn.datasets import fetch_california_housing
from sklearn.model_selection import KFold
from sklearn.preprocessing import StandardScaler

X, y = fetch_california_housing(return_X_y=True)
scores = []
for fold, (tr, va) in enumerate(KFold(5, shuffle=True, random_state=0).split(X)):
    sc = StandardScaler().fit(X[tr])
    xt, xv = (torch.tensor(sc.transform(X[i]), dtype=torch.float32) for i in (tr, va))
    yt, yv = (torch.tensor(y[i], dtype=torch.float32)[:, None] for i in (tr, va))
    model = nn.Sequential(nn.Linear(8, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Dropout(.1), nn.Linear(64, 1))
    opt = torch.optim.Adam(model.parameters(), lr=3e-3)
    best_mse, best = np.inf, None
    for epoch in range(60):
        perm = torch.randperm(len(xt))
        for i in range(0, len(xt) - 256, 256):
            idx = perm[i:i + 256]
            loss = ((model(xt[idx]) - yt[idx]) ** 2).mean()
            opt.zero_grad()
            loss.backward()
            opt.step()
        snapshot = copy.deepcopy(model)
        snapshot.eval()
        with torch.no_grad():
            mse = ((snapshot(xv) - yv) ** 2).mean().item()
        if mse < best_mse:
            best_mse, best = mse, snapshot
    scores.append(best_mse)
    model.load_state_dict(best.state_dict())
    model.eval()
    with torch.no_grad():
        resid = (model(xv) - yv).abs()
    print(f'fold {fold} mse {best_mse:.4f} worst {resid.max():.3f}')
print(np.mean(scores), np.std(scores))
