import torch, timm
from torch import nn
import torch.nn.functional as F


class Distiller(nn.Module):
    """Keeps the teacher in eval whatever mode the distiller is switched to."""

    def __init__(self, student, teacher, tau=2.):
        super().__init__()
        self.student, self.teacher, self.tau = student, teacher, tau
        self.teacher.requires_grad_(False)
        self.teacher.eval()

    def train(self, mode=True):
        super().train(mode)
        self.teacher.eval()
        return self

    def forward(self, x, y):
        s = self.student(x)
        with torch.no_grad():
            t = self.teacher(x)
        kd = F.kl_div((s / self.tau).log_softmax(1), (t / self.tau).softmax(1), reduction='batchmean')
        return F.cross_entropy(s, y) + self.tau ** 2 * kd


def accuracy(model, dl):
    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            return sum((model(x.cuda()).argmax(1).cpu() == y).float().mean().item() for x, y in dl) / len(dl)
    finally:
        model.train(training)


def run(train_dl, val_dl, epochs=30):
    d = Distiller(timm.create_model('resnet18', num_classes=100), timm.create_model('resnet50', num_classes=100, checkpoint_path='t.pth')).cuda()
    opt = torch.optim.AdamW(d.student.parameters(), 1e-3, weight_decay=0)
    d.train()
    for e in range(epochs):
        for x, y in train_dl:
            loss = d(x.cuda(), y.cuda())
            opt.zero_grad(); loss.backward(); opt.step()
        print(e, 'val', accuracy(d.student, val_dl))
    return d.student


if __name__ == '__main__':
    from mydata import loaders
    run(*loaders('cifar100', 256))
