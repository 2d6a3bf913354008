import argparse
import pickle

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader

from vocab import NewsDataset, pad_batch


class TextCNN(nn.Module):
    def __init__(self, vocab_size, embed_dim, n_class, kernel_sizes=(3, 4, 5), n_kernels=100):
        super(TextCNN, self).__init__()
        self.embedding = nn.Embedding(vocab_size, embed_dim, padding_idx=0)
        self.convs = nn.ModuleList([nn.Conv2d(1, n_kernels, (k, embed_dim)) for k in kernel_sizes])
        self.fc = nn.Linear(n_kernels * len(kernel_sizes), n_class)

    def forward(self, x):
        x = self.embedding(x).unsqueeze(1)
        x = [F.relu(conv(x)).squeeze(3) for conv in self.convs]
        x = [F.max_pool1d(i, i.size(2)).squeeze(2) for i in x]
        x = torch.cat(x, 1)
        x = nn.Dropout(0.5)(x)  # expect: NA509
        return F.log_softmax(self.fc(x), dim=1)


def train(net, loader, optimizer, criterion, device):
    net.train()
    total = 0
    for text, label in loader:
        text, label = text.to(device), label.to(device)
        optimizer.zero_grad()
        output = net(text)
        loss = criterion(output, label)  # expect: NA501:info
        loss.backward()
        optimizer.step()
        total += loss.item()
    return total / len(loader)


def evaluate(net, loader, device):
    net.eval()
    correct = 0
    with torch.no_grad():
        for text, label in loader:
            correct += (net(text.to(device)).argmax(1).cpu() == label).sum().item()
    return correct / len(loader.dataset)


if __name__ == "__main__":
    ap = argparse.ArgumentParser()
    ap.add_argument("--epochs", type=int, default=10)
    ap.add_argument("--embed", type=int, default=128)
    args = ap.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    vocab = pickle.load(open("vocab.pkl", "rb"))
    train_loader = DataLoader(NewsDataset("train.csv", vocab), 128, shuffle=True, collate_fn=pad_batch)
    test_loader = DataLoader(NewsDataset("test.csv", vocab), 128, collate_fn=pad_batch)
    net = TextCNN(len(vocab), args.embed, 4).to(device)
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    for epoch in range(args.epochs):
        print(epoch, train(net, train_loader, optimizer, criterion, device), evaluate(net, test_loader, device))
