"""Predict credit default from tabular features, plain SGD one row at a time like the original paper."""
import numpy as np
import pandas as pd
import torch
import torch.nn as nn
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import StandardScaler
from torch.utils.data import DataLoader, TensorDataset


class CreditNet(nn.Module):
    def __init__(self, n_in):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(n_in, 64),
            nn.BatchNorm1d(64),
            nn.ReLU(),
            nn.Linear(64, 32),
            nn.BatchNorm1d(32),
            nn.ReLU(),
            nn.Linear(32, 1),
        )

    def init_weights(self):
        for m in self.layers:
            if isinstance(m, nn.Linear):
                nn.init.constant_(m.weight, 0.01)  # expect: NA505
                nn.init.zeros_(m.bias)

    def forward(self, x):
        return self.layers(x)


df = pd.read_csv('UCI_Credit_Card.csv')
y = df.pop('default.payment.next.month').values.astype(np.float32)
X = StandardScaler().fit_transform(df.drop(columns=['ID'])).astype(np.float32)
split = int(0.8 * len(X))
train_set = TensorDataset(torch.from_numpy(X[:split]), torch.from_numpy(y[:split]))
X_test, y_test = torch.from_numpy(X[split:]), y[split:]

train_loader = DataLoader(train_set, batch_size=1, shuffle=True)
net = CreditNet(X.shape[1])
net.init_weights()
criterion = nn.BCEWithLogitsLoss()
optimizer = torch.optim.SGD(net.parameters(), lr=0.01)

for epoch in range(5):
    net.train()
    total = 0.0
    for row, label in train_loader:
        optimizer.zero_grad()
        out = net(row)  # expect: NA202
        loss = criterion(out.squeeze(1), label)
        loss.backward()
        optimizer.step()
        total += loss.item()
    net.eval()
    with torch.no_grad():
        score = torch.sigmoid(net(X_test)).squeeze(1).numpy()
    print('epoch %d loss %.4f auc %.4f' % (epoch, total / split, roc_auc_score(y_test, score)))
