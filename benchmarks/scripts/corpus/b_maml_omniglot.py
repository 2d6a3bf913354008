import argparse
import copy
from collections import OrderedDict

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from omniglotNShot import OmniglotNShot


def functional_conv(x, w, i):
    x = F.conv2d(x, w['conv%d.weight' % i], w['conv%d.bias' % i], padding=1)
    # batch statistics of the episode, on purpose (transductive setting)
    x = F.batch_norm(x, running_mean=None, running_var=None, weight=w['bn%d.weight' % i], bias=w['bn%d.bias' % i], training=True)
    return F.max_pool2d(F.relu(x), 2, 2)


class Learner(nn.Module):
    def __init__(self, n_way, ch=64):
        super().__init__()
        cin = 1
        for i in range(4):
            self.add_module('conv%d' % i, nn.Conv2d(cin, ch, 3, padding=1))
            self.add_module('bn%d' % i, nn.GroupNorm(1, ch))
            cin = ch
        self.fc = nn.Linear(ch, n_way)

    def forward(self, x, weights=None):
        w = OrderedDict(self.named_parameters()) if weights is None else weights
        for i in range(4):
            x = functional_conv(x, w, i)
        return F.linear(x.view(x.size(0), -1), w['fc.weight'], w['fc.bias'])


def adapt(net, x, y, lr, steps, create_graph):
    fast = OrderedDict(net.named_parameters())
    for _ in range(steps):
        loss = F.cross_entropy(net(x, fast), y)
        grads = torch.autograd.grad(loss, list(fast.values()), create_graph=create_graph)
        fast = OrderedDict((n, p - lr * g) for (n, p), g in zip(fast.items(), grads))
    return fast


def finetune(net, x_spt, y_spt, x_qry, y_qry, args):
    net = copy.deepcopy(net)
    fast = adapt(net, x_spt, y_spt, args.update_lr, args.update_step_test, False)
    with torch.no_grad():
        logits = net(x_qry, fast)
    return (logits.argmax(1) == y_qry).float().mean().item()


def main(args):
    device = torch.device('cuda')
    net = Learner(args.n_way).to(device)
    print(net)
    meta_opt = torch.optim.Adam(net.parameters(), lr=args.meta_lr)
    db = OmniglotNShot('omniglot', batchsz=args.task_num, n_way=args.n_way, k_shot=args.k_spt, k_query=args.k_qry, imgsz=28)
    for step in range(args.epoch):
        batch = [torch.from_numpy(b).to(device) for b in db.next()]
        meta_opt.zero_grad()
        losses = []
        for x_spt, y_spt, x_qry, y_qry in zip(*batch):
            fast = adapt(net, x_spt, y_spt, args.update_lr, args.update_step, True)
            losses.append(F.cross_entropy(net(x_qry, fast), y_qry))
        torch.stack(losses).mean().backward()
        meta_opt.step()
        if step % 500 == 0:
            accs = []
            for _ in range(1000 // args.task_num):
                batch = [torch.from_numpy(b).to(device) for b in db.next('test')]
                accs += [finetune(net, *task, args) for task in zip(*batch)]
            print('Test acc:', np.array(accs).mean())


if __name__ == '__main__':
    p = argparse.ArgumentParser()
    p.add_argument('--epoch', type=int, default=40000)
    p.add_argument('--n_way', type=int, default=5)
    p.add_argument('--k_spt', type=int, default=1)
    p.add_argument('--k_qry', type=int, default=15)
    p.add_argument('--task_num', type=int, default=32)
    p.add_argument('--meta_lr', type=float, default=1e-3)
    p.add_argument('--update_lr', type=float, default=0.4)
    p.add_argument('--update_step', type=int, default=5)
    p.add_argument('--update_step_test', type=int, default=10)
    main(p.parse_args())
