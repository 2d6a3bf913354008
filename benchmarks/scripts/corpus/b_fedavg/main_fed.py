#!/usr/bin/env python
import argparse
import copy

import numpy as np
import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader
from torchvision import datasets, transforms

from client import LocalUpdate
from nets import CNNCifar


def fed_avg(w):
    w_avg = copy.deepcopy(w[0])
    for k in w_avg.keys():
        for i in range(1, len(w)):
            w_avg[k] += w[i][k]
        w_avg[k] = torch.div(w_avg[k], len(w))
    return w_avg


def test_img(net_g, datatest, args):
    test_loss, correct = 0, 0
    data_loader = DataLoader(datatest, batch_size=args.bs)
    for data, target in data_loader:
        data, target = data.to(args.device), target.to(args.device)
        with torch.no_grad():
            log_probs = net_g(data)  # expect: NA401
        test_loss += F.cross_entropy(log_probs, target, reduction='sum').item()
        y_pred = log_probs.data.max(1, keepdim=True)[1]
        correct += y_pred.eq(target.data.view_as(y_pred)).long().cpu().sum()
    return 100.00 * correct / len(data_loader.dataset), test_loss / len(data_loader.dataset)


if __name__ == '__main__':
    parser = argparse.ArgumentParser()
    parser.add_argument('--epochs', type=int, default=10)
    parser.add_argument('--num_users', type=int, default=100)
    parser.add_argument('--frac', type=float, default=0.1)
    parser.add_argument('--local_ep', type=int, default=5)
    parser.add_argument('--local_bs', type=int, default=10)
    parser.add_argument('--bs', type=int, default=128)
    parser.add_argument('--lr', type=float, default=0.01)
    parser.add_argument('--momentum', type=float, default=0.5)
    args = parser.parse_args()
    args.device = torch.device('cuda' if torch.cuda.is_available() else 'cpu')

    tf = transforms.ToTensor()
    dataset_train = datasets.CIFAR10('../data/cifar', train=True, download=True, transform=tf)
    dataset_test = datasets.CIFAR10('../data/cifar', train=False, download=True, transform=tf)
    perm = np.random.permutation(len(dataset_train))
    dict_users = {i: part for i, part in enumerate(np.array_split(perm, args.num_users))}

    net_glob = CNNCifar(10).to(args.device)
    net_glob.train()
    w_glob = net_glob.state_dict()
    for it in range(args.epochs):
        w_locals, loss_locals = [], []
        idxs_users = np.random.choice(range(args.num_users), max(int(args.frac * args.num_users), 1), replace=False)
        for idx in idxs_users:
            local = LocalUpdate(args=args, dataset=dataset_train, idxs=dict_users[idx])
            w, loss = local.train(net=copy.deepcopy(net_glob).to(args.device))
            w_locals.append(copy.deepcopy(w))
            loss_locals.append(loss)
        w_glob = fed_avg(w_locals)
        net_glob.load_state_dict(w_glob)
        acc_test, loss_test = test_img(net_glob, dataset_test, args)
        print('Round {:3d}, Average loss {:.3f}, acc {:.2f}'.format(it, sum(loss_locals) / len(loss_locals), acc_test))
