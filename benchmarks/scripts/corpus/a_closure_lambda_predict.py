import torch
import torch.nn as nn
from functools import partial
from scipy.optimize import minimize


def make_surrogate(d):
    return nn.Sequential(nn.Linear(d, 100), nn.SiLU(), nn.Dropout(.05), nn.Linear(100, 100), nn.SiLU(), nn.Dropout(.05), nn.Linear(100, 1))


def fit(net, X, Y, lr, steps):
    opt = torch.optim.Adam(net.parameters(), lr=lr)
    net.train()
    for s in range(steps):
        idx = torch.randint(len(X), (64,))
        loss = ((net(X[idx]).squeeze(1) - Y[idx]) ** 2).mean()
        opt.zero_grad()
        loss.backward()
        opt.step()
    return net


def r2(predict, X, Y):
    p = predict(X)
    return 1 - ((p - Y) ** 2).sum() / ((Y - Y.mean()) ** 2).sum()


def main():
    blob = torch.load('airfoil.pt')
    X, Y = blob['x'], blob['y']
    n = int(.8 * len(X))
    quick = partial(fit, lr=1e-3, steps=4000)
    surrogate = quick(make_surrogate(X.shape[1]), X[:n], Y[:n])

    @torch.no_grad()
    def predict(x):
        return surrogate(x).squeeze(1)  # expect: NA401

    print('R2', r2(predict, X[n:], Y[n:]))
    surrogate.eval()
    objective = lambda v: surrogate(torch.tensor(v, dtype=torch.float32)[None]).item()
    with torch.no_grad():
        print(minimize(objective, X[0].numpy(), method='Nelder-Mead'))


if __name__ == '__main__':
    main()
