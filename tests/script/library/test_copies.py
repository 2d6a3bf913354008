"""Copies are objects of their own; what counts as a freeze of BatchNorm layers."""

from __future__ import annotations

import pytest


@pytest.mark.parametrize(
    "source",
    [
        pytest.param(
            """
            class Average:
                def __init__(self, model):
                    self.ema = copy.deepcopy(unwrapped(model)).eval()
            def unwrapped(model):
                return model.module if isinstance(model, nn.DataParallel) else model
            def main(loader):
                model = torchvision.models.resnet18(weights="DEFAULT")
                average = Average(model)
                optimizer = torch.optim.SGD(model.parameters(), 0.1)
                for epoch in range(3):
                    pass
                    for x, y in loader:
                        F.cross_entropy(model(x), y).backward()
                        optimizer.step()
            """,
            id="average",
        ),
        pytest.param(
            """
            class Average:
                def __init__(self, model):
                    self.ema = copy.deepcopy(unwrapped(model)).eval()
            def unwrapped(model):
                return model.module if isinstance(model, nn.DataParallel) else model
            def main(loader, model):
                average = Average(model)
                optimizer = torch.optim.SGD(model.parameters(), 0.1)
                for epoch in range(3):
                    model.train()
                    for x, y in loader:
                        F.cross_entropy(model(x), y).backward()
                        optimizer.step()
            """,
            id="average of a model nobody knows",
        ),
        pytest.param(
            """
            def main(loader):
                model = torchvision.models.resnet18(weights="DEFAULT")
                if loader.small:
                    model = torchvision.models.resnet50()
                best = copy.deepcopy(model).eval()
                optimizer = torch.optim.SGD(model.parameters(), 0.1)
                for epoch in range(3):
                    pass
                    for x, y in loader:
                        F.cross_entropy(model(x), y).backward()
                        optimizer.step()
            """,
            id="one of two",
        ),
        pytest.param(
            """
            class Target(nn.Module):
                def __init__(self, net):
                    super().__init__()
                    self.online = net
                    self.target = copy.deepcopy(net)
                    self.target.eval()
                def forward(self, x):
                    return self.online(x)
            def main(loader):
                model = Target(torchvision.models.resnet18(weights="DEFAULT"))
                optimizer = torch.optim.SGD(model.parameters(), 0.1)
                for epoch in range(3):
                    pass
                    for x, y in loader:
                        F.cross_entropy(model(x), y).backward()
                        optimizer.step()
            """,
            id="target inside a module",
        ),
    ],
)
def test_copies(source, reported):
    marked, found = reported(source)
    assert found == marked


@pytest.mark.parametrize(
    "source",
    [
        pytest.param(
            """
            def main(loader):
                model = torchvision.models.resnet18(weights="DEFAULT")
                model.eval()
                optimizer = torch.optim.SGD(model.parameters(), 0.1)
                for epoch in range(3):
                    model.train()
                    for x, y in loader:
                        F.cross_entropy(model(x), y).backward()
                        optimizer.step()
            """,
            id="the whole before the training",
        ),
        pytest.param(
            """
            def main(loader, path):
                model = nn.Sequential(torch.load(path)["model"].eval(), nn.Linear(3, 3))
                optimizer = torch.optim.SGD(model.parameters(), 0.1)
                for epoch in range(3):
                    model.train()
                    for x, y in loader:
                        F.cross_entropy(model(x), y).backward()
                        optimizer.step()
            """,
            id="a loaded part",
        ),
        pytest.param(
            """
            def main(loader, path):
                parts = nn.ModuleList()
                parts.append(torch.load(path)["model"].eval())
                model = parts[-1]
                optimizer = torch.optim.SGD(model.parameters(), 0.1)
                for epoch in range(3):
                    model.train()
                    for x, y in loader:
                        F.cross_entropy(model(x), y).backward()
                        optimizer.step()
            """,
            id="a loaded whole in a list",
        ),
        pytest.param(
            """
            class Both(nn.Module):
                def __init__(self, net):
                    super().__init__()
                    self.net = net
                    self.net.eval()
                    self.fc = nn.Linear(3, 3)
                def forward(self, x):
                    return self.fc(self.net(x))
            def main(loader):
                model = Both(torchvision.models.resnet18(weights="DEFAULT"))
                optimizer = torch.optim.SGD(model.parameters(), 0.1)
                for epoch in range(3):
                    model.train()  # NA406
                    for x, y in loader:
                        F.cross_entropy(model(x), y).backward()
                        optimizer.step()
            """,
            id="a part, on purpose",
        ),
        pytest.param(
            """
            def main(loader):
                model = torchvision.models.resnet18(weights="DEFAULT")
                for m in model.modules():
                    if m.__class__.__name__.startswith("BatchNorm"):
                        m.eval()
                optimizer = torch.optim.SGD(model.parameters(), 0.1)
                for epoch in range(3):
                    model.train()  # NA406
                    for x, y in loader:
                        F.cross_entropy(model(x), y).backward()
                        optimizer.step()
            """,
            id="by class name",
        ),
    ],
)
def test_freezes(source, reported):
    marked, found = reported(source)
    assert found == marked
