import argparse, random

import torch
import torch.nn as nn
import torch.optim as optim
import torchvision
from torch.utils.data import Dataset, DataLoader
from torchvision import datasets, transforms as T


class SiameseNetwork(nn.Module):
    """Two resnet towers with shared weights and a small head that says 'same' or 'different'."""
    def __init__(self):
        super(SiameseNetwork, self).__init__()
        self.resnet = torchvision.models.resnet18(weights=None)
        self.resnet.conv1 = nn.Conv2d(1, 64, kernel_size=7, stride=2, padding=3, bias=False)
        self.fc_in_features = self.resnet.fc.in_features
        self.resnet = nn.Sequential(*(list(self.resnet.children())[:-1]))
        self.fc = nn.Sequential(nn.Linear(self.fc_in_features * 2, 256), nn.ReLU(inplace=True), nn.Linear(256, 1))

    def forward_once(self, x):
        return self.resnet(x).flatten(1)

    def forward(self, input1, input2):
        output = torch.cat((self.forward_once(input1), self.forward_once(input2)), 1)
        return self.fc(output)


class Matcher(Dataset):
    def __init__(self, root, train):
        self.ds = datasets.MNIST(root, train=train, download=True, transform=T.ToTensor())
        self.by_class = {c: (self.ds.targets == c).nonzero().flatten().tolist() for c in range(10)}

    def __len__(self):
        return len(self.ds)

    def __getitem__(self, idx):
        img, c = self.ds[idx]
        same = random.random() < 0.5
        other = c if same else random.choice([k for k in range(10) if k != c])
        img2, _ = self.ds[random.choice(self.by_class[other])]
        return img, img2, torch.tensor([float(same)])


def train(args, model, device, train_loader, optimizer, epoch):
    model.train()
    criterion = nn.BCEWithLogitsLoss()
    for batch_idx, (a, b, targets) in enumerate(train_loader):
        a, b, targets = a.to(device), b.to(device), targets.to(device)
        optimizer.zero_grad()
        loss = criterion(model(a, b), targets)
        loss.backward()
        optimizer.step()
        if batch_idx % 10 == 0:
            print('Train Epoch: {} Loss: {:.6f}'.format(epoch, loss.item()))


def evaluate_pairs(net, device, loader):
    correct = 0
    for a, b, targets in loader:
        logits = net(a.to(device), b.to(device)).detach()  # expect: NA401
        pred = torch.where(torch.sigmoid(logits) > 0.5, 1, 0).cpu()
        correct += pred.eq(targets.view_as(pred)).sum().item()
    return 100. * correct / len(loader.dataset)


if __name__ == '__main__':
    p = argparse.ArgumentParser()
    p.add_argument('--epochs', type=int, default=14)
    p.add_argument('--batch-size', type=int, default=64)
    args = p.parse_args()
    device = torch.device('cuda' if torch.cuda.is_available() else 'cpu')
    train_loader = DataLoader(Matcher('../data', True), shuffle=True, batch_size=args.batch_size)
    test_loader = DataLoader(Matcher('../data', False), batch_size=1000)
    model = SiameseNetwork().to(device)
    optimizer = optim.Adadelta(model.parameters(), lr=1.0)
    for epoch in range(1, args.epochs + 1):
        train(args, model, device, train_loader, optimizer, epoch)
        print('acc', evaluate_pairs(model, device, test_loader))
