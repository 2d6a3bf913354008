"""Something built around modules leaves them in the mode they are in: what is reported about it."""

from __future__ import annotations

import pytest


@pytest.mark.parametrize(
    "source",
    [
        pytest.param(
            """
            def main(loader):
                model = torchvision.models.resnet18(weights="DEFAULT")
                model.eval()
                net = nn.Sequential(*list(model.children())[:-1])
                with torch.no_grad():
                    for x, y in loader:
                        net(x).argmax(1)
            """,
            id="children of a model in eval mode",
        ),
        pytest.param(
            """
            def main(loader):
                model = torchvision.models.resnet18(weights="DEFAULT")
                net = nn.Sequential(*list(model.children())[:-1])
                with torch.no_grad():
                    for x, y in loader:
                        net(x).argmax(1)  # NA401
            """,
            id="children of a fresh model",
        ),
        pytest.param(
            """
            def main(loader):
                model = torchvision.models.resnet18(weights="DEFAULT")
                net = nn.Sequential(*list(model.children())[:-2], nn.Flatten())
                net = net.cuda()
                net.eval()
                with torch.no_grad():
                    for x, y in loader:
                        net(x).argmax(1)
            """,
            id="eval reaches starred children",
        ),
        pytest.param(
            """
            def main(loader, model):
                net = nn.Sequential(*list(model.children())[:-2], nn.Flatten())
                with torch.no_grad():
                    for x, y in loader:
                        net(x).argmax(1)
            """,
            id="children of a model nobody knows",
        ),
        pytest.param(
            """
            def main(loader, model):
                net = nn.Sequential(model, nn.AdaptiveAvgPool2d(1))
                with torch.no_grad():
                    for x, y in loader:
                        net(x).argmax(1)
            """,
            id="a model nobody knows, and a layer",
        ),
        pytest.param(
            """
            def main(loader, model):
                net = nn.Sequential(model, nn.Dropout(0.5))
                net.load_state_dict(torch.load("a.pt"))
                with torch.no_grad():
                    for x, y in loader:
                        net(x).argmax(1)  # NA401
            """,
            id="a model nobody knows, and dropout",
        ),
        pytest.param(
            """
            def main(loader, model):
                net = model[:5]
                with torch.no_grad():
                    for x, y in loader:
                        net(x).argmax(1)
            """,
            id="slice of a model nobody knows",
        ),
        pytest.param(
            """
            def main(loader, model):
                net = nn.Sequential(*model[: len(model) - 1])
                with torch.no_grad():
                    for x, y in loader:
                        net(x).argmax(1)
            """,
            id="starred slice of a list nobody knows",
        ),
        pytest.param(
            """
            def main(loader, model):
                net = nn.Sequential(OrderedDict(list(model.named_children())[:-1]))
                with torch.no_grad():
                    for x, y in loader:
                        net(x).argmax(1)
            """,
            id="named children",
        ),
        pytest.param(
            """
            def main(loader):
                net = nn.Sequential(OrderedDict([("a", nn.Linear(3, 4)), ("b", nn.BatchNorm1d(4))]))
                net.load_state_dict(torch.load("a.pt"))
                with torch.no_grad():
                    for x, y in loader:
                        net(x).argmax(1)  # NA401
            """,
            id="pairs",
        ),
        pytest.param(
            """
            def main(loader):
                model = torchvision.models.vgg16(weights="DEFAULT")
                net = nn.Sequential(*list(model.children())[:-1])
                with torch.no_grad():
                    for x, y in loader:
                        net(x).argmax(1)
            """,
            id="without the head that drops",
        ),
        pytest.param(
            """
            def main(loader):
                model = torchvision.models.vgg16(weights="DEFAULT")
                net = nn.Sequential(*list(model.features.children())[:9])
                with torch.no_grad():
                    for x, y in loader:
                        net(x).argmax(1)
            """,
            id="trunk",
        ),
        pytest.param(
            """
            def main(loader, model):
                net = nn.ModuleList()
                for path in model:
                    net.append(torch.load(path)["model"].float().eval())
                net = net[-1]
                with torch.no_grad():
                    for x, y in loader:
                        net(x).argmax(1)
            """,
            id="list of loaded models",
        ),
        pytest.param(
            """
            def main(loader):
                whole = nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.Dropout())
                whole.load_state_dict(torch.load("a.pt"))
                net = whole[:2]
                with torch.no_grad():
                    for x, y in loader:
                        net(x).argmax(1)
            """,
            id="slice of a sequence",
        ),
        pytest.param(
            """
            def main(loader):
                whole = nn.Sequential(nn.Linear(3, 3), nn.Dropout(), nn.Linear(3, 3))
                whole.load_state_dict(torch.load("a.pt"))
                net = whole[:2]
                with torch.no_grad():
                    for x, y in loader:
                        net(x).argmax(1)  # NA401
            """,
            id="slice of a sequence, with dropout",
        ),
    ],
)
def test_containers(source, reported):
    marked, found = reported(source)
    assert found == marked


@pytest.mark.parametrize(
    "source",
    [
        pytest.param(
            """
            class Wrap(nn.Module):
                def __init__(self, model):
                    super().__init__()
                    self.model = model
                def forward(self, x):
                    return self.model(x)
            def main(loader, model):
                net = Wrap(model)
                torch.onnx.export(net, model.example, "a.onnx", dynamo=True)
                with torch.no_grad():
                    for x, y in loader:
                        net(x).argmax(1)
            """,
            id="a class around a model nobody knows",
        ),
        pytest.param(
            """
            class Wrap(nn.Module):
                def __init__(self, model):
                    super().__init__()
                    self.model = model
                def forward(self, x):
                    return self.model(x)
            def main(loader):
                net = Wrap(torchvision.models.resnet18(weights="DEFAULT"))
                with torch.no_grad():
                    for x, y in loader:
                        net(x).argmax(1)  # NA401
            """,
            id="a class around a fresh model",
        ),
        pytest.param(
            """
            class Wrap(nn.Module):
                def __init__(self, model):
                    super().__init__()
                    self.model = model
                def forward(self, x):
                    return self.model(x)
            def main(loader):
                net = Wrap(torchvision.models.resnet18(weights="DEFAULT").eval())
                with torch.no_grad():
                    for x, y in loader:
                        net(x).argmax(1)
            """,
            id="a class around a model in eval mode",
        ),
        pytest.param(
            """
            class Wrap(nn.Module):
                def __init__(self, model):
                    super().__init__()
                    self.model = model.eval()
                def forward(self, x):
                    return self.model(x)
            def main(loader):
                net = Wrap(torchvision.models.resnet18(weights="DEFAULT"))
                torch.jit.trace(net, torch.zeros(1, 3, 8, 8)).save("a.pt")
                with torch.no_grad():
                    for x, y in loader:
                        net(x).argmax(1)
            """,
            id="a class that switches what it is given",
        ),
        pytest.param(
            """
            class Head(nn.Module):
                def __init__(self, backbone):
                    super().__init__()
                    self.backbone = backbone
                    self.drop = nn.Dropout(0.5)
                    self.fc = nn.Linear(3, 3)
                def forward(self, x):
                    return self.fc(self.drop(self.backbone(x)))
            def main(loader, model):
                net = Head(model)
                net.load_state_dict(torch.load("a.pt"))
                net.eval()
                with torch.no_grad():
                    for x, y in loader:
                        net(x).argmax(1)
            """,
            id="eval of the class reaches what it was given",
        ),
        pytest.param(
            """
            class Head(nn.Module):
                def __init__(self, backbone):
                    super().__init__()
                    self.backbone = backbone
                    self.drop = nn.Dropout(0.5)
                    self.fc = nn.Linear(3, 3)
                def forward(self, x):
                    return self.fc(self.drop(self.backbone(x)))
            def main(loader, model):
                net = Head(model)
                net.load_state_dict(torch.load("a.pt"))
                with torch.no_grad():
                    for x, y in loader:
                        net(x).argmax(1)  # NA401
            """,
            id="its own dropout",
        ),
        pytest.param(
            """
            class Head(nn.Module):
                def __init__(self, backbone):
                    super().__init__()
                    self.backbone = backbone
                    self.drop = nn.Dropout(0.5)
                    self.fc = nn.Linear(3, 3)
                def forward(self, x):
                    return self.fc(self.drop(self.backbone(x)))
            def main(loader):
                net = Head(torchvision.models.resnet18(weights="DEFAULT").eval())
                net.load_state_dict(torch.load("a.pt"))
                with torch.no_grad():
                    for x, y in loader:
                        net(x).argmax(1)  # NA401
            """,
            id="its own dropout beside a part in eval mode",
        ),
        pytest.param(
            """
            class Wrap(nn.Module):
                def __init__(self, model):
                    super().__init__()
                    self.model = model
                def forward(self, x):
                    return self.model(x)
            class Exporter:
                def __call__(self, model):
                    self.model = prepared(model)
                    torch.jit.trace(Wrap(self.model), torch.zeros(1, 3, 8, 8)).save("a.pt")
            """,
            id="a class around what other code prepared",
        ),
        pytest.param(
            """
            class Same(nn.Module):
                def forward(self, x):
                    return x
            class Wrap(nn.Module):
                def __init__(self, model, size):
                    super().__init__()
                    self.model = model
                    self.size = size
                def forward(self, x):
                    return self.model(x[: self.size])
            def main(loader):
                net = Wrap(Same(), 3)
                with torch.no_grad():
                    for x, y in loader:
                        net(x).argmax(1)
            """,
            id="a class around a module without layers",
        ),
        pytest.param(
            """
            class Ensemble(nn.ModuleList):
                def forward(self, x):
                    return torch.cat([m(x) for m in self])
            def main(loader, model):
                net = Ensemble()
                for path in model:
                    net.append(torch.load(path).eval())
                with torch.no_grad():
                    for x, y in loader:
                        net(x).argmax(1)
            """,
            id="an ensemble",
        ),
    ],
)
def test_wrappers(source, reported):
    marked, found = reported(source)
    assert found == marked
