"""Which methods run layers."""

from __future__ import annotations

import pytest


@pytest.mark.parametrize(
    "source",
    [
        pytest.param(
            """
            from models import Far
            def main(loader, w):
                model = Far(3)
                model.load_state_dict(w)
                with torch.no_grad():
                    for x, y in loader:
                        model.token.copy_(x)
            """,
            id="token.copy_",
        ),
        pytest.param(
            """
            from models import Far
            def main(loader, w):
                model = Far(3)
                model.load_state_dict(w)
                with torch.no_grad():
                    for x, y in loader:
                        model.pool.latent.lerp_(x, 0.1)
            """,
            id="pool.latent.lerp_",
        ),
        pytest.param(
            """
            from models import Far
            def main(loader, w):
                model = Far(3)
                model.load_state_dict(w)
                with torch.no_grad():
                    for x, y in loader:
                        model.pos_embed.repeat(x)
            """,
            id="pos_embed.repeat",
        ),
        pytest.param(
            """
            from models import Far
            def main(loader, w):
                model = Far(3)
                model.load_state_dict(w)
                with torch.no_grad():
                    for x, y in loader:
                        model.visual.set_input_size(x)
            """,
            id="visual.set_input_size",
        ),
        pytest.param(
            """
            from models import Far
            def main(loader, w):
                model = Far(3)
                model.load_state_dict(w)
                with torch.no_grad():
                    for x, y in loader:
                        model._named_members(x)
            """,
            id="_named_members",
        ),
        pytest.param(
            """
            from models import Far
            def main(loader, w):
                model = Far(3)
                model.load_state_dict(w)
                with torch.no_grad():
                    for x, y in loader:
                        model.reset_memory(x)
            """,
            id="reset_memory",
        ),
        pytest.param(
            """
            from models import Far
            def main(loader, w):
                model = Far(3)
                model.load_state_dict(w)
                with torch.no_grad():
                    for x, y in loader:
                        model.add_tokens(x)
            """,
            id="add_tokens",
        ),
        pytest.param(
            """
            from models import Far
            def main(loader, w):
                model = Far(3)
                model.load_state_dict(w)
                with torch.no_grad():
                    for x, y in loader:
                        model.get_num_layers(x)
            """,
            id="get_num_layers",
        ),
        pytest.param(
            """
            from models import Far
            def main(loader, w):
                model = Far(3)
                model.load_state_dict(w)
                with torch.no_grad():
                    for x, y in loader:
                        model.predict(x)
            """,
            id="predict",
        ),
        pytest.param(
            """
            from models import Far
            def main(loader, w):
                model = Far(3)
                model.load_state_dict(w)
                with torch.no_grad():
                    for x, y in loader:
                        model.transcribe(x)
            """,
            id="transcribe",
        ),
        pytest.param(
            """
            from models import Far
            def main(loader, w):
                model = Far(3)
                model.load_state_dict(w)
                with torch.no_grad():
                    for x, y in loader:
                        model(x)  # NA401?
            """,
            id="call",
        ),
        pytest.param(
            """
            from models import Far
            def main(loader, w):
                model = Far(3)
                model.load_state_dict(w)
                with torch.no_grad():
                    for x, y in loader:
                        model.forward(x)  # NA401?
            """,
            id="forward",
        ),
        pytest.param(
            """
            from models import Far
            def main(loader, w):
                model = Far(3)
                model.load_state_dict(w)
                with torch.no_grad():
                    for x, y in loader:
                        model.encoder(x)  # NA401?
            """,
            id="part",
        ),
        pytest.param(
            """
            from models import Far
            def main(loader, w):
                model = Far(3)
                model.load_state_dict(w)
                with torch.no_grad():
                    for x, y in loader:
                        model.get_features(x)  # NA401?
            """,
            id="features",
        ),
        pytest.param(
            """
            from models import Far
            def main(loader, w):
                model = Far(3)
                model.load_state_dict(w)
                with torch.no_grad():
                    for x, y in loader:
                        model.encode(x)  # NA401?
            """,
            id="encode",
        ),
        pytest.param(
            """
            from models import Far
            def main(loader, w):
                model = Far(3)
                model.load_state_dict(w)
                with torch.no_grad():
                    for x, y in loader:
                        model.freeze_statistics(); model(x)
            """,
            id="may switch",
        ),
        pytest.param(
            """
            class Net(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.f = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))
                    self.token = nn.Parameter(torch.zeros(3))
                def forward(self, x):
                    return self.f(x)
            def main(w):
                model = Net()
                with torch.no_grad():
                    model.token.copy_(w)
                    model.f[0].weight.normal_()
            """,
            id="parameter of a class in reach",
        ),
        pytest.param(
            """
            def main(loader, how):
                net = torchvision.models.resnet18(weights="DEFAULT")
                getattr(net, how)()
                with torch.no_grad():
                    for x, y in loader:
                        net(x).argmax(1)
            """,
            id="computed name",
        ),
        pytest.param(
            """
            def main(loader, flag):
                net = torchvision.models.resnet18(weights="DEFAULT")
                getattr(net, "train" if flag else "eval")()
                with torch.no_grad():
                    for x, y in loader:
                        net(x).argmax(1)
            """,
            id="computed name, one of two",
        ),
    ],
)
def test_methods(source, reported):
    marked, found = reported(source)
    assert found == marked


@pytest.mark.parametrize(
    "source",
    [
        pytest.param(
            """
            import torchaudio, torchmetrics, kornia
            def main(loader):
                f = torchaudio.transforms.MelSpectrogram()
                f = f.to("cuda")
                with torch.no_grad():
                    for x, y in loader:
                        f(x)
            """,
            id="torchaudio.transforms.MelSpectrogram",
        ),
        pytest.param(
            """
            import torchaudio, torchmetrics, kornia
            def main(loader):
                f = torchvision.transforms.v2.Resize()
                f = f.to("cuda")
                with torch.no_grad():
                    for x, y in loader:
                        f(x)
            """,
            id="torchvision.transforms.v2.Resize",
        ),
        pytest.param(
            """
            import torchaudio, torchmetrics, kornia
            def main(loader):
                f = torchmetrics.Accuracy()
                f = f.to("cuda")
                with torch.no_grad():
                    for x, y in loader:
                        f(x)
            """,
            id="torchmetrics.Accuracy",
        ),
        pytest.param(
            """
            import torchaudio, torchmetrics, kornia
            def main(loader):
                f = kornia.augmentation.RandomHorizontalFlip()
                f = f.to("cuda")
                with torch.no_grad():
                    for x, y in loader:
                        f(x)
            """,
            id="kornia.augmentation.RandomHorizontalFlip",
        ),
    ],
)
def test_no_networks(source, reported):
    marked, found = reported(source)
    assert found == marked


@pytest.mark.parametrize(
    "source",
    [
        pytest.param(
            """
            class Net(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.encoder = nn.ModuleList([nn.Sequential(nn.Conv1d(3, 3, 3), nn.BatchNorm1d(3)) for _ in range(3)])
                    self.head = nn.Sequential(nn.Linear(3, 3), nn.Dropout())
                def forward(self, x):
                    for layer in self.encoder:
                        x = layer(x)
                    return self.head(x)
            def main(loader):
                net = Net()
                net.load_state_dict(torch.load("a.pt"))
                encoder = net.encoder
                with torch.no_grad():
                    for x, y in loader:
                        x = encoder[0](x)  # NA401?
                        x = encoder[1](x)
                        x = net.encoder[2](x)
                        x = net.head(x)
            """,
            id="one by one",
        ),
    ],
)
def test_parts(source, reported):
    marked, found = reported(source)
    assert found == marked
