"""What calls of models are for, and why train mode is meant where nothing is learnt: whole scripts in, one line per call out."""

from __future__ import annotations

import textwrap

import pytest

from normadvisor.script import analyze
from normadvisor.script.project.modules import Project

HEAD = """\
import copy, time
import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

class Net(nn.Module):
    def __init__(self, n=3):
        super().__init__()
        self.conv = nn.Conv2d(3, n, 3)
        self.bn = nn.BatchNorm2d(n)
        self.head = nn.Sequential(nn.Linear(n, 3), nn.Dropout())
    def forward(self, x):
        return self.head(self.bn(self.conv(x)).mean((2, 3)))

class MLP(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Dropout(), nn.Linear(8, 3))
    def forward(self, x):
        return self.layers(x)
"""


@pytest.fixture
def judged(tmp_path):
    def analysed(source, name="main.py"):
        """``line mode purpose deliberate`` of calls and ``line mode export deliberate`` of exports, lines counted from the first of the source."""
        path = tmp_path / name
        path.write_text(HEAD + textwrap.dedent(source).lstrip("\n"))
        model = analyze(path, Project([tmp_path]))
        assert not model.problems
        assert not model.notes
        head = HEAD.count("\n")
        found = {}
        for event in model.events:
            if event.kind in {"model_call", "export"}:
                known = event.attributes
                what = known["purpose"] if event.kind == "model_call" else "export"
                words = f"{event.location.line - head} {known['mode']} {what} {known['deliberate'] or '-'}"
                found[words] = None
        return sorted(found, key=lambda words: (int(words.partition(" ")[0]), words))

    return analysed


TRAINING = """
model = Net()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for x, y in torch.utils.data.DataLoader(data, 16):
    loss = F.cross_entropy(model(x), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""


def case(name, source, *expected):
    return pytest.param(source, list(expected), id=name)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        case("training", TRAINING, "4 train training -"),
        case("under no_grad", "model = Net()\nwith torch.no_grad():\n    model(images)\n", "3 train inference -"),
        case(
            "a class out of reach that prepares data",
            "from kit import Sharpen\nsharpen = Sharpen().cuda()\nwith torch.no_grad():\n    data = sharpen(images)\n",
            "4 unknown unknown -",
        ),
        case(
            "a class out of reach that predicts",
            "from kit import Net2\nnet = Net2().cuda()\nwith torch.no_grad():\n    print(net(images).argmax(1))\n",
            "4 unknown inference -",
        ),
        case("gradients on, nothing shows what for", "model = Net()\nmodel(images)\nmodel.train()\n", "2 train unknown -"),
        case(
            "loaded weights",
            "model = Net()\nmodel.load_state_dict(torch.load('a.pt'))\nprint(model(images))\n",
            "3 train inference -",
        ),
        case(
            "gradients of an input with loaded weights",
            "model = Net()\nmodel.load_state_dict(torch.load('a.pt'))\nx.requires_grad_()\nmodel(x)[0, 3].backward()\n",
            "4 train inference -",
        ),
        case(
            "a function named for it",
            """
            def evaluate(model, loader):
                for x, y in loader:
                    print((model(x).argmax(1) == y).sum())
            evaluate(Net().train(), loader)
            """,
            "3 train inference -",
        ),
        case(
            "a prediction after the training",
            TRAINING + "print(model(x).argmax(1))\n",
            "4 train training -", "8 train inference -",
        ),
        case(
            "a teacher",
            """
            teacher, student = Net(), Net()
            teacher.load_state_dict(torch.load('a.pt'))
            optimizer = torch.optim.SGD(student.parameters(), lr=0.1)
            for x in loader:
                with torch.no_grad():
                    wanted = teacher(x)
                F.mse_loss(student(x), wanted).backward()
                optimizer.step()
            """,
            "6 train unknown -", "7 train training -",
        ),
        case(
            "a momentum encoder",
            """
            model = Net()
            average = copy.deepcopy(model)
            optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
            for x in loader:
                with torch.no_grad():
                    for p, q in zip(model.parameters(), average.parameters()):
                        q.data.mul_(0.9).add_(p.data, alpha=0.1)
                    key = average(x)
                F.mse_loss(model(x), key).backward()
                optimizer.step()
            """,
            "8 train unknown momentum_encoder", "9 train training -",
        ),
    ],
)  # fmt: skip
def test_purposes(judged, source, expected):
    assert judged(source) == expected


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        case("a trial run", "model = Net()\nwith torch.no_grad():\n    model(torch.randn(2, 3, 8, 8))\n", "3 train inference smoke_test"),
        case(
            "a timing",
            """
            model = Net()
            with torch.no_grad():
                begin = time.perf_counter()
                model(torch.randn(2, 3, 8, 8))
                print(time.perf_counter() - begin)
            """,
            "4 train inference benchmark",
        ),
        case(
            "samples of a generator between epochs",
            TRAINING + "    with torch.no_grad():\n        fake = model(torch.randn(64, 3, 8, 8))\n",
            "4 train training -", "9 train unknown sampling",
        ),
        case(
            "a generator that is used, not trained",
            """
            model = Net()
            model.load_state_dict(torch.load('g.pt'))
            with torch.no_grad():
                image = model(torch.randn(1, 3, 8, 8))
            """,
            "4 train inference -",
        ),
        case(
            "the same, noise of numpy",
            """
            model = Net()
            model.load_state_dict(torch.load('g.pt'))
            z = torch.from_numpy(np.random.normal(0, 1, (1, 3, 8, 8))).float()
            with torch.no_grad():
                image = model(z).numpy()
            """,
            "5 train inference -",
        ),
        case(
            "with gradients, and the sample is kept",
            """
            from torchvision.utils import save_image
            model = Net()
            model.load_state_dict(torch.load('g.pt'))
            image = model(torch.randn(1, 3, 8, 8))
            save_image(image, "a.png")
            """,
            "4 train inference -",
        ),
        case(
            "with gradients, and nobody looks",
            "model = Net()\nmodel.load_state_dict(torch.load('g.pt'))\nmodel(torch.randn(1, 3, 8, 8))\n",
            "3 train unknown -",
        ),
        case(
            "Monte Carlo dropout of a model trained on made-up data",
            """
            model = MLP()
            optimizer = torch.optim.Adam(model.parameters())
            x = torch.randn(64, 8)
            model(x).mean().backward()
            optimizer.step()
            def spread(passes):
                model.train()
                with torch.no_grad():
                    return torch.stack([model(x) for _ in range(passes)]).std(0)
            spread(20)
            """,
            "4 train training -", "9 train inference monte_carlo_dropout",
        ),
        case(
            "Monte Carlo dropout in a loop",
            """
            def uncertainty(x, passes=20):
                model = MLP()
                model.load_state_dict(torch.load('a.pt'))
                model.train()
                with torch.no_grad():
                    return torch.stack([model(x) for _ in range(passes)]).var(0)
            uncertainty(x)
            """,
            "6 train inference monte_carlo_dropout",
        ),
        case(
            "over a whole data set",
            """
            def uncertainty(loader):
                model = MLP()
                model.train()
                with torch.no_grad():
                    for _ in range(20):
                        found.append(torch.cat([model(x) for x, _ in loader]))
            uncertainty(loader)
            """,
            "6 train inference monte_carlo_dropout",
        ),
        case(
            "epochs that are counted by a number",
            """
            model = MLP()
            optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
            for i in range(10):
                model.train()
                for x, y in loader:
                    F.cross_entropy(model(x), y).backward()
                    optimizer.step()
                with torch.no_grad():
                    for x, y in val_loader:
                        correct += (model(x).argmax(1) == y).sum().item()
            """,
            "6 train training -", "10 train inference -",
        ),
        case(
            "the same in functions",
            """
            def accuracy(model):
                with torch.no_grad():
                    return sum((model(x).argmax(1) == y).sum().item() for x, y in val_loader)
            def fit(model, optimizer):
                for x, y in loader:
                    F.cross_entropy(model(x), y).backward()
                    optimizer.step()
            def main():
                model = MLP()
                optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
                for i in range(10):
                    model.train()
                    fit(model, optimizer)
                    print(accuracy(model))
            main()
            """,
            "3 train inference -", "6 train training -",
        ),
        case(
            "repeated passes of a model without dropout",
            """
            def spread(x):
                model = nn.Sequential(nn.Conv2d(3, 3, 3), nn.BatchNorm2d(3))
                model.train()
                with torch.no_grad():
                    return [model(x) for _ in range(5)]
            spread(images)
            """,
            "5 train inference -",
        ),
        case(
            "gradients of a loss in train mode, by choice",
            """
            def fisher(loader):
                net = Net()
                net.load_state_dict(torch.load('a.pt'))
                net.train()
                for x, y in loader:
                    found.append(torch.autograd.grad(F.cross_entropy(net(x), y), net.parameters()))
            fisher(loader)
            """,
            "6 train training -",
        ),
        case(
            "a loop over batches is none",
            """
            def predict(loader):
                model = MLP()
                model.train()
                with torch.no_grad():
                    return torch.cat([model(x) for x in loader])
            predict(loader)
            """,
            "5 train inference -",
        ),
        case(
            "dropout alone in train mode",
            """
            model = Net()
            model.eval()
            for m in model.modules():
                if isinstance(m, nn.Dropout):
                    m.train()
            with torch.no_grad():
                model(x)
            """,
            "7 mixed inference monte_carlo_dropout",
        ),
        case(
            "a helper switches, passes are counted, the mode is put back",
            """
            def switch(model):
                if not model.training:
                    model.train()
                    return True
                return False

            @torch.no_grad()
            def run(model, x, samples):
                switched = switch(model)
                found = []
                for i in range(samples):
                    found.append(model(x).softmax(1))
                if switched:
                    model.eval()
                return torch.stack(found).mean(0)
            """,
            "12 train inference monte_carlo_dropout", "12 unknown unknown -",
        ),
        case(
            "statistics gathered anew",
            """
            model = Net()
            model.load_state_dict(torch.load('a.pt'))
            model.train()
            with torch.no_grad():
                for x in loader:
                    model(x)
            """,
            "6 train inference statistics_recalibration",
        ),
        case(
            "reset statistics",
            """
            model = Net()
            for m in model.modules():
                if isinstance(m, nn.BatchNorm2d):
                    m.reset_running_stats()
            with torch.no_grad():
                out = model(x)
            """,
            "6 train inference statistics_recalibration",
        ),
        case(
            "a parameter chooses",
            """
            def run(model, x, training):
                if training:
                    model.train()
                else:
                    model.eval()
                with torch.no_grad():
                    return model(x)
            """,
            "7 eval inference -", "7 train inference option",
        ),
        case(
            "an option says no to eval mode",
            """
            model = wrap(Net())
            if opt.eval:
                model.eval()
            def run(x):
                with torch.no_grad():
                    return Net()(x)
            run(images)
            """,
            "6 train inference option",
        ),
        case(
            "an option that evaluates",
            """
            model = Net()
            if opt.eval:
                model.eval()
                evaluate(model)
                exit()
            with torch.no_grad():
                Net()(images).argmax()
            """,
            "7 train inference -",
        ),
        case(
            "pictures of a generator while it is trained",
            """
            from torchvision.utils import save_image
            generator = Net()
            optimizer = torch.optim.Adam(generator.parameters())
            def sample(z):
                save_image(generator(z).data, "a.png")
            for z in loader:
                generator(z).mean().backward()
                optimizer.step()
                sample(z)
            """,
            "5 train inference sampling", "7 train training -",
        ),
        case(
            "pictures of anything else, and after the training",
            """
            from torchvision.utils import save_image
            model, generator = Net(), Net()
            optimizer = torch.optim.Adam([*model.parameters(), *generator.parameters()])
            for z in loader:
                model(z).mean().backward()
                generator(z).mean().backward()
                optimizer.step()
                with torch.no_grad():
                    save_image(model(z), "a.png")
            with torch.no_grad():
                save_image(generator(z), "a.png")
            """,
            "5 train training -", "6 train training -", "9 train inference -", "11 train inference -",
        ),
        case(
            "the other way round",
            """
            def run(model, x, args):
                if args.deterministic:
                    model.train(False)
                else:
                    model.train()
                with torch.no_grad():
                    return model(x)
            """,
            "7 eval inference -", "7 train inference option",
        ),
        case(
            "a caller in sight chose train mode",
            """
            def run(model, x, training):
                if training:
                    model.train()
                else:
                    model.eval()
                with torch.no_grad():
                    return model(x)
            run(Net(), images, True)
            """,
            "7 train inference -",
        ),
        case(
            "a condition that is no option",
            """
            def run(model, loader):
                for number, x in enumerate(loader):
                    if number % 2:
                        model.train()
                    else:
                        model.eval()
                    with torch.no_grad():
                        model(x).argmax()
            """,
            "8 eval inference -", "8 train inference -",
        ),
        case(
            "the mode as an argument",
            "def run(model, x, mode):\n    model.train(mode)\n    with torch.no_grad():\n        return model(x)\n",
            "4 unknown inference -",
        ),
        case(
            "into train mode and back",
            """
            def features(model, x):
                model.train()
                with torch.no_grad():
                    found = model(x)
                model.eval()
                return found
            """,
            "4 train inference explicit",
        ),
        case(
            "back into the mode it was in",
            """
            def features(model, x):
                before = model.training
                model.train()
                try:
                    with torch.no_grad():
                        return model(x)
                finally:
                    model.train(before)
            """,
            "6 train inference explicit",
        ),
        case(
            "no way back",
            "def features(model, x):\n    model.train()\n    with torch.no_grad():\n        return model(x)\n",
            "4 train inference -",
        ),
        case(
            "a training that validates before eval()",
            """
            def main(model, optimizer, loader, x):
                model.train()
                for images, labels in loader:
                    F.cross_entropy(model(images), labels).backward()
                    optimizer.step()
                with torch.no_grad():
                    print(model(x).argmax(1))
                model.eval()
            """,
            "4 train training -", "7 train inference -",
        ),
    ],
)  # fmt: skip
def test_reasons(judged, source, expected):
    assert judged(source) == expected


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        case(
            "features kept before the pass with gradients",
            """
            def train_one_epoch(model, loader, loss, optimizer, parts):
                model.train()
                kept = []
                for i, x in enumerate(loader):
                    with torch.no_grad():
                        kept.append(model(x))
                    if (i + 1) % parts:
                        continue
                    for j in range(parts):
                        out = model(x)
                        loss(out, kept).backward()
                    optimizer.step()
            """,
            "6 train unknown -", "10 train training -",
        ),
        case(
            "validation in the same loop, by loss",
            """
            model = Net()
            optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
            for epoch in range(100):
                F.cross_entropy(model(x), y).backward()
                optimizer.step()
                with torch.no_grad():
                    losses.append(F.cross_entropy(model(x_val), y_val))
            """,
            "4 train training -", "7 train inference -",
        ),
        case(
            "validation in the same loop, by accuracy",
            """
            model = Net()
            optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
            for epoch in range(100):
                F.cross_entropy(model(x), y).backward()
                optimizer.step()
                with torch.no_grad():
                    print((model(x_val).argmax(1) == y_val).float().mean())
            """,
            "4 train training -", "7 train inference -",
        ),
        case(
            "validation in a loop of its own",
            """
            model = Net()
            optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
            for epoch in range(100):
                for x, y in loader:
                    F.cross_entropy(model(x), y).backward()
                    optimizer.step()
                for x, y in other:
                    with torch.no_grad():
                        found.append(model(x))
            """,
            "5 train training -", "9 train inference -",
        ),
    ],
)  # fmt: skip
def test_training_steps(judged, source, expected):
    assert judged(source) == expected


SHAPES = """
def test_shapes():
    model = Net()
    with torch.no_grad():
        out = model(images)
    assert out.shape == (2, 3)
"""
METRIC = """
def test(model, loader):
    with torch.no_grad():
        return sum((model(x).argmax(1) == y).sum().item() for x, y in loader)
test(Net(), torch.utils.data.DataLoader(data, 16))
"""


@pytest.mark.parametrize(
    ("name", "source", "expected"),
    [
        pytest.param("test_net.py", SHAPES, ["4 train inference smoke_test"], id="a file of tests"),
        pytest.param("net_test.py", "import pytest\n" + SHAPES[1:], ["5 train inference smoke_test"], id="a framework"),
        pytest.param("main.py", SHAPES, ["4 train inference smoke_test"], id="a function of tests that asserts"),
        pytest.param("main.py", SHAPES.replace("test_shapes", "shapes"), ["4 train inference -"], id="no test"),
        pytest.param("test_net.py", SHAPES.replace("assert out.shape == (2, 3)", "print(out)"), ["4 train inference -"], id="a file that asserts nothing"),
        pytest.param(
            "checks.py",
            "import unittest\nclass Checks(unittest.TestCase):\n    def check(self):\n        with torch.no_grad():\n            Net()(images)\n",
            ["5 train inference smoke_test"],
            id="a test case",
        ),
        pytest.param(
            "checks.py",
            "import unittest\nclass Checks(unittest.TestCase):\n    def check(self):\n        for x in torch.utils.data.DataLoader(data):\n"
            "            with torch.no_grad():\n                assert Net()(x).mean() == 0\n",
            ["6 train inference smoke_test"],
            id="a test case on a data set",
        ),
        pytest.param("train.py", METRIC, ["3 train inference -"], id="an evaluation named test"),
        pytest.param("test_net.py", METRIC, ["3 train inference -"], id="an evaluation in a script named test"),
        pytest.param("test_net.py", "import pytest\n" + METRIC[1:], ["4 train inference -"], id="an evaluation on a data set"),
        pytest.param(
            "main.py", METRIC.replace("def test(", "def test_epoch(").replace("test(Net", "test_epoch(Net"), ["3 train inference -"], id="test_epoch"
        ),
    ],
)  # fmt: skip
def test_unit_tests(judged, name, source, expected):
    assert judged(source, name) == expected


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        case("an export", "torch.jit.trace(Net(), x).save('a.ts')\n", "1 train export -"),
        case("the picture of a graph", "writer.add_graph(torch.jit.trace(Net(), x, strict=False), [])\n", "1 train export display"),
        case("a picture by name", "traced = torch.jit.trace(Net(), x)\nwriter.add_graph(traced)\n", "1 train export display"),
        case("a picture of what is kept", "traced = torch.jit.trace(Net(), x)\nwriter.add_graph(traced)\ntraced.save('a.ts')\n", "1 train export -"),
        case(
            "a parameter chooses",
            """
            def export(model, x, training=False):
                if training:
                    model.train()
                else:
                    model.eval()
                torch.onnx.export(model, x, 'a.onnx')
            """,
            "6 eval export -", "6 train export option",
        ),
        case("a unit test", "def test_export():\n    assert torch.jit.trace(Net(), x)\n", "2 train export smoke_test"),
    ],
)  # fmt: skip
def test_exports(judged, source, expected):
    assert judged(source) == expected
