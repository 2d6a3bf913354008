import numpy as np
import torch
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.metrics import accuracy_score
from sklearn.model_selection import train_test_split
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def mlp(n_in, n_out, hidden=(128, 64), dropout=0.1):
    layers = []
    for h in hidden:
        layers += [nn.Linear(n_in, h), nn.BatchNorm1d(h), nn.ReLU(), nn.Dropout(dropout)]
        n_in = h
    return nn.Sequential(*layers, nn.Linear(n_in, n_out))


class NeuralBase(BaseEstimator):
    def __init__(self, epochs=20, lr=1e-3, batch_size=64, device="cpu"):
        self.epochs, self.lr, self.batch_size, self.device = epochs, lr, batch_size, device

    def _fit(self, X, y, n_out, loss_fn):
        self.net_ = mlp(X.shape[1], n_out).to(self.device)
        opt = torch.optim.Adam(self.net_.parameters(), lr=self.lr)
        dl = DataLoader(TensorDataset(torch.as_tensor(X, dtype=torch.float32), torch.as_tensor(y)), self.batch_size, shuffle=True, drop_last=True)
        for _ in range(self.epochs):
            self.net_.train()
            for xb, yb in dl:
                opt.zero_grad()
                loss_fn(self.net_(xb.to(self.device)), yb.to(self.device)).backward()
                opt.step()
        return self


class NeuralClassifier(ClassifierMixin, NeuralBase):
    def fit(self, X, y):
        self.classes_, t = np.unique(y, return_inverse=True)
        return self._fit(X, t, len(self.classes_), nn.CrossEntropyLoss())

    def predict_proba(self, X):
        x = torch.as_tensor(X, dtype=torch.float32, device=self.device)
        with torch.no_grad():
            return self.net_(x).softmax(1).cpu().numpy()  # expect: NA401

    def predict(self, X):
        return self.classes_[self.predict_proba(X).argmax(1)]


class NeuralRegressor(RegressorMixin, NeuralBase):
    def fit(self, X, y):
        return self._fit(X, np.asarray(y, dtype=np.float32)[:, None], 1, nn.MSELoss())

    def predict(self, X):
        self.net_.eval()
        x = torch.as_tensor(X, dtype=torch.float32, device=self.device)
        with torch.no_grad():
            return self.net_(x).squeeze(1).cpu().numpy()


def demo():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(4000, 10)).astype(np.float32)
    y = (X[:, 0] * X[:, 1] > 0).astype(int)
    Xa, Xb, ya, yb = train_test_split(X, y)
    print("accuracy", accuracy_score(yb, NeuralClassifier().fit(Xa, ya).predict(Xb)))
    print("R2", NeuralRegressor().fit(Xa, Xa[:, 2] ** 2).score(Xb, Xb[:, 2] ** 2))


if __name__ == "__main__":
    demo()
