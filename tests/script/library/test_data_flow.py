"""What scripts do with outputs, losses, optimizers, loaders and weights, as the library records it."""

from __future__ import annotations

import textwrap

import pytest

from normadvisor.script.library.dispatch import TorchLibrary
from normadvisor.script.machine.machine import Machine
from normadvisor.script.project.modules import Project

HEAD = """
import argparse, itertools, torch, torchvision
import torch.nn as nn
import torch.nn.functional as F
from torch.nn.parallel import DistributedDataParallel as DDP
from torch.utils.data import ConcatDataset, DataLoader, Subset, TensorDataset, random_split
from torchvision import datasets
model = nn.Sequential(nn.Linear(16, 32), nn.BatchNorm1d(32), nn.Dropout(0.1), nn.Linear(32, 10))
x, y = torch.randn(8, 16), torch.zeros(8)
"""


@pytest.fixture
def recorded(tmp_path):
    def analyze(source, kind, *names, head=HEAD):
        """Chosen attributes of the events of one kind, each once, in order."""
        path = tmp_path / "script.py"
        path.write_text(head + textwrap.dedent(source))
        project = Project([tmp_path])
        machine = Machine(project, TorchLibrary())
        assert machine.analyze(project.load(path)) == []
        events = [event.attributes for event in machine.events if event.kind == kind]
        found = [tuple(tuple(value) if isinstance(value := known.get(name), list) else value for name in names) for known in events]
        return list(dict.fromkeys(item if len(names) > 1 else item[0] for item in found))

    return analyze


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        ("nn.CrossEntropyLoss()(F.softmax(model(x), dim=1), y)", ("cross_entropy", "softmax")),
        ("nn.CrossEntropyLoss(weight=w)(torch.softmax(model(x), 1), y)", ("cross_entropy", "softmax")),
        ("F.cross_entropy(input=model(x).softmax(-1).view(-1, 10), target=y)", ("cross_entropy", "softmax")),
        ("F.cross_entropy(nn.Softmax(dim=1)(model(x))[0], y)", ("cross_entropy", "softmax")),
        ("F.cross_entropy(torch.cat([model(x).softmax(1), model(x).softmax(1)]), y)", ("cross_entropy", "softmax")),
        ("F.cross_entropy(torch.cat([model(x).softmax(1), model(x)]), y)", ("cross_entropy", None)),
        ("F.cross_entropy(model(x).softmax(1) * 2, y)", ("cross_entropy", None)),
        ("F.cross_entropy(model(x).softmax(1).mean(0), y)", ("cross_entropy", None)),
        ("F.nll_loss(torch.log(F.softmax(model(x), 1)), y)", ("nll", "log_softmax")),
        ("F.nll_loss(F.log_softmax(model(x), 1), y)", ("nll", "log_softmax")),
        ("F.binary_cross_entropy_with_logits(model(x).sigmoid().squeeze(1).float(), y)", ("bce_with_logits", "sigmoid")),
        ("nn.BCEWithLogitsLoss(pos_weight=w)(torch.sigmoid(model(x)), y)", ("bce_with_logits", "sigmoid")),
        ("nn.BCELoss()(torch.special.expit(model(x)), y)", ("bce", "sigmoid")),
        ("F.mse_loss(torch.tanh(model(x)), y)", ("mse", "tanh")),
    ],
)
def test_activations_that_reach_a_loss(recorded, call, expected):
    assert [expected] == recorded(f"w = torch.ones(10)\nloss = {call}", "loss_call", "loss", "activation")


def test_loss_objects_in_attributes_dictionaries_and_classes(recorded):
    source = """
    class Smooth(nn.CrossEntropyLoss):
        def forward(self, output, target):
            return super().forward(output, target)

    class FocalLoss(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = nn.BCEWithLogitsLoss(reduction="none")

        def forward(self, output, target):
            return self.inner(output, target).mean()

    class Trainer:
        def __init__(self):
            self.losses = {"a": nn.NLLLoss()}
            self.criterion = Smooth() if x.any() else FocalLoss()

        def run(self):
            output = F.softmax(model(x), dim=1)
            return self.criterion(output, y) + self.losses["a"](output, y)

    Trainer().run()
    """
    expected = [("cross_entropy", "softmax", True), ("bce_with_logits", "softmax", True), ("nll", "softmax", False)]
    assert expected == recorded(source, "loss_call", "loss", "activation", "through_function")


def test_an_activation_at_the_end_of_the_model(recorded):
    source = """
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(16, 10)

        def forward(self, x):
            return F.softmax(self.fc(x), dim=1)

    net = Net()
    F.cross_entropy(net(x), y)
    """
    assert recorded(source, "loss_call", "activation", "through_model", "model", "class_name") == [("softmax", True, "net", "Net")]


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("F.cross_entropy(model(x), y).backward()", True),
        ("scaler.scale(F.cross_entropy(model(x), y) / 4).backward()", True),
        ("accelerator.backward(F.cross_entropy(model(x), y))", True),
        ("torch.autograd.backward([model(x).mean()])", True),
        ("torch.autograd.grad(model(x).mean(), model.parameters())", True),
        ("sum([model(x).mean(), model(x).sum()]).backward()", True),
        ("F.mse_loss(F.relu(x), model(x).detach()).backward()", None),
        ("torch.autograd.grad(model(x).mean(), x)", None),
        ("print(model(x).mean())", None),
    ],
)
def test_backward_passes_reach_calls(recorded, statement, expected):
    source = f"from accelerate import Accelerator\naccelerator = Accelerator()\nscaler = torch.amp.GradScaler()\n{statement}"
    assert [expected] == recorded(source, "model_call", "_backward")


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("hits = model(x).argmax(1)", True),
        ("_, hits = torch.max(model(x), 1)", True),
        ("hits = (model(x).detach() > 0) == y", True),
        ("values = torch.topk(model(x), 5)", True),
        ("value = F.cross_entropy(model(x), y).item()", None),
    ],
)
def test_uses_that_are_predictions(recorded, statement, expected):
    assert [expected] == recorded(statement, "model_call", "_predicted")


OPTIMIZERS = {
    "torch.optim.SGD(model.parameters(), lr=0.1)": ("SGD", 0.0, False, "yes", "model"),
    "torch.optim.AdamW(model.parameters())": ("AdamW", 0.01, False, "yes", "model"),
    "torch.optim.Adam(filter(lambda p: p.requires_grad, model.parameters()), weight_decay=1e-4)": ("Adam", 1e-4, False, "yes", "model"),
    "torch.optim.Adam([p for n, p in model.named_parameters() if 'bn' not in n], weight_decay=0.1)": ("Adam", 0.1, False, "unknown", "model"),
    "torch.optim.SGD([{'params': list(model.parameters()), 'weight_decay': 0}, {'params': []}], 0.1, 0.9, 0, 1e-3)": ("SGD", 1e-3, True, "no", "model"),
    "torch.optim.Adam(model.parameters(), weight_decay=args.decay)": ("Adam", 0.5, False, "yes", "model"),
    "torch.optim.LBFGS([x])": ("LBFGS", None, False, "unknown", None),
}


@pytest.mark.parametrize("call", OPTIMIZERS)
def test_optimizers(recorded, call):
    source = f"""
    parser = argparse.ArgumentParser()
    parser.add_argument("--decay", type=float, default=0.5)
    args = parser.parse_args()
    optimizer = {call}
    """
    assert [OPTIMIZERS[call]] == recorded(source, "optimizer", "optimizer", "weight_decay", "grouped", "covers_norm", "model")


STEPS = {
    "its own model": ("optimizer = torch.optim.SGD(model.parameters(), 0.1)", "optimizer.step()", [("model", "yes")]),
    "through a scaler": ("o = torch.optim.SGD(model.parameters(), 0.1)\nscaler = torch.amp.GradScaler()", "scaler.step(o)", [("model", "yes")]),
    "of two models": (
        "other = torchvision.models.resnet18()\nopt = torch.optim.SGD(itertools.chain(model.parameters(), other.parameters()), 0.1)",
        "opt.step()",
        [("model", "yes"), ("torchvision.models.resnet18", "yes")],
    ),
    "of lists put together": (
        "other = torchvision.models.resnet18()\nopt = torch.optim.SGD(list(model.parameters()) + list(other.parameters()), 0.1)",
        "opt.step()",
        [("model", "yes"), ("torchvision.models.resnet18", "yes")],
    ),
    "of an image": ("optimizer = torch.optim.SGD([x], 0.1)", "optimizer.step()", []),
    "of a schedule": ("o = torch.optim.SGD(model.parameters(), 0.1)\ns = torch.optim.lr_scheduler.StepLR(o, 3)", "s.step()", []),
}


@pytest.mark.parametrize("case", STEPS)
def test_steps(recorded, case):
    setup, step, expected = STEPS[case]
    assert expected == recorded(f"{setup}\nF.cross_entropy(model(x), y).backward()\n{step}\n", "optimizer_step", "model", "holds_model")


def test_a_step_of_an_optimizer_that_nobody_knows(recorded):
    source = """
    def fit(net, optimizer, scheduler, loader):
        for x, y in loader:
            F.cross_entropy(net(x), y).backward()
            optimizer.step()
            scheduler.step()
    """
    assert recorded(source, "optimizer_step", "model", "holds_model") == [("net", "unknown")]


def test_closures_run_before_the_step(recorded):
    source = """
    optimizer = torch.optim.LBFGS(model.parameters())
    def closure():
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        return loss
    optimizer.step(closure)
    """
    assert recorded(source, "model_call", "model", "_backward") == [("model", True)]
    assert recorded(source, "optimizer_step", "model", "holds_model") == [("model", "yes")]


ACCUMULATION = {
    "every n-th batch": ("loss(x).backward()\n    if (i + 1) % 4 == 0:\n        optimizer.step()\n        optimizer.zero_grad()", (True, 4)),
    "by a name": ("loss(x).backward()\n    if (i + 1) % steps == 0 or i + 1 == 100:\n        optimizer.step()", (True, 8)),
    "every batch": ("loss(x).backward()\n    optimizer.step()", (False, None)),
    "another network every n-th batch": ("if i % 5 == 0:\n        loss(x).backward()\n        optimizer.step()", (False, None)),
    "cleared every batch": ("optimizer.zero_grad()\n    loss(x).backward()\n    if i % 2 == 0:\n        optimizer.step()", (False, None)),
}


@pytest.mark.parametrize("case", ACCUMULATION)
def test_accumulation(recorded, case):
    body, expected = ACCUMULATION[case]
    source = f"""
steps = 8
optimizer = torch.optim.SGD(model.parameters(), 0.1)
def loss(x):
    return F.cross_entropy(model(x), y)
for i in range(100):
    {body}
"""
    assert [expected] == recorded(source, "optimizer_step", "accumulation", "accumulation_steps")


LOADERS = {
    "DataLoader(datasets.MNIST('.'), batch_size=64, shuffle=True)": (64, 32),
    "DataLoader(datasets.CIFAR10('.', train=False), 64, drop_last=True)": (64, None),
    "DataLoader(datasets.SVHN('.', split='test'), 64)": (64, 26_032 % 64),
    "DataLoader(TensorDataset(torch.randn(1025, 16), torch.zeros(1025)), batch_size=64)": (64, 1),
    "DataLoader(TensorDataset(torch.rand(1025, 16) * 4 - 2), batch_size=64)": (64, 1),
    "DataLoader(TensorDataset(torch.cat([torch.rand(1025, 16), x])), batch_size=64)": (64, None),
    "DataLoader(Subset(datasets.MNIST('.'), range(65)), batch_size=64)": (64, 1),
    "DataLoader(random_split(datasets.MNIST('.'), [50_001, 9_999])[0], batch_size=BATCH)": (50, 1),
    "DataLoader(ConcatDataset([datasets.MNIST('.'), datasets.MNIST('.', train=False)]), batch_size=64)": (64, 70_000 % 64),
    "DataLoader(datasets.ImageFolder('.'), batch_size=1)": (1, None),
    "DataLoader(datasets.MNIST('.'))": (1, None),
    "DataLoader(datasets.MNIST('.'), batch_size=args.batch_size)": (None, None),
    "DataLoader(datasets.MNIST('.'), 64, sampler=s)": (64, None),
    "DataLoader(datasets.MNIST('.'), **options)": (None, None),
}


@pytest.mark.parametrize("loader", LOADERS)
def test_loaders(recorded, loader):
    source = f"""
    BATCH = 50
    parser = argparse.ArgumentParser()
    parser.add_argument("--batch-size", type=int, default=1)
    args = parser.parse_args()
    options = vars(args)
    s = make_sampler()
    loader = {loader}
    for images, labels in loader:
        model(images.cuda())
    """
    assert [LOADERS[loader]] == recorded(source, "model_call", "batch_size", "last_batch")


INITIALIZATIONS = {
    "for m in model.modules():\n    if isinstance(m, (nn.Linear, nn.Conv2d)):\n        nn.init.zeros_(m.weight)": (
        0.0, "weight", ("Linear", "Conv2d"), "every_layer", None,
    ),
    "def init(m):\n    if type(m) == nn.Linear:\n        m.weight.data.fill_(0.01)\nmodel.apply(init)": (0.01, "weight", ("Linear",), "every_layer", None),
    "def init(m):\n    name = m.__class__.__name__\n    if name.find('BatchNorm') != -1:\n        nn.init.constant_(m.weight, 0)\nmodel.apply(init)": (
        0.0, "weight", ("BatchNorm",), "every_layer", "norm",
    ),
    "for p in model.parameters():\n    p.data.zero_()": (0.0, "parameters", (), "every_layer", None),
    "for n, p in model.named_parameters():\n    if 'bias' in n:\n        nn.init.zeros_(p)": (0.0, "bias", (), "every_layer", None),
    "for m in model.layers:\n    if isinstance(m, nn.Linear):\n        nn.init.zeros_(m.weight)": (0.0, "weight", ("Linear",), "every_layer", None),
    "nn.init.zeros_(model.head.weight)": (0.0, "weight", (), "one_layer", "head"),
    "nn.init.zeros_(block.norm2.weight)": (0.0, "weight", (), "one_layer", "norm"),
    "nn.init.zeros_(layer.lora_B.weight)": (0.0, "weight", (), "one_layer", "adapter"),
    "def zero_module(module):\n    for p in module.parameters():\n        p.detach().zero_()\nzero_module(model)": (
        0.0, "parameters", (), "every_layer", "residual_branch",
    ),
    "def init(m):\n    m.weight.data.fill_(0)\n    m.weight.data.normal_(0, 0.1)\nmodel.apply(init)": (0.0, "weight", (), "every_layer", "overwritten"),
}  # fmt: skip


@pytest.mark.parametrize("source", INITIALIZATIONS)
def test_initialization(recorded, source):
    found = recorded(f"block = layer = make()\n{source}", "initialization", "value", "target", "layers", "scope", "deliberate")
    assert INITIALIZATIONS[source] == found[0]


def test_gradients_that_are_cleared_are_no_initialization(recorded):
    assert recorded("for p in model.parameters():\n    p.grad.zero_()\n    p.grad.data.zero_()\n", "initialization", "value") == []


DROPOUTS = {
    "F.dropout(x)": ("missing", 0.5, False, False),
    "F.dropout(x, 0.2, self.training)": ("mode", 0.2, False, False),
    "F.dropout(x, p=0.2, training=self.training)": ("mode", 0.2, False, False),
    "F.dropout(x, p=0.0)": ("missing", 0.0, False, False),
    "F.dropout(x, training=True)": ("true", 0.5, False, False),
    "F.dropout(x, self.p) if self.training else x": ("missing", None, True, False),
    "nn.Dropout(0.3)(x)": ("missing", 0.3, False, True),
}


@pytest.mark.parametrize("call", DROPOUTS)
def test_dropout(recorded, call):
    source = f"""
    class Net(nn.Module):
        def forward(self, x):
            return {call}
    """
    assert [(*DROPOUTS[call], True)] == recorded(source, "dropout_call", "training", "p", "guarded", "constructed", "in_module")


def test_dropout_after_an_early_return(recorded):
    source = """
    def drop(x, p, training):
        if p == 0 or not training:
            return x
        return F.dropout(x, p)
    """
    assert recorded(source, "dropout_call", "training", "guarded", "in_module") == [("missing", True, False)]


WRAPS = {
    "net = DDP(model, device_ids=[0])": (False, False, "cuda"),
    "net = DDP(nn.SyncBatchNorm.convert_sync_batchnorm(model), device_ids=[0])": (True, False, "cuda"),
    "net = DDP(model)\nnet = nn.SyncBatchNorm.convert_sync_batchnorm(net)": (False, True, "unknown"),
    "torch.distributed.init_process_group('gloo')\nnet = DDP(model)": (False, False, "cpu"),
    "torch.distributed.init_process_group(backend='nccl')\nnet = DDP(model)": (False, False, "cuda"),
}


@pytest.mark.parametrize("source", WRAPS)
def test_wraps(recorded, source):
    assert [WRAPS[source]] == recorded(source, "distributed_wrap", "synchronized", "converted_after", "device")


def test_batch_size_of_a_wrap(recorded):
    source = """
    from torch.utils.data.distributed import DistributedSampler
    def main(data):
        net = DDP(model)
        loader = DataLoader(data, batch_size=4, sampler=DistributedSampler(data))
    main(datasets.MNIST("."))
    """
    assert recorded(source, "distributed_wrap", "wrapper", "batch_size") == [("DistributedDataParallel", 4)]


def test_gradient_penalties(recorded):
    source = """
    def penalty(critic, mixed):
        score = critic(mixed)
        gradient = torch.autograd.grad(score, mixed, torch.ones_like(score), create_graph=True)[0]
        return ((gradient.view(8, -1).norm(2, dim=1) - 1) ** 2).mean()
    penalty(model, x.requires_grad_(True)).backward()
    """
    assert recorded(source, "gradient_penalty", "model", "batchnorm", "per_sample") == [("critic", "yes", "yes")]
    assert recorded(source, "model_call", "_backward") == [True]
