from argparse import ArgumentParser

import torch
import torch.nn.functional as F
from ignite.contrib.handlers import ProgressBar
from ignite.engine import Events, create_supervised_evaluator, create_supervised_trainer
from ignite.handlers import ModelCheckpoint
from ignite.metrics import Accuracy, Loss
from torch import nn
from torch.utils.data import DataLoader
from torchvision.datasets import CIFAR10
from torchvision.models import shufflenet_v2_x1_0
from torchvision.transforms import ToTensor


def run(batch_size, epochs, lr):
    device = "cuda" if torch.cuda.is_available() else "cpu"
    train_loader = DataLoader(CIFAR10("data", True, ToTensor(), download=True), batch_size, shuffle=True)
    val_loader = DataLoader(CIFAR10("data", False, ToTensor()), 1024)
    model = shufflenet_v2_x1_0(num_classes=10).to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=lr, momentum=0.8)
    criterion = nn.CrossEntropyLoss()
    trainer = create_supervised_trainer(model, optimizer, criterion, device=device)
    evaluator = create_supervised_evaluator(model, metrics={"accuracy": Accuracy(), "ce": Loss(F.cross_entropy)}, device=device)
    ProgressBar().attach(trainer, output_transform=lambda x: {"loss": x})

    @trainer.on(Events.EPOCH_COMPLETED)
    def log_validation(engine):
        evaluator.run(val_loader)
        m = evaluator.state.metrics
        print(f"epoch {engine.state.epoch}: acc {m['accuracy']:.3f} ce {m['ce']:.3f}")

    handler = ModelCheckpoint("ckpt", "shuffle", n_saved=1, score_function=lambda e: e.state.metrics["accuracy"], require_empty=False)
    evaluator.add_event_handler(Events.COMPLETED, handler, {"model": model})
    trainer.run(train_loader, max_epochs=epochs)


if __name__ == "__main__":
    p = ArgumentParser()
    p.add_argument("--batch_size", type=int, default=64)
    p.add_argument("--epochs", type=int, default=10)
    p.add_argument("--lr", type=float, default=0.01)
    a = p.parse_args()
    run(a.batch_size, a.epochs, a.lr)
