import lightning as L
import torch
import torch.nn as nn
import torch.nn.functional as F
from lightning.pytorch.callbacks import BatchSizeFinder, StochasticWeightAveraging

from lidar import KittiPillars


class Pillars(nn.Module):
    def __init__(self, feats=9, ch=64):
        super().__init__()
        self.lin, self.bn = nn.Linear(feats, ch, bias=False), nn.BatchNorm1d(ch)
        self.bev = nn.Sequential(nn.Conv2d(ch, ch, 3, 2, 1), nn.BatchNorm2d(ch), nn.ReLU(), nn.Conv2d(ch, 8, 1))

    def forward(self, pillars, coords, size):
        h = F.relu(self.bn(self.lin(pillars).transpose(1, 2))).max(-1).values
        canvas = h.new_zeros(size[0], h.size(1), *size[1:])
        canvas[coords[:, 0], :, coords[:, 1], coords[:, 2]] = h
        return self.bev(canvas)


class Detector(L.LightningModule):
    def __init__(self, lr=1e-3, batch_size=4):
        super().__init__()
        self.save_hyperparameters()
        self.student = Pillars()
        self.teacher = Pillars()
        self.teacher.load_state_dict(self.student.state_dict())
        self.teacher.requires_grad_(False)

    def on_train_epoch_start(self):
        # Lightning put everything into train mode, the teacher stays out of it
        self.teacher.eval()

    def forward(self, batch):
        return self.student(batch["pillars"], batch["coords"], batch["size"])

    def training_step(self, batch, _):
        out = self(batch)
        with torch.no_grad():
            soft = self.teacher(batch["pillars"], batch["coords"], batch["size"])
        loss = F.smooth_l1_loss(out, batch["target"]) + 0.1 * F.mse_loss(out, soft)
        self.log("loss", loss)
        return loss

    def on_before_zero_grad(self, _):
        with torch.no_grad():
            for t, s in zip(self.teacher.state_dict().values(), self.student.state_dict().values()):
                t.copy_(torch.lerp(t.float(), s.float(), 0.001).to(t.dtype))

    def _score(self, batch, name):
        err = (self(batch) - batch["target"]).abs().mean()
        self.log(name, err, prog_bar=True)

    def validation_step(self, batch, _):
        self._score(batch, "val_err")

    def test_step(self, batch, _):
        self._score(batch, "test_err")

    def configure_optimizers(self):
        return torch.optim.Adam(self.student.parameters(), self.hparams.lr)

    def train_dataloader(self):
        return torch.utils.data.DataLoader(KittiPillars("train"), self.hparams.batch_size, shuffle=True)

    def val_dataloader(self):
        return torch.utils.data.DataLoader(KittiPillars("val"), self.hparams.batch_size)

    test_dataloader = val_dataloader


if __name__ == "__main__":
    trainer = L.Trainer(max_epochs=80, callbacks=[BatchSizeFinder(), StochasticWeightAveraging(1e-4)])
    det = Detector()
    trainer.fit(det)
    trainer.test(det)
