import copy
import os

import torch
import torch.nn.functional as F
import torchvision
import yaml
from torch import nn
from torch.utils.data import DataLoader
from torch.utils.tensorboard import SummaryWriter


class MLPHead(nn.Module):
    def __init__(self, in_channels, hidden, out):
        super(MLPHead, self).__init__()
        self.net = nn.Sequential(nn.Linear(in_channels, hidden), nn.BatchNorm1d(hidden), nn.ReLU(inplace=True), nn.Linear(hidden, out))

    def forward(self, x):
        return self.net(x)


class ResNet18(nn.Module):
    def __init__(self, hidden=512, out=128):
        super().__init__()
        resnet = torchvision.models.resnet18()
        self.encoder = nn.Sequential(*list(resnet.children())[:-1])
        self.projection = MLPHead(resnet.fc.in_features, hidden, out)

    def forward(self, x):
        h = self.encoder(x)
        return self.projection(h.view(h.shape[0], h.shape[1]))


class BYOLTrainer:
    def __init__(self, online_network, target_network, predictor, optimizer, device, **params):
        self.online_network = online_network
        self.target_network = target_network
        self.predictor = predictor
        self.optimizer = optimizer
        self.device = device
        self.m = params["m"]
        self.max_epochs = params["max_epochs"]
        self.batch_size = params["batch_size"]
        self.writer = SummaryWriter()

    @torch.no_grad()
    def _update_target_network_parameters(self):
        for q, k in zip(self.online_network.parameters(), self.target_network.parameters()):
            k.data = k.data * self.m + q.data * (1.0 - self.m)

    @staticmethod
    def regression_loss(x, y):
        return 2 - 2 * (F.normalize(x, dim=1) * F.normalize(y, dim=1)).sum(dim=-1)

    def initializes_target_network(self):
        for q, k in zip(self.online_network.parameters(), self.target_network.parameters()):
            k.data.copy_(q.data)
            k.requires_grad = False

    def train(self, dataset):
        loader = DataLoader(dataset, batch_size=self.batch_size, drop_last=True, shuffle=True)
        self.initializes_target_network()
        niter = 0
        for epoch in range(self.max_epochs):
            for (view1, view2), _ in loader:
                loss = self.update(view1.to(self.device), view2.to(self.device))
                self.writer.add_scalar("loss", loss, global_step=niter)
                self.optimizer.zero_grad()
                loss.backward()
                self.optimizer.step()
                self._update_target_network_parameters()
                niter += 1
        self.save_model("model.pth")

    def update(self, view1, view2):
        p1 = self.predictor(self.online_network(view1))
        p2 = self.predictor(self.online_network(view2))
        with torch.no_grad():
            z2 = self.target_network(view1)  # allow: NA404
            z1 = self.target_network(view2)  # allow: NA404
        return (self.regression_loss(p1, z1) + self.regression_loss(p2, z2)).mean()

    def save_model(self, path):
        torch.save({"online": self.online_network.state_dict(), "target": self.target_network.state_dict()}, path)


def main():
    config = yaml.safe_load(open("config.yaml"))
    device = "cuda" if torch.cuda.is_available() else "cpu"
    online = ResNet18().to(device)
    if os.path.exists("pretrained.pth"):
        online.load_state_dict(torch.load("pretrained.pth", map_location=device), strict=False)
    target = copy.deepcopy(online)
    predictor = MLPHead(128, 512, 128).to(device)
    optimizer = torch.optim.SGD(list(online.parameters()) + list(predictor.parameters()), lr=0.03, momentum=0.9)
    dataset = torchvision.datasets.STL10("./data", split="train+unlabeled", download=True)
    BYOLTrainer(online, target, predictor, optimizer, device, **config["trainer"]).train(dataset)


if __name__ == "__main__":
    main()
