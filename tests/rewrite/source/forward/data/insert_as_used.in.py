# fix: insert_layer first.fc1 layer=torch.nn.ReLU
# fix: insert_layer second.fc1 layer=torch.nn.ReLU
# fix: insert_layer third.fc1 layer=torch.nn.ReLU
# fix: insert_layer fourth.fc1 layer=torch.nn.ReLU
# input: 2x4
import torch
import torch.nn.functional as F
from torch import nn


class First(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x):
        return torch.relu(self.fc2(self.fc1(x)))


class Second(First):
    def forward(self, x):
        x = self.fc1(x)
        return self.fc2(x).relu()


class Third(First):
    def __init__(self):
        super().__init__()
        self.act = nn.ReLU(inplace=True)

    def forward(self, x):
        return self.act(self.fc2(self.fc1(x)))


class Fourth(First):
    def forward(self, x):
        return F.leaky_relu(self.fc2(self.fc1(x)))


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second, self.third, self.fourth = First(), Second(), Third(), Fourth()

    def forward(self, x):
        return self.fourth(self.third(self.second(self.first(x))))
