import logging

import hydra
import torch
from hydra.utils import to_absolute_path
from omegaconf import DictConfig, OmegaConf
from torch import nn
from torch.utils.data import DataLoader
from torch.utils.tensorboard import SummaryWriter

from pointclouds import ModelNet40

log = logging.getLogger(__name__)


class TNet(nn.Module):
    def __init__(self, k=3):
        super().__init__()
        self.k = k
        self.convs = nn.Sequential(
            nn.Conv1d(k, 64, 1), nn.BatchNorm1d(64), nn.ReLU(),
            nn.Conv1d(64, 1024, 1), nn.BatchNorm1d(1024), nn.ReLU())
        self.fc = nn.Linear(1024, k * k)

    def forward(self, x):
        m = self.fc(self.convs(x).max(2).values).view(-1, self.k, self.k)
        return m + torch.eye(self.k, device=x.device)


class PointNet(nn.Module):
    def __init__(self, classes=40):
        super().__init__()
        self.t = TNet()
        self.conv = nn.Sequential(nn.Conv1d(3, 64, 1), nn.BatchNorm1d(64), nn.ReLU(), nn.Conv1d(64, 1024, 1), nn.BatchNorm1d(1024))
        self.head = nn.Sequential(nn.Linear(1024, 256), nn.BatchNorm1d(256), nn.ReLU(), nn.Dropout(.3), nn.Linear(256, classes))

    def forward(self, x):
        x = torch.bmm(self.t(x).transpose(1, 2), x)
        return self.head(self.conv(x).max(dim=2)[0])


def validate(cfg, net, loader, writer, step):
    hits = n = 0
    with torch.no_grad():
        for points, label in loader:
            hits += (net(points.to(cfg.device)).argmax(1).cpu() == label).sum().item()
            n += label.numel()
    writer.add_scalar('val/acc', hits / n, step)
    return hits / n


@hydra.main(version_base=None, config_path='conf', config_name='config')
def main(cfg: DictConfig) -> float:
    log.info(OmegaConf.to_yaml(cfg))
    torch.manual_seed(cfg.seed)
    root = to_absolute_path(cfg.data.root)
    train = DataLoader(ModelNet40(root, 'train'), cfg.batch_size, shuffle=True, drop_last=True)
    val = DataLoader(ModelNet40(root, 'test'), cfg.batch_size)
    net = PointNet(cfg.classes).to(cfg.device)
    opt = torch.optim.Adam(net.parameters(), lr=cfg.optim.lr)
    writer = SummaryWriter()
    step, best = 0, 0.0
    for epoch in range(cfg.epochs):
        for points, label in train:
            loss = nn.functional.cross_entropy(net(points.to(cfg.device)), label.to(cfg.device))
            opt.zero_grad()
            loss.backward()
            opt.step()
            step += 1
            if step % cfg.log_every == 0:
                writer.add_scalar('train/loss', loss.item(), step)
        if epoch % cfg.val_every != 0:
            continue
        net.eval()  # expect: NA402
        acc = validate(cfg, net, val, writer, step)
        if acc <= best:
            log.info('no improvement (%.4f)', acc)
            continue
        best = acc
        torch.save(net.state_dict(), 'best.pt')
        net.train()
    return best


if __name__ == '__main__':
    main()
