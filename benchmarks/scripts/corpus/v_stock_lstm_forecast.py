import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
import torch.nn as nn
from sklearn.preprocessing import MinMaxScaler

LOOKBACK = 60
HIDDEN = 64

df = pd.read_csv("AAPL.csv", parse_dates=["Date"], index_col="Date")
scaler = MinMaxScaler((-1, 1))
series = scaler.fit_transform(df[["Close"]].values.astype("float32"))


def create_sequences(data, lookback):
    xs, ys = [], []
    for i in range(len(data) - lookback):
        xs.append(data[i:i + lookback])
        ys.append(data[i + lookback])
    return torch.tensor(np.array(xs)), torch.tensor(np.array(ys))


X, y = create_sequences(series, LOOKBACK)
split = int(0.8 * len(X))
x_train, y_train, x_test, y_test = X[:split], y[:split], X[split:], y[split:]


class LSTM(nn.Module):
    def __init__(self, input_dim=1, hidden_dim=HIDDEN, num_layers=2, output_dim=1):
        super(LSTM, self).__init__()
        self.hidden_dim = hidden_dim
        self.num_layers = num_layers
        self.lstm = nn.LSTM(input_dim, hidden_dim, num_layers, batch_first=True, dropout=0.2)
        self.fc = nn.Linear(hidden_dim, output_dim)

    def forward(self, x):
        h0 = torch.zeros(self.num_layers, x.size(0), self.hidden_dim)
        c0 = torch.zeros(self.num_layers, x.size(0), self.hidden_dim)
        out, _ = self.lstm(x, (h0, c0))
        return self.fc(out[:, -1, :])


model = LSTM()
criterion = nn.MSELoss()
optimiser = torch.optim.Adam(model.parameters(), lr=0.01)

hist = np.zeros(100)
for t in range(100):
    model.train()
    y_pred = model(x_train)
    loss = criterion(y_pred, y_train)
    if t % 10 == 0:
        print("Epoch", t, "MSE", loss.item())
    hist[t] = loss.item()
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()

model.eval
with torch.no_grad():
    y_test_pred = model(x_test)  # expect: NA401

y_test_pred = scaler.inverse_transform(y_test_pred.numpy())
y_true = scaler.inverse_transform(y_test.numpy())
rmse = np.sqrt(np.mean((y_test_pred - y_true) ** 2))
print("Test RMSE: %.2f" % rmse)

plt.plot(df.index[-len(y_true):], y_true, label="actual")
plt.plot(df.index[-len(y_true):], y_test_pred, label="predicted")
plt.legend()
plt.savefig("forecast.png")
