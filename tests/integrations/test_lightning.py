"""Lightning's own trainer with the callback."""

from __future__ import annotations

import csv
import importlib
import sys
import warnings

import pytest
import torch
from loops import Taken, batches, global_hooks, hooks_of, net, norms
from torch import nn
from torch.nn.functional import cross_entropy

from normadvisor.errors import UsageError

lightning = pytest.importorskip("lightning", reason="lightning is not installed")
# What Lightning warns of is between it and its users.
pytestmark = [pytest.mark.filterwarnings(f"ignore::Warning:{module}") for module in ("lightning.*", "pytorch_lightning.*", "typing_extensions", "torch.*")]


def module_class(package):
    class Module(package.LightningModule):
        """Keeps the norms that it finds before clipping."""

        def __init__(self) -> None:
            super().__init__()
            self.net = net()
            self.seen, self.losses = [], []

        def forward(self, x):
            return self.net(x)

        def training_step(self, batch, index):
            loss = cross_entropy(self(batch[0]), batch[1])
            self.losses.append(float(loss.detach()))
            return loss

        def on_before_optimizer_step(self, optimizer):
            self.seen.append(norms(self))

        def validation_step(self, batch, index):
            self(1e6 * batch[0])

        def configure_optimizers(self):
            return torch.optim.Adam(self.parameters(), lr=0.01)

    return Module


class Alternating(lightning.LightningModule):
    """Two optimizers that take turns, stepped by hand."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.automatic_optimization = False
        self.generator, self.critic = nn.Linear(4, 2), nn.Linear(2, 1)
        self.seen = []

    def training_step(self, batch, index):
        for optimizer, part, sign in zip(self.optimizers(), ("generator", "critic"), (1, -1), strict=True):
            optimizer.zero_grad()
            self.manual_backward(sign * self.critic(self.generator(batch[0])).mean())
            self.seen.append({part: norms(self)[part], "": norms(self)[part]})
            self.clip_gradients(optimizer, 1e-3)
            optimizer.step()

    def configure_optimizers(self):
        return torch.optim.SGD(self.generator.parameters(), lr=0.1), torch.optim.SGD(self.critic.parameters(), lr=0.1)


def trainer(package=lightning, **options):
    return package.Trainer(
        **{"max_epochs": 1, "accelerator": "cpu", "logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False, **options}
    )


def fit(model, data, callback, package=lightning, validation=None, **options):
    run = trainer(package, callbacks=[callback], **options)
    loader = torch.utils.data.DataLoader(data, batch_size=None)
    run.fit(model, loader, None if validation is None else torch.utils.data.DataLoader(validation, batch_size=None))
    return run


def callback(**options):
    from normadvisor.integrations.lightning import NormAdvisorCallback

    return NormAdvisorCallback(**{"rules": False, **options})


@pytest.mark.parametrize("options", [{}, {"gradient_clip_val": 0.01}, {"gradient_clip_val": 1e-4, "gradient_clip_algorithm": "value"}, {"precision": "bf16-mixed", "gradient_clip_val": 0.01}])
def test_norms_are_those_before_clipping(options):
    model, taken = module_class(lightning)(), Taken()
    fit(model, batches(6), callback(every=2, log=taken), **options)
    assert taken.steps == [0, 2, 4]
    assert [taken.norms(index) for index in range(3)] == [pytest.approx(model.seen[step], rel=1e-5) for step in (0, 2, 4)]
    assert [numbers.run["loss"] for numbers in taken] == [pytest.approx(model.losses[step]) for step in (0, 2, 4)]
    assert all(norm[""] > 0.05 for norm in model.seen)
    assert hooks_of(model) == []


def test_training_is_bit_by_bit_what_it_is_without():
    weights = []
    for watched in (False, True):
        model = module_class(lightning)()
        fit(model, batches(6), callback(every=2, log=None) if watched else lightning.Callback(), gradient_clip_val=0.1)
        weights.append(model.state_dict())
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])


def test_accumulated_batches_are_one_step():
    model, taken = module_class(lightning)(), Taken()
    fit(model, batches(9), callback(every=2, log=taken), accumulate_grad_batches=3, gradient_clip_val=0.01)
    assert taken.steps == [0, 2]
    assert [taken.norms(index) for index in range(2)] == [pytest.approx(model.seen[step], rel=1e-5) for step in (0, 2)]
    assert taken[0].run["loss"] == pytest.approx(sum(model.losses[:3]) / 3)


def test_manual_optimization_with_two_optimizers():
    model, taken = Alternating(), Taken()
    fit(model, [(torch.randn(8, 4),) for _ in range(4)], callback(every=3, log=taken))
    assert [taken.norms(index) for index in range(4)] == [pytest.approx(model.seen[step], rel=1e-5) for step in (0, 1, 6, 7)]
    assert taken.steps == [0, 0, 3, 3]


def test_loss_scale_is_taken_off():
    plugins = importlib.import_module("lightning.pytorch.plugins.precision")
    taken, models = {}, {}
    for scaled in (False, True):
        scaler = torch.amp.GradScaler("cpu", init_scale=2.0**12)
        plugin = plugins.MixedPrecision("16-mixed", "cpu", scaler=scaler) if scaled else plugins.MixedPrecision("bf16-mixed", "cpu")
        models[scaled], taken[scaled] = module_class(lightning)(), Taken()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            fit(models[scaled], batches(4), callback(every=1, log=taken[scaled]), plugins=[plugin], gradient_clip_val=0.01)
    assert taken[True].steps == [0, 1, 2, 3]
    assert {numbers.run["loss_scale"] for numbers in taken[True]} == {2.0**12}
    # Lightning takes the scale off before it calls on_before_optimizer_step.
    assert [taken[True].norms(index) for index in range(4)] == [pytest.approx(norm, rel=1e-4) for norm in models[True].seen]
    assert [numbers.run["loss"] for numbers in taken[True]] == [pytest.approx(loss, rel=1e-3) for loss in models[True].losses]


def test_validation_is_left_out():
    layers = []
    for validation in (None, batches(2, seed=3)):
        model, taken = module_class(lightning)(), Taken()
        fit(model, batches(4), callback(every=1, log=taken), validation=validation, val_check_interval=1)
        layers.append([numbers.layers for numbers in taken])
    assert len(layers[0]) == 4
    assert layers[0] == layers[1]


def test_numbers_go_to_the_loggers_of_the_trainer(tmp_path):
    logger = importlib.import_module("lightning.pytorch.loggers").CSVLogger(tmp_path)

    class Logging(module_class(lightning)):
        def training_step(self, batch, index):
            loss = super().training_step(batch, index)
            self.log("mine", loss)
            return loss

    model = Logging()
    fit(model, batches(6), callback(every=2), logger=logger, log_every_n_steps=1)
    with (tmp_path / "lightning_logs" / "version_0" / "metrics.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    norms_by_step = {int(row["step"]): float(row["run/grad_norm"]) for row in rows if row["run/grad_norm"]}
    mine = {int(row["step"]): float(row["mine"]) for row in rows if row["mine"]}
    told = {int(row["step"]): float(row["run/loss"]) for row in rows if row["run/loss"]}
    assert norms_by_step == {step: pytest.approx(model.seen[step][""], rel=1e-5) for step in (0, 2, 4)}
    assert told == {step: pytest.approx(mine[step]) for step in (0, 2, 4)}
    assert float(next(row["grad_norm/net.head"] for row in rows if row["grad_norm/net.head"])) == pytest.approx(model.seen[0]["net.head"], rel=1e-5)


def test_exception_takes_the_hooks_off():
    class Fails(module_class(lightning)):
        def training_step(self, batch, index):
            if index == 2:
                raise ZeroDivisionError
            return super().training_step(batch, index)

    model, taken, before = Fails(), Taken(), global_hooks()
    with pytest.raises(ZeroDivisionError):
        fit(model, batches(4), callback(every=1, log=taken))
    assert taken.steps == [0, 1]
    assert (hooks_of(model), global_hooks()) == ([], before)


def test_training_stops_where_rules_find_something_grave(caplog):
    model = module_class(lightning)()
    with torch.no_grad():
        model.net.head.weight[0, 0] = float("nan")
    watching = callback(every=1, rules=True, stop_on="error", log=None)
    run = fit(model, batches(6), watching)
    assert run.global_step == 1
    assert "NA605" in {finding.rule for finding in watching.findings}
    assert "NA605" in str(watching.report())


def test_second_fit_goes_on_counting():
    model, taken = module_class(lightning)(), Taken()
    watching = callback(every=2, log=taken)
    run = fit(model, batches(3), watching)
    run.fit_loop.max_epochs = 2
    run.fit(model, torch.utils.data.DataLoader(batches(3), batch_size=None))
    assert taken.steps == [0, 2, 3, 5]


def test_the_older_package_of_lightning_takes_it_too():
    older = pytest.importorskip("pytorch_lightning", reason="pytorch_lightning is not installed")
    model, taken = module_class(older)(), Taken()
    fit(model, batches(3), callback(every=2, log=taken), package=older, gradient_clip_val=0.01)
    assert [taken.norms(index) for index in range(2)] == [pytest.approx(model.seen[step], rel=1e-5) for step in (0, 2)]


def test_missing_package_is_named(monkeypatch):
    for name in ("lightning", "lightning.pytorch", "pytorch_lightning"):
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.delitem(sys.modules, "normadvisor.integrations.lightning", raising=False)
    with pytest.raises(UsageError) as error:
        importlib.import_module("normadvisor.integrations.lightning")
    assert str(error.value) == "the callback for Lightning needs the package lightning (pip install lightning)"


def test_wrong_severity_is_refused():
    with pytest.raises(UsageError) as error:
        callback(stop_on="fatal")
    assert str(error.value) == "stop_on is 'fatal' (write 'info', 'warning' or 'error')"
