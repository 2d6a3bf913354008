import argparse
import copy

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Subset
from torchvision import datasets, transforms
from tqdm import tqdm


class CNNCifar(nn.Module):
    def __init__(self):
        super(CNNCifar, self).__init__()
        self.conv1 = nn.Conv2d(3, 32, 5)
        self.conv2 = nn.Conv2d(32, 64, 5)
        self.drop = nn.Dropout2d(0.25)
        self.fc1 = nn.Linear(1600, 512)
        self.fc2 = nn.Linear(512, 10)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = self.drop(F.max_pool2d(F.relu(self.conv2(x)), 2))
        return self.fc2(F.relu(self.fc1(x.flatten(1))))


class LocalUpdate(object):
    def __init__(self, args, dataset, idxs):
        self.args = args
        self.loader = DataLoader(Subset(dataset, idxs), batch_size=args.local_bs, shuffle=True)

    def train(self, net):
        optimizer = torch.optim.SGD(net.parameters(), lr=self.args.lr, momentum=0.5)
        losses = []
        for _ in range(self.args.local_ep):
            for images, labels in self.loader:
                images, labels = images.to(self.args.device), labels.to(self.args.device)
                net.zero_grad()
                loss = F.cross_entropy(net(images), labels)
                loss.backward()
                optimizer.step()
                losses.append(loss.item())
        return net.state_dict(), sum(losses) / len(losses)


def average_weights(w):
    avg = copy.deepcopy(w[0])
    for key in avg.keys():
        for i in range(1, len(w)):
            avg[key] += w[i][key]
        avg[key] = torch.div(avg[key], len(w))
    return avg


def test_inference(args, model, dataset):
    model.eval()  # expect: NA402
    correct = 0
    with torch.no_grad():
        for images, labels in DataLoader(dataset, batch_size=128):
            out = model(images.to(args.device))
            correct += (out.argmax(1).cpu() == labels).sum().item()
    return correct / len(dataset)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--num_users", type=int, default=100)
    parser.add_argument("--frac", type=float, default=0.1)
    parser.add_argument("--local_ep", type=int, default=5)
    parser.add_argument("--local_bs", type=int, default=10)
    parser.add_argument("--lr", type=float, default=0.01)
    parser.add_argument("--device", default="cuda:0")
    args = parser.parse_args()
    tf = transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.5,) * 3, (0.5,) * 3)])
    train_set = datasets.CIFAR10("data", train=True, download=True, transform=tf)
    test_set = datasets.CIFAR10("data", train=False, transform=tf)
    shards = np.array_split(np.random.permutation(len(train_set)), args.num_users)
    global_model = CNNCifar().to(args.device)
    global_model.train()
    for rnd in tqdm(range(args.rounds)):
        local_weights, local_losses = [], []
        chosen = np.random.choice(range(args.num_users), max(int(args.frac * args.num_users), 1), replace=False)
        for idx in chosen:
            local = LocalUpdate(args, train_set, shards[idx])
            w, loss = local.train(copy.deepcopy(global_model))
            local_weights.append(w)
            local_losses.append(loss)
        global_model.load_state_dict(average_weights(local_weights))
        acc = test_inference(args, global_model, test_set)
        print("round %d loss %.4f acc %.4f" % (rnd, sum(local_losses) / len(local_losses), acc))
