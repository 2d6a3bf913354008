"""In which mode a model is where it is called, by the spellings that switch, copy, wrap, hand over and restore."""

from __future__ import annotations

import textwrap

import pytest

from normadvisor.script.library.dispatch import TorchLibrary
from normadvisor.script.machine.machine import Machine
from normadvisor.script.project.modules import Project

HEAD = """\
import copy
import torch
from torch import nn
import torchvision

class Net(nn.Module):
    def __init__(self, n=3):
        super().__init__()
        self.conv = nn.Conv2d(3, n, 3)
        self.bn = nn.BatchNorm2d(n)
        self.head = nn.Sequential(nn.Linear(n, 3), nn.Dropout())
    def forward(self, x):
        return self.head(self.bn(self.conv(x)).mean((2, 3)))

x = torch.zeros(2, 3, 8, 8)
"""


@pytest.fixture
def modes(tmp_path):
    def analyze(source):
        """Mode at each line that calls a model, in order; of BatchNorm and of the rest where they differ; all of them on several paths."""
        path = tmp_path / "main.py"
        path.write_text(HEAD + textwrap.dedent(source))
        project = Project([tmp_path])
        machine = Machine(project, TorchLibrary())
        assert machine.analyze(project.load(path)) == []
        found = {}
        for event in machine.events:
            if event.kind == "model_call":
                known = event.attributes
                mode = known["mode"] if known["mode"] != "mixed" else f"{known['batchnorm_mode']}/{known['dropout_mode']}"
                found.setdefault(event.location.line, {})[mode] = None
        return ["|".join(sorted(at_line)) for _, at_line in sorted(found.items())]

    return analyze


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        pytest.param(
            """
            model = Net()
            model(x)
            """,
            ["train"],
            id="fresh",
        ),
        pytest.param(
            """
            model = Net()
            model.train(False)
            model(x)
            """,
            ["eval"],
            id="train false",
        ),
        pytest.param(
            """
            model = Net()
            model.train(mode=False)
            model(x)
            """,
            ["eval"],
            id="train mode kw",
        ),
        pytest.param(
            """
            model = Net().cuda().eval()
            model(x)
            """,
            ["eval"],
            id="chain",
        ),
        pytest.param(
            """
            def f(flag):
                model = Net()
                model.train(flag)
                model(x)
                model.eval()
            """,
            ["unknown"],
            id="unknown arg",
        ),
        pytest.param(
            """
            model = Net()
            model.training = False
            model(x)
            """,
            ["train"],
            id="training attr",
        ),
        pytest.param(
            """
            model = Net()
            for e in range(3):
                model.train()
                model(x)
                model.eval()
                with torch.no_grad():
                    model(x)
            """,
            ["train", "eval"],
            id="train loop for",
        ),
        pytest.param(
            """
            def ev(net):
                net.eval()
                return net(x)
            model = Net()
            ev(net=model)
            model(x)
            """,
            ["eval", "eval"],
            id="with module arg",
        ),
        pytest.param(
            """
            import functools
            model = Net()
            f = functools.partial(model.train, False)
            f()
            model(x)
            """,
            ["eval"],
            id="partial",
        ),
        pytest.param(
            """
            model = nn.Sequential(nn.InstanceNorm2d(3), nn.ReLU())
            model.eval()
            model(x)
            """,
            ["eval"],
            id="instance norm",
        ),
    ],
)
def test_switches(modes, source, expected):
    assert modes(source) == expected


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        pytest.param(
            """
            model = Net()
            other = model
            other.eval()
            model(x)
            """,
            ["eval"],
            id="alias",
        ),
        pytest.param(
            """
            model = Net()
            net = model.to("cuda")
            net.eval()
            model(x)
            """,
            ["eval"],
            id="to",
        ),
        pytest.param(
            """
            model = Net()
            net = nn.DataParallel(model)
            net.eval()
            net.module(x)
            model(x)
            """,
            ["eval", "eval"],
            id="dp",
        ),
        pytest.param(
            """
            model = Net()
            net = torch.compile(model)
            net.eval()
            model(x)
            """,
            ["eval"],
            id="compile",
        ),
        pytest.param(
            """
            from accelerate import Accelerator
            a = Accelerator()
            model, opt = a.prepare(Net(), None)
            model.eval()
            u = a.unwrap_model(model)
            u(x)
            """,
            ["eval"],
            id="accelerate",
        ),
        pytest.param(
            """
            models = [Net() for _ in range(3)]
            for m in models:
                m.eval()
            for m in models:
                m(x)
            """,
            ["eval"],
            id="list",
        ),
        pytest.param(
            """
            models = {"g": Net(), "d": Net()}
            models["g"].eval()
            models["g"](x)
            models["d"](x)
            """,
            ["eval", "train"],
            id="dict",
        ),
        pytest.param(
            """
            models = nn.ModuleDict({"g": Net(), "d": Net()})
            models["g"].eval()
            models["g"](x)
            models["d"](x)
            """,
            ["eval", "train"],
            id="moduledict",
        ),
        pytest.param(
            """
            def f(flag, a):
                m1 = Net()
                m2 = Net()
                m = m1 if flag else m2
                m.eval()
                m1(x)
                m(x)
            """,
            ["unknown", "unknown"],
            id="either",
        ),
        pytest.param(
            """
            model = Net()
            getattr(model, "bn").eval()
            model(x)
            """,
            ["eval/train"],
            id="getattr",
        ),
        pytest.param(
            """
            class GAN:
                def __init__(self):
                    self.g = Net()
                    self.d = Net()
                def eval(self):
                    self.g.eval()
                def run(self):
                    self.eval()
                    self.g(x)
                    self.d(x)
            GAN().run()
            """,
            ["eval", "train"],
            id="gan",
        ),
    ],
)
def test_aliases_and_wrappers(modes, source, expected):
    assert modes(source) == expected


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        pytest.param(
            """
            def f(model):
                was = model.training
                model.eval()
                model(x)
                model.train(was)
                model(x)
            """,
            ["eval", "unknown"],
            id="restore",
        ),
        pytest.param(
            """
            model = Net()
            was = model.training
            model.eval()
            model(x)
            model.train(was)
            model(x)
            """,
            ["eval", "train"],
            id="restore known",
        ),
        pytest.param(
            """
            model = Net()
            was = model.training
            model.eval()
            if was:
                model.train()
            model(x)
            """,
            ["train"],
            id="restore if",
        ),
        pytest.param(
            """
            model = Net()
            states = {m: m.training for m in model.modules()}
            model.eval()
            model(x)
            for m, s in states.items():
                m.train(s)
            model(x)
            """,
            ["eval", "train"],
            id="states dict",
        ),
        pytest.param(
            """
            from contextlib import contextmanager
            @contextmanager
            def ev(m):
                was = m.training
                m.eval()
                try:
                    yield
                finally:
                    m.train(was)
            model = Net()
            with ev(model):
                model(x)
            model(x)
            """,
            ["eval", "train"],
            id="ctx",
        ),
    ],
)
def test_restoring(modes, source, expected):
    assert modes(source) == expected


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        pytest.param(
            """
            model = Net()
            for m in model.children():
                m.eval()
            model(x)
            """,
            ["eval"],
            id="children",
        ),
        pytest.param(
            """
            model = Net()
            for m in model.modules():
                m.eval()
            model(x)
            """,
            ["eval"],
            id="modules",
        ),
        pytest.param(
            """
            model = torchvision.models.resnet18()
            for m in model.children():
                m.eval()
            model(x)
            """,
            ["eval"],
            id="modules extern",
        ),
        pytest.param(
            """
            model = Net()
            [m.eval() for m in model.modules() if isinstance(m, nn.Dropout)]
            model(x)
            """,
            ["train/eval"],
            id="comp",
        ),
        pytest.param(
            """
            model = Net()
            for m in model.modules():
                if isinstance(m, (nn.BatchNorm1d, nn.BatchNorm2d)):
                    m.eval()
            model(x)
            """,
            ["eval/train"],
            id="bn isinstance",
        ),
        pytest.param(
            """
            model = Net()
            for m in model.modules():
                if isinstance(m, nn.modules.batchnorm._BatchNorm):
                    m.training = False
            model(x)
            """,
            ["eval/train"],
            id="bn training attr",
        ),
        pytest.param(
            """
            model = Net()
            for m in model.modules():
                if isinstance(m, nn.BatchNorm2d):
                    m.eval()
            model.train()
            model(x)
            """,
            ["train"],
            id="bn then train",
        ),
        pytest.param(
            """
            model = Net()
            for name, m in model.named_modules():
                if "bn" in name:
                    m.eval()
            model(x)
            """,
            ["eval/train"],
            id="name in",
        ),
        pytest.param(
            """
            model = Net()
            for m in model.modules():
                if "BatchNorm" in m.__class__.__name__:
                    m.eval()
            model(x)
            """,
            ["eval/train"],
            id="cls name",
        ),
        pytest.param(
            """
            model = Net()
            for m in model.modules():
                if type(m).__name__.startswith("Dropout"):
                    m.train(False)
            model(x)
            """,
            ["train/eval"],
            id="type name",
        ),
        pytest.param(
            """
            model = Net().eval()
            def enable(m):
                if type(m) == nn.Dropout:
                    m.train()
            model.apply(enable)
            model(x)
            """,
            ["eval/train"],
            id="mc",
        ),
        pytest.param(
            """
            model = Net()
            model.apply(lambda m: m.eval())
            model(x)
            """,
            ["eval"],
            id="apply lambda",
        ),
        pytest.param(
            """
            model = Net()
            list(map(lambda m: m.eval(), model.modules()))
            model(x)
            """,
            ["eval"],
            id="map",
        ),
    ],
)
def test_layers_one_by_one(modes, source, expected):
    assert modes(source) == expected


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        pytest.param(
            """
            model = Net()
            model.bn.eval()
            model(x)
            """,
            ["eval/train"],
            id="part",
        ),
        pytest.param(
            """
            model = Net()
            model.conv.eval()
            model(x)
            """,
            ["train"],
            id="part conv",
        ),
        pytest.param(
            """
            model = Net()
            model.bn.eval()
            model.head.eval()
            model(x)
            """,
            ["eval"],
            id="parts all",
        ),
        pytest.param(
            """
            model = torchvision.models.resnet18()
            model.fc = nn.Linear(512, 10)
            model.layer4[1].bn1.eval()
            model.eval()
            model.layer4(x)
            model(x)
            """,
            ["eval", "eval"],
            id="sub",
        ),
        pytest.param(
            """
            class W(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.encoder = Net()
                    self.decoder = Net()
                def forward(self, x):
                    return self.decoder(self.encoder(x))
            model = W()
            model.encoder.eval()
            model(x)
            model.decoder.eval()
            model(x)
            """,
            ["mixed/train", "eval"],
            id="nested",
        ),
        pytest.param(
            """
            vgg = torchvision.models.vgg19(pretrained=True).features.eval()
            vgg(x)
            """,
            ["eval"],
            id="vgg",
        ),
        pytest.param(
            """
            b = torchvision.models.resnet18()
            class W(nn.Module):
                def __init__(self, body):
                    super().__init__()
                    self.body = body
                    self.fc = nn.Linear(3, 3)
            model = W(b)
            model.eval()
            b(x)
            model(x)
            """,
            ["eval", "eval"],
            id="handed",
        ),
        pytest.param(
            """
            b = Net()
            model = nn.Sequential(b, nn.Softmax(1))
            model.eval()
            b(x)
            b.train()
            model(x)
            """,
            ["eval", "train"],
            id="seq",
        ),
    ],
)
def test_parts(modes, source, expected):
    assert modes(source) == expected


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        pytest.param(
            """
            class Frozen(Net):
                def train(self, mode=True):
                    super().train(mode)
                    self.bn.eval()
                    return self
            model = Frozen()
            model.train()
            model(x)
            model.eval()
            model(x)
            """,
            ["eval/train", "eval"],
            id="override",
        ),
        pytest.param(
            """
            class Frozen(Net):
                def train(self, mode=True):
                    super().train(mode)
                    for m in self.modules():
                        if isinstance(m, nn.BatchNorm2d):
                            m.eval()
            model = Frozen()
            model.train()
            model(x)
            """,
            ["eval/train"],
            id="override modules",
        ),
        pytest.param(
            """
            class Frozen(Net):
                def train(self, mode=True):
                    super().train(False)
            class Whole(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.backbone = Frozen()
                    self.fc = nn.Linear(3, 3)
            model = Whole()
            model.train()
            model(x)
            """,
            ["eval"],
            id="override part",
        ),
        pytest.param(
            """
            class E(Net):
                def __init__(self):
                    super().__init__()
                    self.eval()
            model = E()
            model(x)
            """,
            ["eval"],
            id="init eval",
        ),
        pytest.param(
            """
            class W(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.t = torchvision.models.resnet18()
                    self.t.eval()
                    self.fc = nn.Linear(3, 3)
            model = W()
            model(x)
            model.train()
            model(x)
            """,
            ["eval", "train"],
            id="init part eval",
        ),
    ],
)
def test_classes(modes, source, expected):
    assert modes(source) == expected


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        pytest.param(
            """
            model = Net()
            c = copy.deepcopy(model)
            c.eval()
            model(x)
            c(x)
            """,
            ["train", "eval"],
            id="deepcopy",
        ),
        pytest.param(
            """
            model = torch.load("m.pt")
            model(x)
            model.eval()
            model(x)
            """,
            ["unknown", "eval"],
            id="load",
        ),
        pytest.param(
            """
            model = torch.jit.load("m.pt")
            model(x)
            """,
            ["unknown"],
            id="jit load",
        ),
        pytest.param(
            """
            from transformers import AutoModelForSequenceClassification as A
            model = A.from_pretrained("b")
            model(x)
            """,
            ["eval"],
            id="hf",
        ),
        pytest.param(
            """
            from other import UNet
            model = UNet(3).to("cuda")
            model(x)
            """,
            ["unknown"],
            id="ext class",
        ),
        pytest.param(
            """
            from other import get_model
            model = get_model(3).to("cuda")
            model(x)
            """,
            ["unknown"],
            id="ext func",
        ),
        pytest.param(
            """
            from timm.utils import ModelEmaV2
            model = Net()
            ema = ModelEmaV2(model)
            ema.module(x)
            model(x)
            """,
            ["eval", "train"],
            id="ema",
        ),
        pytest.param(
            """
            from torch.optim.swa_utils import AveragedModel, update_bn
            model = Net()
            swa = AveragedModel(model)
            update_bn([], swa)
            swa(x)
            swa.eval()
            swa(x)
            model(x)
            """,
            ["train", "eval", "train"],
            id="swa",
        ),
        pytest.param(
            """
            model = Net().eval()
            t = torch.jit.trace(model, x)
            t(x)
            """,
            ["eval"],
            id="trace",
        ),
    ],
)
def test_sources(modes, source, expected):
    assert modes(source) == expected


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        pytest.param(
            """
            import pytorch_lightning as pl
            model = Net()
            trainer = pl.Trainer()
            trainer.fit(model)
            model(x)
            """,
            ["unknown"],
            id="lightning",
        ),
        pytest.param(
            """
            from other import go
            model = Net()
            go(model)
            model(x)
            """,
            ["unknown"],
            id="unknown fn",
        ),
        pytest.param(
            """
            import wandb
            model = Net()
            print(model)
            len(list(model.parameters()))
            wandb.watch(model)
            torch.save(model, "a")
            sum(p.numel() for p in model.parameters())
            model(x)
            """,
            ["train"],
            id="print",
        ),
    ],
)
def test_code_out_of_sight(modes, source, expected):
    assert modes(source) == expected
