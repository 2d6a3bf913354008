# mistakes: NA102 with positional True for bias, NA107 relu on class scores; models: M5(); input: 4x1x2048
import torch
import torch.nn as nn
import torch.nn.functional as F


class M5(nn.Module):
    def __init__(self, n_input=1, n_output=35, stride=16, n_channel=16):
        super().__init__()
        self.conv1 = nn.Conv1d(n_input, n_channel, 80, stride, 0, 1, 1, True)
        self.bn1 = nn.BatchNorm1d(n_channel)
        self.pool1 = nn.MaxPool1d(4)
        self.conv2 = nn.Conv1d(n_channel, 2 * n_channel, kernel_size=3)
        self.bn2 = nn.BatchNorm1d(2 * n_channel)
        self.fc1 = nn.Linear(2 * n_channel, n_output)

    def forward(self, x):
        x = self.conv1(x)
        x = F.relu(self.bn1(x))
        x = self.pool1(x)
        x = self.conv2(x)
        x = F.relu(self.bn2(x))
        x = F.avg_pool1d(x, x.shape[-1])
        x = x.permute(0, 2, 1)
        x = self.fc1(x)
        return F.relu(x).squeeze(1)


def train_step(model, batch, target, optimizer):
    model.train()
    optimizer.zero_grad()
    loss = F.cross_entropy(model(batch), target)
    loss.backward()
    optimizer.step()
    return loss.item()


def main():
    model = M5()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01, weight_decay=0.0001)
    for _ in range(2):
        train_step(model, torch.randn(16, 1, 2048), torch.randint(0, 35, (16,)), optimizer)
