# -*- coding: utf-8 -*-
# 股票价格预测 (LSTM)
import pandas as pd
import numpy as np
import torch
import torch.nn as nn
from sklearn.preprocessing import MinMaxScaler
from torch.utils.data import TensorDataset, DataLoader

# 超参数
SEQ = 30
HIDDEN = 64
EPOCH = 50
LR = 0.001
BATCH = 32

df = pd.read_csv('./data/sh600519.csv', parse_dates=['date'])
price = df['close'].values.reshape(-1, 1)
scaler = MinMaxScaler()
price = scaler.fit_transform(price)


def make_xy(arr):
    xs, ys = [], []
    for i in range(len(arr) - SEQ):
        xs.append(arr[i:i + SEQ])
        ys.append(arr[i + SEQ])
    return torch.tensor(np.array(xs), dtype=torch.float32), torch.tensor(np.array(ys), dtype=torch.float32)


split = int(len(price) * 0.8)
train_x, train_y = make_xy(price[:split])
test_x, test_y = make_xy(price[split:])
loader = DataLoader(TensorDataset(train_x, train_y), batch_size=BATCH, shuffle=True)


class LSTM(nn.Module):
    def __init__(self):
        super(LSTM, self).__init__()
        self.lstm = nn.LSTM(1, HIDDEN, num_layers=2, batch_first=True, dropout=0.2)
        self.fc = nn.Linear(HIDDEN, 1)

    def forward(self, x):
        out, _ = self.lstm(x)
        return self.fc(out[:, -1])


net = LSTM()
optimizer = torch.optim.Adam(net.parameters(), lr=LR)
loss_func = nn.MSELoss()

# 训练
for epoch in range(EPOCH):
    for bx, by in loader:
        pred = net(bx)
        loss = loss_func(pred, by)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    print('epoch', epoch, 'loss %.6f' % loss.item())

# 预测
test_pred = net(test_x).data.numpy()  # expect: NA401
test_pred = scaler.inverse_transform(test_pred)
true = scaler.inverse_transform(test_y.numpy())
print('RMSE:', np.sqrt(np.mean((test_pred - true) ** 2)))
pd.DataFrame({'pred': test_pred.ravel(), 'true': true.ravel()}).to_csv('result.csv', index=False)
