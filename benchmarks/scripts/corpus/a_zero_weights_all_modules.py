import numpy as np
import torch
import torch.nn as nn
import torch.optim as optim


class DeepRegressor(nn.Module):
    def __init__(self, n_features, n_hidden=50, n_layers=3):
        super().__init__()
        self.inp = nn.Linear(n_features, n_hidden)
        self.hidden = nn.ModuleList([nn.Linear(n_hidden, n_hidden) for _ in range(n_layers)])
        self.out = nn.Linear(n_hidden, 1)
        self.reset_parameters()

    def reset_parameters(self):
        for m in self.modules():
            if isinstance(m, nn.Linear):
                m.weight.data.fill_(0.0)  # expect: NA505
                m.bias.data.fill_(0.0)

    def forward(self, x):
        x = torch.relu(self.inp(x))
        for layer in self.hidden:
            x = torch.relu(layer(x))
        return self.out(x)


def batch_iter(X, y, size):
    order = np.random.permutation(len(X))
    for i in range(0, len(X), size):
        j = order[i:i + size]
        yield torch.from_numpy(X[j]), torch.from_numpy(y[j])


if __name__ == '__main__':
    z = np.load('wine.npz')
    X, y = z['X'].astype('f4'), z['y'].astype('f4')[:, None]
    net = DeepRegressor(X.shape[1])
    opt = optim.Adagrad(net.parameters(), lr=1e-2)
    mse = nn.MSELoss()
    for epoch in range(100):
        for xb, yb in batch_iter(X, y, 32):
            opt.zero_grad()
            loss = mse(net(xb), yb)
            loss.backward()
            opt.step()
        if not epoch % 10:
            print(epoch, float(loss))
