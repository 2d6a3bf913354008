import argparse
import time

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F


class GraphAttentionLayer(nn.Module):
    def __init__(self, in_f, out_f, dropout, alpha):
        super(GraphAttentionLayer, self).__init__()
        self.dropout = dropout
        self.W = nn.Parameter(torch.empty(in_f, out_f))
        nn.init.xavier_uniform_(self.W.data, gain=1.414)
        self.a = nn.Parameter(torch.empty(2 * out_f, 1))
        nn.init.xavier_uniform_(self.a.data, gain=1.414)
        self.leakyrelu = nn.LeakyReLU(alpha)
        self.out_f = out_f

    def forward(self, h, adj):
        Wh = h @ self.W
        e = self.leakyrelu(Wh @ self.a[:self.out_f] + (Wh @ self.a[self.out_f:]).T)
        att = torch.where(adj > 0, e, torch.full_like(e, -9e15))
        att = F.softmax(att, dim=1)
        att = F.dropout(att, self.dropout, training=self.training)
        return F.elu(att @ Wh)


class GAT(nn.Module):
    def __init__(self, nfeat, nhid, nclass, dropout, alpha, nheads):
        super(GAT, self).__init__()
        self.dropout = dropout
        self.attentions = [GraphAttentionLayer(nfeat, nhid, dropout, alpha) for _ in range(nheads)]
        for i, attention in enumerate(self.attentions):
            self.add_module('attention_{}'.format(i), attention)
        self.out_att = GraphAttentionLayer(nhid * nheads, nclass, dropout, alpha)

    def forward(self, x, adj):
        x = F.dropout(x, self.dropout)  # expect: NA509
        x = torch.cat([att(x, adj) for att in self.attentions], dim=1)
        x = nn.Dropout(self.dropout)(x)  # expect: NA509
        x = self.out_att(x, adj)
        return F.log_softmax(x, dim=1)


parser = argparse.ArgumentParser()
parser.add_argument('--epochs', type=int, default=1000)
parser.add_argument('--hidden', type=int, default=8)
parser.add_argument('--nb_heads', type=int, default=8)
parser.add_argument('--dropout', type=float, default=0.6)
parser.add_argument('--patience', type=int, default=100)
args = parser.parse_args()

blob = np.load('cora.npz')
features, adj, labels = (torch.as_tensor(blob[k]) for k in ('features', 'adj', 'labels'))
idx_train, idx_val, idx_test = range(140), range(200, 500), range(500, 1500)
model = GAT(features.shape[1], args.hidden, int(labels.max()) + 1, args.dropout, 0.2, args.nb_heads)
optimizer = torch.optim.Adam(model.parameters(), lr=0.005, weight_decay=5e-4)


def accuracy(output, labels):
    return output.max(1)[1].eq(labels).double().mean()


def train(epoch):
    t = time.time()
    model.train()
    optimizer.zero_grad()
    output = model(features, adj)
    loss_train = F.nll_loss(output[idx_train], labels[idx_train])
    loss_train.backward()
    optimizer.step()
    model.eval()
    output = model(features, adj)
    loss_val = F.nll_loss(output[idx_val], labels[idx_val])
    print('Epoch: {:04d}'.format(epoch + 1), 'loss_val: {:.4f}'.format(loss_val.item()), 'time: {:.4f}s'.format(time.time() - t))
    return loss_val.item()


def compute_test():
    model.eval()
    output = model(features, adj)
    print("Test accuracy= {:.4f}".format(accuracy(output[idx_test], labels[idx_test]).item()))


best, bad_counter = float('inf'), 0
for epoch in range(args.epochs):
    value = train(epoch)
    if value < best:
        best, bad_counter = value, 0
        torch.save(model.state_dict(), 'best.pkl')
    else:
        bad_counter += 1
    if bad_counter == args.patience:
        break
model.load_state_dict(torch.load('best.pkl'))
compute_test()
