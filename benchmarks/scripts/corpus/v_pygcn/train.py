from __future__ import division

import argparse
import time

import torch
import torch.nn.functional as F
import torch.optim as optim

from models import GAT, GCN
from utils import accuracy, load_data

parser = argparse.ArgumentParser()
parser.add_argument("--fastmode", action="store_true", default=False)
parser.add_argument("--gat", action="store_true")
parser.add_argument("--epochs", type=int, default=200)
parser.add_argument("--hidden", type=int, default=16)
parser.add_argument("--dropout", type=float, default=0.5)
args = parser.parse_args()

adj, features, labels, idx_train, idx_val, idx_test = load_data()
if args.gat:
    model = GAT(features.shape[1], args.hidden, labels.max().item() + 1, args.dropout, nheads=8)
else:
    model = GCN(features.shape[1], args.hidden, labels.max().item() + 1, args.dropout)
optimizer = optim.Adam(model.parameters(), lr=0.01, weight_decay=5e-4)


def train(epoch):
    t = time.time()
    model.train()
    optimizer.zero_grad()
    output = model(features, adj)
    loss_train = F.nll_loss(output[idx_train], labels[idx_train])
    acc_train = accuracy(output[idx_train], labels[idx_train])
    loss_train.backward()
    optimizer.step()
    if not args.fastmode:
        model.eval()
        output = model(features, adj)
    loss_val = F.nll_loss(output[idx_val], labels[idx_val])
    acc_val = accuracy(output[idx_val], labels[idx_val])
    print("Epoch: {:04d} acc_train {:.4f} loss_val {:.4f} acc_val {:.4f} time {:.3f}s".format(
        epoch + 1, acc_train.item(), loss_val.item(), acc_val.item(), time.time() - t))


def test():
    model.eval()
    output = model(features, adj)
    print("Test set accuracy", accuracy(output[idx_test], labels[idx_test]).item())


for epoch in range(args.epochs):
    train(epoch)
test()
