# mistakes: NA501 softmax before cross entropy in Net.forward; models: Net(); input: 8x784
import torch
import torch.nn as nn
import torch.optim as optim

# Hyper parameters
input_size = 784
hidden_size = 100
num_classes = 10
learning_rate = 0.001


class Net(nn.Module):
    def __init__(self, input_size=784, hidden_size=100, num_classes=10):
        super(Net, self).__init__()
        self.fc1 = nn.Linear(input_size, hidden_size)
        self.relu = nn.ReLU()
        self.fc2 = nn.Linear(hidden_size, num_classes)
        self.softmax = nn.Softmax(dim=1)

    def forward(self, x):
        out = self.fc1(x)
        out = self.relu(out)
        out = self.fc2(out)
        out = self.softmax(out)
        return out


def train():
    net = Net(input_size, hidden_size, num_classes)
    criterion = nn.CrossEntropyLoss()
    optimizer = optim.Adam(net.parameters(), lr=learning_rate)
    net.train()
    for epoch in range(2):
        x = torch.randn(8, input_size)
        y = torch.randint(0, num_classes, (8,))
        optimizer.zero_grad()
        loss = criterion(net(x), y)
        loss.backward()
        optimizer.step()
    return net


if __name__ == '__main__':
    train()
