import typer
import torch
from torch import nn
from torchvision.datasets import EuroSAT
from torchvision.models import get_model
from torchvision.transforms import v2 as T
from torchmetrics import MeanMetric
from torchmetrics.classification import Accuracy

app = typer.Typer()


class Phase:
    TRAIN = "train"
    VAL = "val"
    ALL = (TRAIN, VAL)


def loaders(bs):
    tf = T.Compose([T.ToImage(), T.ToDtype(torch.float32, scale=True)])
    ds = EuroSAT("data", transform=tf, download=True)
    a, b = torch.utils.data.random_split(ds, [0.9, 0.1], generator=torch.Generator().manual_seed(7))
    mk = torch.utils.data.DataLoader
    return {Phase.TRAIN: mk(a, bs, shuffle=True), Phase.VAL: mk(b, bs)}


@app.command()
def main(arch: str = "regnet_y_400mf", epochs: int = 10, bs: int = 128, lr: float = 3e-4):
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    dls = loaders(bs)
    net = get_model(arch, num_classes=10).to(device)
    opt = torch.optim.Adam(net.parameters(), lr)
    loss_fn = nn.CrossEntropyLoss()
    acc, mean = Accuracy("multiclass", num_classes=10).to(device), MeanMetric().to(device)
    best_acc, best_state = 0.0, None
    for epoch in range(epochs):
        for phase in Phase.ALL:
            training = phase == Phase.TRAIN
            if training:
                net.train()
            else:
                net.eval()
            for x, y in dls[phase]:
                x, y = x.to(device), y.to(device)
                with torch.set_grad_enabled(training):
                    logits = net(x)
                    loss = loss_fn(logits, y)
                if training:
                    opt.zero_grad()
                    loss.backward()
                    opt.step()
                acc(logits, y)
                mean(loss)
            a = acc.compute().item()
            typer.echo(f"{epoch} {phase} loss={mean.compute():.4f} acc={a:.4f}")
            acc.reset()
            mean.reset()
            if phase == Phase.VAL and a > best_acc:
                best_acc = a
                best_state = {k: v.cpu().clone() for k, v in net.state_dict().items()}
    torch.save(best_state, "eurosat.pt")


if __name__ == "__main__":
    app()
