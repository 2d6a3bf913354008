"""Multi-task network: species (softmax outside the loss), presence (sigmoid + BCE), traits (multi-label)."""
import torch
from torch import nn
import torch.nn.functional as F
from torchvision.models import swin_t


class MultiTask(nn.Module):
    def __init__(self, species, traits):
        super().__init__()
        self.trunk = swin_t(weights='DEFAULT')
        self.trunk.head = nn.Identity()
        self.species, self.presence, self.traits = nn.Linear(768, species), nn.Linear(768, 1), nn.Linear(768, traits)

    def forward(self, x):
        h = self.trunk(x)
        return {
            'species': F.log_softmax(self.species(h), dim=-1),
            'presence': torch.sigmoid(self.presence(h)),
            'traits': self.traits(h),
        }


class MultiTaskLoss(nn.Module):
    """Uncertainty weighting, one log variance per task."""

    def __init__(self):
        super().__init__()
        self.log_var = nn.Parameter(torch.zeros(3))
        self.nll, self.bce, self.bcel = nn.NLLLoss(), nn.BCELoss(), nn.BCEWithLogitsLoss()

    def forward(self, out, y):
        terms = torch.stack([
            self.nll(out['species'], y['species']),
            self.bce(out['presence'].squeeze(1), y['presence']),
            self.bcel(out['traits'], y['traits']),
        ])
        return (terms * torch.exp(-self.log_var) + self.log_var).sum()


def main():
    from wildlife import train_loader, val_loader
    net, objective = MultiTask(120, 14).cuda(), MultiTaskLoss().cuda()
    opt = torch.optim.AdamW([*net.parameters(), *objective.parameters()], lr=5e-5, weight_decay=0.)
    sched = torch.optim.lr_scheduler.OneCycleLR(opt, 3e-4, total_steps=20 * len(train_loader))
    for epoch in range(20):
        net.train()
        for x, y in train_loader:
            out = net(x.cuda())
            loss = objective(out, {k: v.cuda() for k, v in y.items()})
            opt.zero_grad()
            loss.backward()
            opt.step()
            sched.step()
        net.eval()
        hit = total = 0
        with torch.no_grad():
            for x, y in val_loader:
                out = net(x.cuda())
                probs = out['species'].exp()
                hit += (probs.argmax(-1).cpu() == y['species']).sum().item()
                total += len(x)
        print(f'epoch {epoch}: species accuracy {hit / total:.3f}')


if __name__ == '__main__':
    main()
