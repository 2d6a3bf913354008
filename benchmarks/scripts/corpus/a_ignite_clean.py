from ignite.engine import Events, create_supervised_evaluator, create_supervised_trainer
from ignite.handlers import ModelCheckpoint
from ignite.metrics import Accuracy, Loss
import torch
from torch import nn
from torch.utils.data import DataLoader
from torchvision.datasets import MNIST
from torchvision.models import resnet18
from torchvision.transforms import ToTensor

device = torch.device("cuda" if torch.cuda.is_available() else "cpu")


class Net(nn.Module):
    def __init__(self):
        super(Net, self).__init__()
        self.model = resnet18(num_classes=10)
        self.model.conv1 = self.model.conv1 = nn.Conv2d(1, 64, kernel_size=3, padding=1, bias=False)

    def forward(self, x):
        return self.model(x)


train_loader = DataLoader(MNIST("data", download=True, transform=ToTensor()), batch_size=128, shuffle=True)
val_loader = DataLoader(MNIST("data", train=False, transform=ToTensor()), batch_size=256)
model = Net().to(device)
optimizer = torch.optim.RMSprop(model.parameters(), lr=0.005)
criterion = nn.CrossEntropyLoss()
trainer = create_supervised_trainer(model, optimizer, criterion, device)
metrics = {"accuracy": Accuracy(), "loss": Loss(criterion)}
val_evaluator = create_supervised_evaluator(model, metrics=metrics, device=device)


@trainer.on(Events.EPOCH_COMPLETED)
def log_results(engine):
    val_evaluator.run(val_loader)
    m = val_evaluator.state.metrics
    print(f"Validation - Epoch[{engine.state.epoch}] accuracy: {m['accuracy']:.2f} loss: {m['loss']:.2f}")


checkpoint = ModelCheckpoint("checkpoint", n_saved=2, filename_prefix="best", score_function=lambda e: e.state.metrics["accuracy"])
val_evaluator.add_event_handler(Events.COMPLETED, checkpoint, {"model": model})
trainer.run(train_loader, max_epochs=5)
