# Telco churn, tabular net. Exported from Colab.
import pandas as pd
import torch
import torch.nn as nn
import torch.optim as optim
from sklearn.metrics import classification_report
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler
from torch.utils.data import DataLoader, Dataset

EPOCHS = 50
BATCH_SIZE = 64
df = pd.read_csv('churn.csv')
X_train, X_test, y_train, y_test = train_test_split(df.iloc[:, :-1], df.iloc[:, -1], test_size=0.33, random_state=69)
scaler = StandardScaler()
X_train = scaler.fit_transform(X_train)
X_test = scaler.transform(X_test)


class TrainData(Dataset):
    def __init__(self, X_data, y_data):
        self.X_data = X_data
        self.y_data = y_data

    def __getitem__(self, index):
        return self.X_data[index], self.y_data[index]

    def __len__(self):
        return len(self.X_data)


train_loader = DataLoader(TrainData(torch.FloatTensor(X_train), torch.FloatTensor(y_train.values)), batch_size=BATCH_SIZE, shuffle=True, drop_last=True)


class BinaryClassification(nn.Module):
    def __init__(self):
        super(BinaryClassification, self).__init__()
        self.layer_1 = nn.Linear(19, 64)
        self.layer_2 = nn.Linear(64, 64)
        self.layer_out = nn.Linear(64, 1)
        self.relu = nn.ReLU()
        self.dropout = nn.Dropout(p=0.1)
        self.batchnorm1 = nn.BatchNorm1d(64)
        self.batchnorm2 = nn.BatchNorm1d(64)

    def forward(self, inputs):
        x = self.batchnorm1(self.relu(self.layer_1(inputs)))
        x = self.batchnorm2(self.relu(self.layer_2(x)))
        x = self.layer_out(self.dropout(x))
        return torch.sigmoid(x)


device = torch.device("cuda:0" if torch.cuda.is_available() else "cpu")
model = BinaryClassification()
model.to(device)
criterion = nn.BCEWithLogitsLoss()
optimizer = optim.Adam(model.parameters(), lr=0.001)


def binary_acc(y_pred, y_test):
    return (torch.round(y_pred) == y_test).sum().float() / y_test.shape[0] * 100


model.train()
for e in range(1, EPOCHS + 1):
    epoch_loss = 0
    for X_batch, y_batch in train_loader:
        X_batch, y_batch = X_batch.to(device), y_batch.to(device)
        optimizer.zero_grad()
        y_pred = model(X_batch)
        loss = criterion(y_pred, y_batch.unsqueeze(1))  # expect: NA502
        acc = binary_acc(y_pred, y_batch.unsqueeze(1))
        loss.backward()
        optimizer.step()
        epoch_loss += loss.item()
    print(f'Epoch {e+0:03}: | Loss: {epoch_loss/len(train_loader):.5f}')

y_pred_list = []
with torch.no_grad():
    for X_batch in DataLoader(torch.FloatTensor(X_test), batch_size=16):
        X_batch = X_batch.to(device)
        y_test_pred = model(X_batch)  # expect: NA401
        y_pred_tag = torch.round(y_test_pred)
        y_pred_list.append(y_pred_tag.cpu().numpy().squeeze().tolist())
print(classification_report(y_test, y_pred_list))
