"""The Trainer of transformers with the callback; accelerate runs beneath it."""

from __future__ import annotations

import importlib
import sys

import pytest
import torch
from loops import Taken, batches, global_hooks, hooks_of, net, norms
from torch import nn
from torch.nn.functional import cross_entropy

from normadvisor.errors import UsageError

transformers = pytest.importorskip("transformers", reason="transformers is not installed")
pytest.importorskip("accelerate", reason="accelerate is not installed")
# What these libraries warn of is between them and their users.
pytestmark = [pytest.mark.filterwarnings(f"ignore::Warning:{module}") for module in ("transformers.*", "accelerate.*", "torch.*")]


class Wrapped(nn.Module):
    """Takes and gives what the Trainer wants; keeps its norms from within the backward pass, through hooks that see every gradient."""

    def __init__(self) -> None:
        super().__init__()
        self.net = net()

    def forward(self, images, labels=None):
        logits = self.net(images)
        return {"loss": None if labels is None else cross_entropy(logits, labels), "logits": logits}


class Trainer(transformers.Trainer):
    """Keeps the norms that it finds before and after it clips."""

    def __init__(self, *arguments, **options) -> None:
        super().__init__(*arguments, **options)
        self.before, self.after = [], []

    def _clip_grad_norm(self, model):
        self.before.append(norms(self.model))
        found = super()._clip_grad_norm(model)
        self.after.append(norms(self.model))
        return found


def data(count):
    return [{"images": images, "labels": label} for one, labels in batches(count) for images, label in zip(one, labels, strict=True)]


def run(folder, callbacks, *, steps=6, model=None, evaluation=None, **options):
    arguments = transformers.TrainingArguments(
        output_dir=str(folder), max_steps=steps, per_device_train_batch_size=8, use_cpu=True, report_to=[], disable_tqdm=True,
        logging_strategy="no", dataloader_pin_memory=False, **{"save_strategy": "no", "max_grad_norm": 0.01, "learning_rate": 0.01, "seed": 1, **options},
    )  # fmt: skip
    trainer = Trainer(model or Wrapped(), arguments, train_dataset=data(12), eval_dataset=evaluation, callbacks=callbacks)
    trainer.train()
    return trainer


def callback(**options):
    from normadvisor.integrations.transformers import NormAdvisorTrainerCallback

    return NormAdvisorTrainerCallback(**{"rules": False, **options})


@pytest.mark.parametrize("options", [{}, {"bf16": True}, {"gradient_accumulation_steps": 2}])
def test_norms_are_those_before_clipping(options, tmp_path):
    taken = Taken()
    trainer = run(tmp_path, [callback(every=2, log=taken)], **options)
    assert taken.steps == [0, 2, 4]
    assert [taken.norms(index) for index in range(3)] == [pytest.approx(trainer.before[step], rel=1e-5) for step in (0, 2, 4)]
    assert all(before[""] > 0.05 > 0.0101 > after[""] for before, after in zip(trainer.before, trainer.after, strict=True))
    assert hooks_of(trainer.model) == []


def test_training_is_bit_by_bit_what_it_is_without(tmp_path):
    weights = [run(tmp_path, callbacks).model.state_dict() for callbacks in ([], [callback(every=2)])]
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])


def test_evaluation_is_left_out(tmp_path):
    layers = []
    for strategy in ("no", "steps"):
        taken = Taken()
        run(tmp_path, [callback(every=1, log=taken)], steps=4, eval_strategy=strategy, eval_steps=1, evaluation=data(3))
        layers.append([numbers.layers for numbers in taken])
    assert len(layers[0]) == 4
    assert layers[0] == layers[1]


def test_loss_scale_is_taken_off(tmp_path):
    class Scaled(Trainer):
        """fp16 on the CPU, which accelerate does not offer by itself."""

        def create_accelerator_and_postprocess(self):
            super().create_accelerator_and_postprocess()
            self.accelerator.scaler = torch.amp.GradScaler("cpu", init_scale=256.0)

    arguments = transformers.TrainingArguments(
        output_dir=str(tmp_path), max_steps=3, per_device_train_batch_size=8, use_cpu=True, report_to=[], save_strategy="no", disable_tqdm=True,
        logging_strategy="no", dataloader_pin_memory=False, max_grad_norm=0.01,
    )  # fmt: skip
    taken = Taken()
    trainer = Scaled(Wrapped(), arguments, train_dataset=data(4), callbacks=[callback(every=1, log=taken)])
    trainer.train()
    assert [numbers.run["loss_scale"] for numbers in taken] == [256.0] * 3
    first = norms_of_first_step(trainer)
    assert taken.norms(0) == pytest.approx(first, rel=1e-4)


def norms_of_first_step(trainer):
    """Of the same weights and the same batch, without mixed precision."""
    model = Wrapped()
    torch.manual_seed(trainer.args.seed)
    batch = next(iter(trainer.get_train_dataloader()))
    model(**batch)["loss"].backward()
    return norms(model)


def test_model_that_the_trainer_compiles(tmp_path):
    found = []
    for options in ({}, {"torch_compile": True, "torch_compile_backend": "eager"}):
        taken = Taken()
        trainer = run(tmp_path, [callback(every=2, log=taken)], steps=4, **options)
        assert taken.steps == [0, 2]
        assert taken.norms(0) == pytest.approx(trainer.before[0], rel=1e-5)
        found.append({key for values in taken[1].layers.values() for key in values})
    assert found[0] == found[1]


def test_language_model(tmp_path):
    config = transformers.GPT2Config(vocab_size=50, n_positions=16, n_embd=16, n_layer=2, n_head=2)
    generator = torch.Generator().manual_seed(0)
    rows = [torch.randint(0, 50, (16,), generator=generator) for _ in range(32)]
    arguments = transformers.TrainingArguments(
        output_dir=str(tmp_path), max_steps=4, per_device_train_batch_size=4, gradient_accumulation_steps=2, use_cpu=True, report_to=[],
        save_strategy="no", disable_tqdm=True, logging_strategy="no", dataloader_pin_memory=False, max_grad_norm=0.01, learning_rate=1e-3,
    )  # fmt: skip
    taken = Taken()
    trainer = Trainer(
        transformers.GPT2LMHeadModel(config), arguments, train_dataset=[{"input_ids": row, "labels": row} for row in rows], callbacks=[callback(every=3, log=taken)]
    )
    trainer.train()
    assert taken.steps == [0, 3]
    for index, step in enumerate(taken.steps):
        assert taken[index].run["grad_norm"] == pytest.approx(trainer.before[step][""], rel=1e-5)
    # The head shares the embedding's weight, which counts once.
    assert "grad_norm" in taken[0].layers["transformer.wte"]
    assert "grad_norm" not in taken[0].layers.get("lm_head", {})


def test_second_training_goes_on_counting(tmp_path):
    taken = Taken()
    watching = callback(every=2, log=taken)
    trainer = run(tmp_path, [watching], steps=3, save_strategy="steps", save_steps=3)
    trainer.args.max_steps = 6
    trainer.train(resume_from_checkpoint=str(tmp_path / "checkpoint-3"))
    assert taken.steps == [0, 2, 3, 5]


def test_training_stops_where_rules_find_something_grave(tmp_path):
    model = Wrapped()
    with torch.no_grad():
        model.net.head.weight[0, 0] = float("nan")
    watching = callback(every=1, rules=True, stop_on="error")
    trainer = run(tmp_path, [watching], model=model)
    assert trainer.state.global_step == 1
    assert "NA605" in {finding.rule for finding in watching.findings}
    assert "NA605" in str(watching.report())


def test_hooks_that_an_exception_left_are_taken_off_by_hand(tmp_path):
    class Fails(Wrapped):
        def forward(self, images, labels=None):
            raise ZeroDivisionError

    watching, model, before = callback(every=1), Fails(), global_hooks()
    with pytest.raises(ZeroDivisionError):
        run(tmp_path, [watching], model=model)
    watching.close()
    assert (hooks_of(model), global_hooks()) == ([], before)


def test_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    monkeypatch.delitem(sys.modules, "normadvisor.integrations.transformers", raising=False)
    with pytest.raises(UsageError) as error:
        importlib.import_module("normadvisor.integrations.transformers")
    assert str(error.value) == "the callback for the Trainer needs the package transformers (pip install transformers)"
