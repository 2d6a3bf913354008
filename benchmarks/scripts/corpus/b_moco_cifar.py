import argparse
import math

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader
from torchvision import transforms
from torchvision.datasets import CIFAR10
from torchvision.models import resnet18


class CIFAR10Pair(CIFAR10):
    def __getitem__(self, index):
        from PIL import Image
        img = Image.fromarray(self.data[index])
        return self.transform(img), self.transform(img)


class ModelMoCo(nn.Module):
    def __init__(self, dim=128, K=4096, m=0.99, T=0.1):
        super(ModelMoCo, self).__init__()
        self.K, self.m, self.T = K, m, T
        self.encoder_q = resnet18(num_classes=dim)
        self.encoder_k = resnet18(num_classes=dim)
        for param_q, param_k in zip(self.encoder_q.parameters(), self.encoder_k.parameters()):
            param_k.data.copy_(param_q.data)
            param_k.requires_grad = False  # not update by gradient
        self.register_buffer("queue", F.normalize(torch.randn(dim, K), dim=0))
        self.register_buffer("queue_ptr", torch.zeros(1, dtype=torch.long))

    @torch.no_grad()
    def _momentum_update_key_encoder(self):
        for param_q, param_k in zip(self.encoder_q.parameters(), self.encoder_k.parameters()):
            param_k.data = param_k.data * self.m + param_q.data * (1. - self.m)

    @torch.no_grad()
    def _dequeue_and_enqueue(self, keys):
        ptr = int(self.queue_ptr)
        self.queue[:, ptr:ptr + keys.shape[0]] = keys.t()
        self.queue_ptr[0] = (ptr + keys.shape[0]) % self.K

    def forward(self, im_q, im_k):
        self._momentum_update_key_encoder()
        q = F.normalize(self.encoder_q(im_q), dim=1)
        with torch.no_grad():
            idx = torch.randperm(im_k.shape[0], device=im_k.device)
            k = F.normalize(self.encoder_k(im_k[idx]), dim=1)  # allow: NA404
            k = k[torch.argsort(idx)]
        l_pos = torch.einsum('nc,nc->n', [q, k]).unsqueeze(-1)
        l_neg = torch.einsum('nc,ck->nk', [q, self.queue.clone().detach()])
        logits = torch.cat([l_pos, l_neg], dim=1) / self.T
        loss = F.cross_entropy(logits, torch.zeros(logits.shape[0], dtype=torch.long, device=logits.device))
        self._dequeue_and_enqueue(k)
        return loss


def train(net, data_loader, train_optimizer, epoch, args):
    net.train()
    for g in train_optimizer.param_groups:
        g['lr'] = args.lr * 0.5 * (1. + math.cos(math.pi * epoch / args.epochs))
    total_loss, total_num = 0.0, 0
    for im_1, im_2 in data_loader:
        loss = net(im_1.cuda(non_blocking=True), im_2.cuda(non_blocking=True))
        train_optimizer.zero_grad()
        loss.backward()
        train_optimizer.step()
        total_num += data_loader.batch_size
        total_loss += loss.item() * data_loader.batch_size
    return total_loss / total_num


# test using a knn monitor
def test(net, memory_loader, test_loader, knn_k=200, knn_t=0.1):
    net.eval()
    feature_bank, total_top1, total_num = [], 0.0, 0
    labels = torch.tensor(memory_loader.dataset.targets).cuda()
    with torch.no_grad():
        for data, _ in memory_loader:
            feature_bank.append(F.normalize(net(data.cuda(non_blocking=True)), dim=1))
        bank = torch.cat(feature_bank, dim=0).t().contiguous()
        for data, target in test_loader:
            data, target = data.cuda(), target.cuda()
            sim, idx = (F.normalize(net(data), dim=1) @ bank).topk(k=knn_k, dim=-1)
            votes = torch.zeros(data.size(0), 10, device=data.device).scatter_add_(1, labels[idx], (sim / knn_t).exp())
            total_top1 += (votes.argmax(1) == target).sum().item()
            total_num += data.size(0)
    return total_top1 / total_num * 100


if __name__ == '__main__':
    parser = argparse.ArgumentParser()
    parser.add_argument('--lr', default=0.06, type=float)
    parser.add_argument('--epochs', default=200, type=int)
    parser.add_argument('--batch-size', default=512, type=int)
    args = parser.parse_args()
    aug = transforms.Compose([transforms.RandomResizedCrop(32), transforms.RandomHorizontalFlip(), transforms.ToTensor()])
    train_loader = DataLoader(CIFAR10Pair('data', transform=aug, download=True), args.batch_size, shuffle=True, drop_last=True)
    memory = DataLoader(CIFAR10('data', transform=transforms.ToTensor()), args.batch_size)
    test_loader = DataLoader(CIFAR10('data', train=False, transform=transforms.ToTensor()), args.batch_size)
    model = ModelMoCo().cuda()
    optimizer = torch.optim.SGD(model.parameters(), lr=args.lr, momentum=0.9)
    for epoch in range(1, args.epochs + 1):
        print(train(model, train_loader, optimizer, epoch, args), test(model.encoder_q, memory, test_loader))
