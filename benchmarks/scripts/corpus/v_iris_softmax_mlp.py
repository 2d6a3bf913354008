import pandas as pd
import torch
import torch.nn as nn
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import LabelEncoder, StandardScaler
from torch.utils.data import DataLoader, Dataset


class TabularDataset(Dataset):
    def __init__(self, X, y):
        self.X = torch.tensor(X, dtype=torch.float32)
        self.y = torch.tensor(y, dtype=torch.long)

    def __len__(self):
        return len(self.y)

    def __getitem__(self, idx):
        return self.X[idx], self.y[idx]


class DryBeanNet(nn.Module):
    def __init__(self, n_in, n_out):
        super().__init__()
        self.fc1 = nn.Linear(n_in, 64)
        self.fc2 = nn.Linear(64, 32)
        self.fc3 = nn.Linear(32, n_out)
        self.relu = nn.ReLU()
        self.softmax = nn.Softmax(dim=1)

    def forward(self, x):
        x = self.relu(self.fc1(x))
        x = self.relu(self.fc2(x))
        x = self.fc3(x)
        return self.softmax(x)


df = pd.read_csv("Dry_Bean.csv")
X = StandardScaler().fit_transform(df.drop(columns=["Class"]).values)
y = LabelEncoder().fit_transform(df["Class"])
X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.2, random_state=42, stratify=y)
train_loader = DataLoader(TabularDataset(X_train, y_train), batch_size=32, shuffle=True)
test_loader = DataLoader(TabularDataset(X_test, y_test), batch_size=32)

device = "cuda" if torch.cuda.is_available() else "cpu"
model = DryBeanNet(X.shape[1], 7).to(device)
loss_fn = nn.CrossEntropyLoss()
optimizer = torch.optim.Adam(model.parameters(), lr=0.001)

history = {"loss": [], "acc": []}
for epoch in range(50):
    running = 0.0
    for inputs, labels in train_loader:
        inputs, labels = inputs.to(device), labels.to(device)
        predictions = model(inputs)
        batch_loss = loss_fn(predictions, labels)  # expect: NA501
        optimizer.zero_grad()
        batch_loss.backward()
        optimizer.step()
        running += batch_loss.item()
    history["loss"].append(running / len(train_loader))

    with torch.no_grad():
        hits = 0
        for inputs, labels in test_loader:
            out = model(inputs.to(device))
            hits += (out.argmax(1).cpu() == labels).sum().item()
    history["acc"].append(hits / len(test_loader.dataset))
    print(f"epoch {epoch + 1}: loss {history['loss'][-1]:.4f} acc {history['acc'][-1]:.4f}")
