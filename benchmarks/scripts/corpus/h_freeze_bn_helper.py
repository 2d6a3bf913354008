"""Fine-tuning a ReID baseline with the backbone statistics fixed (or so it is meant)."""
import torch
import torch.nn as nn
import torchvision

from market import Market1501, PKSampler, evaluate_rank


class Baseline(nn.Module):
    def __init__(self, n_ids):
        super().__init__()
        r = torchvision.models.resnet50(weights="IMAGENET1K_V1")
        r.layer4[0].conv2.stride = r.layer4[0].downsample[0].stride = (1, 1)
        self.base = nn.Sequential(*list(r.children())[:-2])
        self.gap = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(2048, n_ids, bias=False)

    def forward(self, x):
        f = self.gap(self.base(x)).flatten(1)
        return (self.classifier(f), f) if self.training else f


def fix_bn(net):
    for m in net.modules():
        if isinstance(m, nn.BatchNorm2d):
            m.eval()


class Trainer:
    def __init__(self, net, opt, cfg):
        self.net, self.opt, self.cfg = net, opt, cfg
        self.xent = nn.CrossEntropyLoss(label_smoothing=0.1)
        self.triplet = nn.TripletMarginLoss(margin=0.3)

    def _losses(self, imgs, pids):
        logits, f = self.net(imgs)
        k = self.cfg["instances"]
        a, p = f[::k], f[1::k]
        return self.xent(logits, pids) + self.triplet(a, p, a.roll(1, 0))

    def train(self, loader):
        self.net.train()  # expect: NA406
        for imgs, pids in loader:
            loss = self._losses(imgs.cuda(), pids.cuda())
            self.opt.zero_grad()
            loss.backward()
            self.opt.step()

    def test(self, query, gallery):
        self.net.eval()
        feats = []
        with torch.no_grad():
            for loader in (query, gallery):
                feats.append(torch.cat([self.net(x.cuda()).cpu() for x, *_ in loader]))
        return evaluate_rank(*feats, query.dataset, gallery.dataset)


def main():
    cfg = {"instances": 4, "ids": 16, "epochs": 120}
    data = Market1501("/data/market")
    bs = cfg["instances"] * cfg["ids"]
    train = torch.utils.data.DataLoader(data.train, sampler=PKSampler(data.train, cfg["instances"]), batch_size=bs, drop_last=True)
    query, gallery = (torch.utils.data.DataLoader(d, 128) for d in (data.query, data.gallery))
    net = Baseline(data.n_ids).cuda()
    fix_bn(net)
    trainer = Trainer(net, torch.optim.Adam(net.parameters(), 3.5e-4), cfg)
    for epoch in range(cfg["epochs"]):
        trainer.train(train)
        if epoch % 10 == 9:
            print(epoch, trainer.test(query, gallery))


if __name__ == "__main__":
    main()
