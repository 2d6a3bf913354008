import numpy as np
import torch
from sklearn.datasets import load_wine
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import scale

X, Y = load_wine(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(scale(X), Y, test_size=0.3, random_state=3)
X_train = torch.from_numpy(X_train).float()
X_test = torch.from_numpy(X_test).float()
y_train = torch.from_numpy(y_train).long()
y_test = torch.from_numpy(y_test).long()

H1, H2 = 64, 32
model = torch.nn.Sequential(
    torch.nn.Linear(13, H1),
    torch.nn.BatchNorm1d(H1),
    torch.nn.ReLU(),
    torch.nn.Dropout(p=0.3),
    torch.nn.Linear(H1, H2),
    torch.nn.ReLU(),
    torch.nn.Linear(H2, 3),
    torch.nn.Softmax(dim=1),
)
criterion = torch.nn.CrossEntropyLoss()
optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)

history = []
for t in range(500):
    y_pred = model(X_train)
    loss = criterion(y_pred, y_train)  # expect: NA501
    history.append(loss.item())
    if t % 50 == 0:
        print(t, loss.item())
    model.zero_grad()
    loss.backward()
    optimizer.step()

print("train loss went from {:.3f} to {:.3f}".format(history[0], history[-1]))

# how good is it on wines it has not seen?
with torch.no_grad():
    y_prob = model(X_test)  # expect: NA401
    y_hat = y_prob.max(dim=1).indices
    print("test accuracy", (y_hat == y_test).float().mean().item())
    confusion = np.zeros((3, 3), int)
    for a, b in zip(y_test, y_hat):
        confusion[a, b] += 1
    print(confusion)
