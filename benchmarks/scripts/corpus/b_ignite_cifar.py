import fire
import torch
import torch.nn as nn
from ignite.contrib.handlers import ProgressBar
from ignite.engine import Engine, Events, create_supervised_evaluator
from ignite.handlers import EarlyStopping, ModelCheckpoint
from ignite.metrics import Accuracy, Loss
from torchvision.models import wide_resnet50_2

from data import get_loaders


def create_trainer(model, optimizer, criterion, device, clip):
    def _update(engine, batch):
        model.train()
        x, y = (t.to(device, non_blocking=True) for t in batch)
        optimizer.zero_grad()
        loss = criterion(model(x), y)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), clip)
        optimizer.step()
        return loss.item()

    return Engine(_update)


def run(batch_size=256, epochs=30, lr=0.05, clip=1.0, device="cuda"):
    train_loader, val_loader = get_loaders(batch_size)
    model = wide_resnet50_2(num_classes=10).to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9)
    criterion = nn.CrossEntropyLoss()

    trainer = create_trainer(model, optimizer, criterion, device, clip)
    metrics = {"accuracy": Accuracy(), "nll": Loss(criterion)}
    train_evaluator = create_supervised_evaluator(model, metrics=metrics, device=device)
    evaluator = create_supervised_evaluator(model, metrics=metrics, device=device)
    ProgressBar(persist=True).attach(trainer, output_transform=lambda loss: {"loss": loss})

    @trainer.on(Events.EPOCH_COMPLETED)
    def compute_metrics(engine):
        train_evaluator.run(train_loader)
        evaluator.run(val_loader)
        for tag, e in (("train", train_evaluator), ("val", evaluator)):
            print(tag, engine.state.epoch, e.state.metrics["accuracy"], e.state.metrics["nll"])

    def score_function(engine):
        return -engine.state.metrics["nll"]

    evaluator.add_event_handler(Events.COMPLETED, EarlyStopping(5, score_function, trainer))
    evaluator.add_event_handler(
        Events.COMPLETED, ModelCheckpoint("ckpt", "best", n_saved=1, score_function=score_function, require_empty=False), {"model": model})
    trainer.run(train_loader, max_epochs=epochs)


if __name__ == "__main__":
    fire.Fire(run)
