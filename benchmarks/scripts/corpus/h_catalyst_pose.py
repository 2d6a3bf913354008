import os
import torch
from catalyst import dl, metrics
from torch import nn, optim
from torch.utils.data import DataLoader
from torchvision.models import shufflenet_v2_x1_0

from keypoints import FaceKeypoints


class KeypointRunner(dl.Runner):
    def predict_batch(self, batch):
        return self.model(batch[0].to(self.engine.device))

    def on_loader_start(self, runner):
        super().on_loader_start(runner)
        self.meters = {k: metrics.AdditiveMetric(compute_on_call=False) for k in ("loss", "nme")}

    def handle_batch(self, batch):
        x, y = batch
        pred = self.model(x).view_as(y)
        loss = nn.functional.smooth_l1_loss(pred, y)
        nme = (pred - y).norm(dim=-1).mean()
        self.batch_metrics.update({"loss": loss, "nme": nme})
        for k in self.meters:
            self.meters[k].update(self.batch_metrics[k].item(), self.batch_size)
        if self.is_train_loader:
            self.engine.backward(loss)
            self.optimizer.step()
            self.optimizer.zero_grad()

    def on_loader_end(self, runner):
        for k in self.meters:
            self.loader_metrics[k] = self.meters[k].compute()[0]
        super().on_loader_end(runner)


model = shufflenet_v2_x1_0(num_classes=68 * 2)
optimizer = optim.Adam(model.parameters(), lr=2e-3)
loaders = {
    "train": DataLoader(FaceKeypoints(os.getcwd(), "train"), batch_size=64, shuffle=True),
    "valid": DataLoader(FaceKeypoints(os.getcwd(), "val"), batch_size=64),
}
runner = KeypointRunner()
runner.train(model=model, optimizer=optimizer, loaders=loaders, num_epochs=40, logdir="./logs",
             valid_loader="valid", valid_metric="nme", minimize_valid_metric=True, verbose=True)
for prediction in runner.predict_loader(loader=loaders["valid"]):
    print(prediction.shape)
    break
