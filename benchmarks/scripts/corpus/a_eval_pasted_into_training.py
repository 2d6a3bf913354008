import os

import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader

from eeg import EEGWindows


class EEGNet(nn.Module):
    def __init__(self, chans=22, classes=4, T=1000, F1=8, D=2, p=0.25):
        super().__init__()
        self.block1 = nn.Sequential(
            nn.Conv2d(1, F1, (1, 64), padding='same', bias=False), nn.BatchNorm2d(F1),
            nn.Conv2d(F1, F1 * D, (chans, 1), groups=F1, bias=False), nn.BatchNorm2d(F1 * D),
            nn.ELU(), nn.AvgPool2d((1, 4)), nn.Dropout(p))
        self.block2 = nn.Sequential(
            nn.Conv2d(F1 * D, F1 * D, (1, 16), padding='same', groups=F1 * D, bias=False),
            nn.Conv2d(F1 * D, F1 * D, 1, bias=False), nn.BatchNorm2d(F1 * D), nn.ELU(), nn.AvgPool2d((1, 8)), nn.Dropout(p))
        self.fc = nn.Linear(F1 * D * (T // 32), classes)

    def forward(self, x):
        return self.fc(self.block2(self.block1(x)).flatten(1))


def run_subject(subject, epochs=300):
    train = DataLoader(EEGWindows(subject, 'T'), batch_size=64, shuffle=True)
    test = DataLoader(EEGWindows(subject, 'E'), batch_size=64)
    net = EEGNet().cuda()
    criterion = nn.CrossEntropyLoss().cuda()
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)

    for epoch in range(epochs):
        net.eval()
        running = 0.0
        for X, y in train:
            X, y = X.cuda(), y.cuda()
            optimizer.zero_grad()
            loss = criterion(net(X), y)
            loss.backward()
            optimizer.step()  # expect: NA405
            running += loss.item()
        if epoch % 10 == 0:
            print('subject %d epoch %d loss %.4f' % (subject, epoch, running / len(train)))

    y_true, y_hat = [], []
    with torch.no_grad():
        for X, y in test:
            y_hat.append(net(X.cuda()).argmax(1).cpu().numpy())
            y_true.append(y.numpy())
    return (np.concatenate(y_true) == np.concatenate(y_hat)).mean()


accs = [run_subject(s) for s in range(1, 10)]
print(os.path.basename(__file__), np.mean(accs), accs)
