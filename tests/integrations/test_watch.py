"""Plain training loops, watched: what is measured is what the loop computes, and the loop computes what it would have without."""

from __future__ import annotations

import copy
import csv
import io
import logging
import math
import threading

import pytest
import torch
from loops import Taken, batches, global_hooks, hooks_of, net, norms
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.checkpoint import checkpoint

import normadvisor
from normadvisor.errors import UsageError
from normadvisor.integrations.collect import HISTORY
from normadvisor.integrations.watch import watch


def train(model, data, *, optimizer=None, clip=None, watching=None, seen=None):
    """A plain loop. ``seen`` gets the norms before clipping, and the loss."""
    optimizer = optimizer or torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    for images, labels in data:
        loss = cross_entropy(model(images), labels)
        if watching is not None:
            watching.loss(loss)
        optimizer.zero_grad()
        loss.backward()
        if seen is not None:
            seen.append((norms(model), float(loss.detach())))
        if clip is not None:
            nn.utils.clip_grad_norm_(model.parameters(), clip)
        optimizer.step()


def test_norms_are_those_before_clipping():
    model, seen, taken = net(), [], Taken()
    with watch(model, every=3, log=taken, rules=False) as watching:
        train(model, batches(8), clip=0.01, watching=watching, seen=seen)
    assert taken.steps == [0, 3, 6]
    for index, step in enumerate(taken.steps):
        expected, loss = seen[step]
        assert expected[""] > 0.1 > 0.01
        assert taken.norms(index) == pytest.approx(expected, rel=1e-5)
        assert taken[index].run["loss"] == pytest.approx(loss)


def test_training_is_bit_by_bit_what_it_is_unwatched():
    results = []
    for watched in (False, True):
        model = net()
        torch.manual_seed(7)
        if watched:
            with watch(model, every=2, rules=False):
                train(model, batches(6), clip=1.0)
        else:
            train(model, batches(6), clip=1.0)
        results.append((model.state_dict(), torch.get_rng_state()))
    (plain, state), (watched, watched_state) = results
    assert all(torch.equal(plain[key], watched[key]) for key in plain)
    assert torch.equal(state, watched_state)


def test_no_hook_stays_and_none_is_on_the_model_between_measured_steps():
    model, counts = net(), []
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    before = global_hooks()
    with watch(model, every=5, rules=False):
        for images, labels in batches(7):
            counts.append(len(hooks_of(model)))
            optimizer.zero_grad()
            cross_entropy(model(images), labels).backward()
            optimizer.step()
    # The second step is still looked at, since a second optimizer might be about to step for the first time.
    assert [count > 0 for count in counts] == [True, True, False, False, False, True, False]
    assert (hooks_of(model), global_hooks()) == ([], before)


def test_hooks_of_the_user_stay_in_their_order():
    model, calls = net(), []
    model.register_forward_hook(lambda *_: calls.append("first"))
    kept = hooks_of(model)
    with watch(model, every=1, rules=False):
        model.conv.weight.register_hook(lambda gradient: calls.append("gradient"))
        train(model, batches(2))
        model.register_forward_hook(lambda *_: calls.append("second"))
        train(model, batches(1))
    assert calls == ["first", "gradient", "first", "gradient", "first", "second", "gradient"]
    assert [hook for hook in hooks_of(model) if hook in kept] == kept
    assert len(hooks_of(model)) == 3


def test_exception_in_the_loop_leaves_nothing_behind():
    model, taken, before = net(), Taken(), global_hooks()
    watching = watch(model, every=1, log=taken, rules=False)

    def loop():
        with watching:
            train(model, batches(2))
            model(batches(1)[0][0]).sum().backward()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        loop()
    assert taken.steps == [0, 1]
    assert (hooks_of(model), global_hooks()) == ([], before)
    assert watching.report().measurements[0].steps == 2


def test_early_break_drops_the_step_that_never_ended():
    model, taken = net(), Taken()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with watch(model, every=1, log=taken, rules=False):
        for index, (images, labels) in enumerate(batches(5)):
            optimizer.zero_grad()
            cross_entropy(model(images), labels).backward()
            if index == 2:
                break
            optimizer.step()
    assert taken.steps == [0, 1]
    assert hooks_of(model) == []


def test_accumulated_gradients_are_read_once_all_are_there():
    model, taken, expected = net(), Taken(), []
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    with watch(model, every=2, log=taken, rules=False) as watching:
        for index, (images, labels) in enumerate(batches(12)):
            loss = cross_entropy(model(images), labels) / 3
            watching.loss(loss)
            loss.backward()
            if index % 3 == 2:
                expected.append(norms(model))
                nn.utils.clip_grad_value_(model.parameters(), 1e-3)
                optimizer.step()
                optimizer.zero_grad()
    assert taken.steps == [0, 2]
    assert [taken.norms(index) for index in range(2)] == [pytest.approx(expected[step], rel=1e-5) for step in taken.steps]
    assert taken[0].run["loss"] == pytest.approx(math.log(3), rel=0.5)


def test_several_backward_passes_of_one_step():
    model, taken, expected = net(), Taken(), []
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with watch(model, every=1, log=taken, rules=False):
        for images, labels in batches(2):
            optimizer.zero_grad()
            output = model(images)
            cross_entropy(output, labels).backward(retain_graph=True)
            output.square().mean().backward()
            expected.append(norms(model))
            optimizer.step()
    assert [taken.norms(index) for index in range(2)] == [pytest.approx(norm, rel=1e-5) for norm in expected]


def scaled_loop(model, taken, *, scaler, give, data, spoil=()):
    """Mixed precision as of torch's tutorial; spoiled batches make gradients infinite, so that the scaler skips them."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    expected = []
    with watch(model, every=1, log=taken, rules=False, scaler=scaler if give else None) as watching:
        for index, (images, labels) in enumerate(data):
            optimizer.zero_grad()
            with torch.autocast("cpu", torch.bfloat16):
                loss = cross_entropy(model(images).float(), labels)
            if index in spoil:
                loss = loss * float("inf")
            watching.loss(scaler.scale(loss), scaled=True)
            scaler.scale(loss).backward()
            now = norms(model, scaler.get_scale())
            if index not in spoil:
                expected.append((now, float(loss.detach()), scaler.get_scale()))
            scaler.unscale_(optimizer)
            nn.utils.clip_grad_norm_(model.parameters(), 0.1)
            scaler.step(optimizer)
            scaler.update()
    return expected


@pytest.mark.parametrize("give", [True, False], ids=["given", "found"])
def test_loss_scale_is_taken_off(give):
    model, taken = net(), Taken()
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0, growth_interval=2)
    expected = scaled_loop(model, taken, scaler=scaler, give=give, data=batches(5), spoil=(2,))
    assert taken.steps == [0, 1, 2, 3]
    for index, (norm, loss, scale) in enumerate(expected):
        assert taken.norms(index) == pytest.approx(norm, rel=1e-5)
        assert taken[index].run["loss_scale"] == scale
        assert taken[index].run["loss"] == pytest.approx(loss, rel=1e-6)


@pytest.mark.parametrize("give", [True, False], ids=["given", "unknown"])
def test_step_that_a_scaler_skips_time_and_again_is_told(give):
    model, taken = net(), Taken()
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**16)
    scaled_loop(model, taken, scaler=scaler, give=give, data=batches(25), spoil=range(25))
    [numbers] = taken
    assert all(values["grad_nonfinite"] > 0 for name, values in numbers.layers.items() if name == "head")
    assert "update_ratio" not in numbers.run
    # Which scale was on them is known only where the scaler is; infinite they are in any case.
    assert ("grad_norm" in numbers.run) == give


def test_closure_of_lbfgs_is_measured_at_the_weights_it_begins_with():
    model, taken, evaluations, weights = net(), Taken(), [], []
    optimizer = torch.optim.LBFGS(model.parameters(), lr=0.1, max_iter=3)
    [(images, labels)] = batches(1)

    def closure():
        optimizer.zero_grad()
        loss = cross_entropy(model(images), labels)
        loss.backward()
        evaluations.append(norms(model))
        return loss

    with watch(model, every=2, log=taken, rules=False):
        for _ in range(3):
            weights.append((len(evaluations), torch.cat([model.head.weight.detach().flatten(), model.head.bias.detach()])))
            optimizer.step(closure)
    assert taken.steps == [0, 2]
    assert weights[1][0] >= 3
    assert [taken.norms(index) for index in range(2)] == [pytest.approx(evaluations[weights[step][0]], rel=1e-5) for step in (0, 2)]
    expected = float((weights[1][1] - weights[0][1]).norm() / weights[0][1].norm())
    assert taken[0].layers["head"]["update_ratio"] == pytest.approx(expected, rel=1e-4)


def test_weights_changed_by_hand_are_steps_too():
    for data_attribute in (False, True):
        model, taken, expected = net(), Taken(), []
        with watch(model, every=3, log=taken, rules=False):
            for images, labels in batches(8):
                model.zero_grad()
                cross_entropy(model(images), labels).backward()
                expected.append(norms(model))
                with torch.no_grad():
                    for parameter in model.parameters():
                        if data_attribute:
                            parameter.data = parameter.data - 0.1 * parameter.grad
                        else:
                            parameter.sub_(0.1 * parameter.grad)
        assert taken.steps == [0, 3, 6]
        assert [taken.norms(index) for index in range(3)] == [pytest.approx(expected[step], rel=1e-5) for step in taken.steps]
        assert taken[0].layers["head"]["update_ratio"] > 0
        assert hooks_of(model) == []


def test_gradients_that_nobody_applies_are_measured_when_the_block_ends():
    model, taken = net(), Taken()
    with watch(model, log=taken, rules=False):
        for images, labels in batches(2):
            cross_entropy(model(images), labels).backward()
    assert taken.steps == [0]
    assert taken.norms() == pytest.approx(norms(model), rel=1e-5)
    assert "update_ratio" not in taken[0].run


def test_nothing_seen_is_said():
    with watch(net(), rules=False) as watching:
        pass
    [measurements] = watching.report().measurements
    assert measurements.notes[0] == "no step was seen while the model was watched"
    assert measurements.steps == 0


def test_generator_and_discriminator_watched_each_for_itself():
    torch.manual_seed(0)
    generator, discriminator = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2)), nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 1))
    of_generator, of_discriminator = torch.optim.Adam(generator.parameters()), torch.optim.Adam(discriminator.parameters())
    taken, expected = {"G": Taken(), "D": Taken()}, {"G": [], "D": []}
    bce = nn.functional.binary_cross_entropy_with_logits
    with watch(generator, every=2, log=taken["G"], rules=False), watch(discriminator, every=2, log=taken["D"], rules=False):
        for _ in range(5):
            fake = generator(torch.randn(16, 4))
            of_discriminator.zero_grad()
            bce(discriminator(torch.randn(16, 2)), torch.ones(16, 1)).backward()
            bce(discriminator(fake.detach()), torch.zeros(16, 1)).backward()
            expected["D"].append(norms(discriminator))
            of_discriminator.step()
            of_generator.zero_grad()
            bce(discriminator(fake), torch.ones(16, 1)).backward()
            expected["G"].append(norms(generator))
            nn.utils.clip_grad_norm_(generator.parameters(), 1e-4)
            of_generator.step()
    for which in "GD":
        assert taken[which].steps == [0, 2, 4]
        assert [taken[which].norms(index) for index in range(3)] == [pytest.approx(expected[which][step], rel=1e-5) for step in (0, 2, 4)]


def test_two_optimizers_of_one_model_are_counted_each_for_itself():
    torch.manual_seed(0)
    model = nn.ModuleDict({"g": nn.Linear(4, 2), "d": nn.Linear(2, 1)})
    first, second = torch.optim.SGD(model["g"].parameters(), lr=0.1), torch.optim.SGD(model["d"].parameters(), lr=0.1)
    taken, expected = Taken(), []
    with watch(model, every=4, log=taken, rules=False) as watching:
        for _ in range(6):
            for optimizer, sign in ((first, 1), (second, -1)):
                model.zero_grad()
                (sign * model["d"](model["g"](torch.randn(8, 4)))).mean().backward()
                layer = "g" if optimizer is first else "d"
                expected.append({layer: norms(model)[layer], "": norms(model)[layer]})
                optimizer.step()
    assert taken.steps == [0, 0, 4, 4]
    assert [taken.norms(index) for index in range(4)] == [pytest.approx(expected[step], rel=1e-5) for step in (0, 1, 8, 9)]
    assert [set(numbers.layers["g"]) >= {"update_ratio"} for numbers in taken] == [True, False, True, False]
    [measurements] = watching.report().measurements
    by_name = {layer.name: layer.series for layer in measurements.layers}
    assert [value is None for value in by_name["g"]["grad_norm"]] == [False, True, False, True]
    assert [value is None for value in by_name["d"]["update_ratio"]] == [True, False, True, False]


def test_optimizer_of_another_model_is_no_step():
    model, teacher, taken = net(), net(1), Taken()
    mine, other = torch.optim.SGD(model.parameters(), lr=0.1), torch.optim.SGD(teacher.parameters(), lr=0.1)
    with watch(model, every=1, log=taken, rules=False):
        for images, labels in batches(2):
            for one, optimizer in ((teacher, other), (model, mine)):
                optimizer.zero_grad()
                cross_entropy(one(images), labels).backward()
                optimizer.step()
    assert taken.steps == [0, 1]


def test_only_optimizers_that_are_named_count():
    model, taken = net(), Taken()
    body, head = torch.optim.SGD(model.conv.parameters(), lr=0.1), torch.optim.SGD(model.head.parameters(), lr=0.1)
    with watch(model, every=1, optimizer=head, log=taken, rules=False):
        for images, labels in batches(3):
            model.zero_grad()
            cross_entropy(model(images), labels).backward()
            body.step()
            head.step()
    assert taken.steps == [0, 1, 2]
    assert set(taken[0].layers["conv"]) >= {"grad_norm"}


def test_optimizer_around_another_one_makes_one_step():
    class Lookahead(torch.optim.Optimizer):
        def __init__(self, inner):
            self.inner = inner
            super().__init__(inner.param_groups, {})

        def step(self, closure=None):
            return self.inner.step(closure)

    model, taken = net(), Taken()
    with watch(model, every=1, log=taken, rules=False):
        train(model, batches(3), optimizer=Lookahead(torch.optim.SGD(model.parameters(), lr=0.1)))
    assert taken.steps == [0, 1, 2]


def test_step_that_raises_does_not_confuse_the_next():
    class Fails(torch.optim.SGD):
        failing = True

        def step(self, closure=None):
            if self.failing:
                self.failing = False
                raise RuntimeError("once")
            return super().step(closure)

    model, taken = net(), Taken()
    optimizer = Fails(model.parameters(), lr=0.1)
    with watch(model, every=1, log=taken, rules=False):
        with pytest.raises(RuntimeError, match="once"):
            train(model, batches(1), optimizer=optimizer)
        train(model, batches(2), optimizer=optimizer)
    assert taken.steps == [0, 1]


def test_validation_between_steps_is_left_out():
    results = []
    for validate in (False, True):
        model, taken = net(), Taken()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        with watch(model, every=1, log=taken, rules=False):
            for images, labels in batches(2):
                if validate:
                    model.eval()
                    with torch.no_grad():
                        model(1e6 * torch.randn(64, 1, 8, 8))
                    model.train()
                train(model, [(images, labels)], optimizer=optimizer)
        results.append([numbers.layers for numbers in taken])
    assert results[0] == results[1]


def test_paused_block_is_left_out():
    model, taken = net(), Taken()
    with watch(model, every=1, log=taken, rules=False) as watching:
        train(model, batches(1))
        with watching.paused():
            train(model, batches(2))
        train(model, batches(1))
    assert taken.steps == [0, 1]


def test_watching_twice_at_once_gives_the_same_numbers():
    model, outer, inner = net(), Taken(), Taken()
    with watch(model, every=1, log=outer, rules=False), watch(model, every=2, log=inner, rules=False):
        train(model, batches(4), clip=0.1)
    assert (outer.steps, inner.steps) == ([0, 1, 2, 3], [0, 2])
    assert [outer.norms(0), outer.norms(2)] == [inner.norms(0), inner.norms(1)]
    assert hooks_of(model) == []


def test_goes_on_where_it_was_left():
    model, taken = net(), Taken()
    watching = watch(model, every=2, log=taken, rules=False, first_step=100)
    for _ in range(2):
        with watching:
            train(model, batches(3))
    assert taken.steps == [100, 102, 104]
    assert watching.report().measurements[0].notes[0] == "measured while training, at steps 100, 102, 104"


def test_cannot_be_entered_twice_at_once():
    watching = watch(net(), rules=False)
    with watching, pytest.raises(UsageError, match="is being watched by this already"):
        watching.__enter__()


def test_weights_that_optimizers_change_during_the_backward_pass():
    model, taken = net(), Taken()
    optimizers = {parameter: torch.optim.SGD([parameter], lr=0.01) for parameter in model.parameters()}

    def step(parameter):
        optimizers[parameter].step()
        optimizers[parameter].zero_grad()

    for parameter in model.parameters():
        parameter.register_post_accumulate_grad_hook(step)
    with watch(model, every=1, log=taken, rules=False):
        for images, labels in batches(3):
            cross_entropy(model(images), labels).backward()
    assert all(math.isfinite(value) for numbers in taken for values in numbers.layers.values() for value in values.values())


def test_compiled_model():
    plain, taken, expected = net(), {}, {}
    for compiled in (False, True):
        model = copy.deepcopy(plain)
        run = torch.compile(model, backend="eager") if compiled else model
        taken[compiled], expected[compiled] = Taken(), []
        with watch(run, every=2, log=taken[compiled], rules=False):
            train(run, batches(4), clip=0.1, seen=expected[compiled])
    assert taken[True].steps == [0, 2]
    assert [taken[True].norms(index) for index in range(2)] == [pytest.approx(taken[False].norms(index), rel=1e-5) for index in range(2)]
    assert {key for values in taken[True][0].layers.values() for key in values} == {key for values in taken[False][0].layers.values() for key in values}


def test_log_to_a_file(tmp_path):
    model, path = net(), tmp_path / "run.csv"
    for first_step in (0, 4):
        with watch(model, every=2, log=f"csv:{path}", rules=False, first_step=first_step):
            train(model, batches(4))
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["step"] for row in rows if not row["layer"]] == ["0", "2", "4", "6"]
    assert {row["layer"] for row in rows} == {"", "conv", "norm", "act", "head"}


def test_log_that_fails_is_told_and_training_goes_on(tmp_path, caplog, monkeypatch):
    def refuse(_):
        raise OSError(28, "No space left on device")

    model, taken, path = net(), Taken(), tmp_path / "x.csv"
    with watch(model, every=1, log=[f"csv:{path}", taken], rules=False) as watching:
        train(model, batches(1))
        [log] = watching._logs._open.values()
        monkeypatch.setattr(log, "write", refuse)
        train(model, batches(2))
    assert taken.steps == [0, 1, 2]
    assert [record.getMessage() for record in caplog.records] == [f"nothing more is logged to csv:{path}: [Errno 28] No space left on device"]


def test_report_holds_the_last_steps_and_their_numbers():
    model = net()
    with watch(model, every=2, rules=False) as watching:
        train(model, batches(5), watching=watching)
    result = watching.report()
    [measurements] = result.measurements
    assert measurements.target == "Net"
    assert {key: measurements.setup[key] for key in ("steps", "every", "data", "optimizer", "lr")} == {"steps": 3, "every": 2, "data": "training", "optimizer": "SGD", "lr": 0.1}
    assert measurements.facts["real_data"] is True
    assert measurements.facts["initial_loss"] == measurements.series["loss"][0]
    assert [layer.name for layer in measurements.layers] == ["conv", "norm", "act", "head"]
    assert {len(values) for layer in measurements.layers for values in layer.series.values()} == {3}
    assert "measured while training, at steps 0, 2, 4" in str(result)
    assert result.to_dict()["probe"]["measurements"][0]["target"] == "Net"


def test_rules_speak_once_when_they_find_something(caplog):
    model, taken = net(), Taken()
    with torch.no_grad():
        model.head.weight[0, 0] = float("nan")
    with caplog.at_level(logging.WARNING, "normadvisor"), watch(model, every=1, log=taken) as watching:
        train(model, batches(3))
    assert "NA605" in {finding.rule for finding in watching}
    told = [record.getMessage() for record in caplog.records if "NA605" in record.getMessage()]
    assert len(told) == 1
    assert told[0].startswith("step 0: NA605 non-finite: step 0: ")
    assert ["NA605" in {finding.rule for finding in numbers.findings} for numbers in taken] == [True, False, False]


def test_findings_count_steps_as_the_log_does(caplog):
    model, taken = net(), Taken()
    data = batches(6)
    data[4] = (torch.full_like(data[4][0], float("inf")), data[4][1])
    with caplog.at_level(logging.WARNING, "normadvisor"), watch(model, every=2, first_step=100, log=taken) as watching:
        train(model, data)
    [told] = [record.getMessage() for record in caplog.records if "NA605" in record.getMessage()]
    assert told.startswith("step 104: NA605 non-finite: step 104: ")
    [found] = [finding for finding in watching if finding.rule == "NA605"]
    assert found.evidence["step"] == 104
    assert "in step 104" in str(watching.report())
    assert taken.steps == [100, 102, 104]


def test_findings_that_were_told_are_kept(caplog):
    model, taken = net(), Taken()
    with caplog.at_level(logging.WARNING, "normadvisor"), watch(model, every=1, log=taken) as watching:
        train(model, batches(1), optimizer=torch.optim.SGD(model.parameters(), lr=1e4))
        with torch.no_grad():
            model.head.weight[0, 0] = float("nan")
        train(model, batches(4))
    told = [finding.rule for numbers in taken for finding in numbers.findings]
    assert told == ["NA608", "NA605"]
    assert [finding.rule for finding in watching] == told
    assert [finding.rule for finding in watching] == [finding.rule for finding in watching.report().report.findings]


def test_probes_of_the_model_are_no_part_of_its_training():
    results = []
    for probed in (False, True):
        model, taken, data = net(), Taken(), batches(4)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        with watch(model, every=1, log=taken) as watching:
            for number, (images, labels) in enumerate(data):
                loss = cross_entropy(model(images), labels)
                watching.loss(loss)
                optimizer.zero_grad()
                loss.backward()
                if probed and number == 1:  # the graph is gone, the gradients are there
                    normadvisor.probe(model, data[0], cross_entropy, optimizer=optimizer, steps=2)
                optimizer.step()
                if probed and number == 2:
                    normadvisor.probe(model, data[0], cross_entropy, steps=2)
        [measurements] = watching.report().measurements
        layers = {layer.name: layer.series for layer in measurements.layers}
        results.append((taken.steps, measurements.setup["lr"], measurements.series["loss"], layers, measurements.notes))
    assert results[1] == results[0]
    assert results[0][0] == [0, 1, 2, 3]


def test_healthy_training_is_left_alone(caplog):
    model = net()
    with watch(model, every=2) as watching:
        train(model, batches(10), clip=1.0, watching=watching)
    assert list(watching) == []
    assert caplog.records == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"model": "net"}, "a value of type str cannot be watched (pass a torch.nn.Module)"),
        ({"every": 0}, "every is 0 (pass how many steps there are from one that is measured to the next, at least 1)"),
        ({"optimizer": 3}, "a value of type int is no optimizer (pass a torch.optim.Optimizer, several, or none)"),
        ({"log": "cvs:x"}, "unknown kind of log 'cvs' (did you mean 'csv'?)"),
        ({"log": [1]}, "a value of type int is no place to log to (pass text such as 'csv:FILE', or a function)"),
    ],
)
def test_wrong_arguments_are_refused_in_words(arguments, message):
    with pytest.raises(UsageError) as error:
        watch(**{"model": net(), **arguments})
    assert str(error.value) == message


def test_is_exported():
    assert normadvisor.watch is watch


@pytest.mark.parametrize("regional", [False, True], ids=["wrapper", "layers"])
def test_model_that_is_run_through_a_compiled_wrapper_of_it(regional):
    """The wrapper is not what is watched, so nothing about the watched model tells that it is compiled."""
    taken, counts = {}, []
    for compiled in (False, True):
        model = net()

        def counting(graph, inputs):
            counts.append(graph)
            return graph.forward

        run = model
        if compiled and regional:
            model.conv.compile(backend=counting)
        elif compiled:
            run = torch.compile(model, backend=counting)
        taken[compiled] = Taken()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        with watch(model, every=3, log=taken[compiled], rules=False):
            for images, labels in batches(8):
                optimizer.zero_grad()
                cross_entropy(run(images), labels).backward()
                optimizer.step()
        assert hooks_of(model) == []
    assert taken[True].steps == [0, 3, 6]
    assert [dict(numbers.layers) for numbers in taken[True]] == [dict(numbers.layers) for numbers in taken[False]]
    assert len(counts) == 1, "steps that are not measured run what was compiled, once"


def saved_and_loaded(model):
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


@pytest.mark.parametrize("copied", [copy.deepcopy, saved_and_loaded, torch.optim.swa_utils.AveragedModel], ids=["deepcopy", "saved", "averaged"])
def test_copies_of_the_model_measure_nothing(copied, tmp_path):
    model, taken = net(), Taken()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with watch(model, every=1, log=[taken, f"csv:{tmp_path / 'x.csv'}"], rules=False):
        for images, labels in batches(3):
            optimizer.zero_grad()
            cross_entropy(model(images), labels).backward()
            before = [parameter.detach().clone() for parameter in model.parameters()]
            copy_of_it = copied(model)
            copy_of_it(1e6 * images).sum().backward()
            assert all(torch.equal(old, new) for old, new in zip(before, model.parameters(), strict=True))
            optimizer.step()
    assert taken.steps == [0, 1, 2]
    assert max(values["act_abs_max"] for numbers in taken for values in numbers.layers.values() if "act_abs_max" in values) < 1e3
    copy_of_it(images)


@pytest.mark.parametrize("reentrant", [True, False])
def test_parts_that_the_backward_pass_computes_again(reentrant):
    class Again(type(net())):
        def forward(self, x):
            return self.head(checkpoint(lambda y: self.act(self.norm(self.conv(y))), x, use_reentrant=reentrant).flatten(1))

    torch.manual_seed(0)
    model, taken, seen = Again(), Taken(), []
    data = [(images.requires_grad_(), labels) for images, labels in batches(3)]
    with watch(model, every=2, log=taken, rules=False):
        train(model, data, clip=0.01, seen=seen)
    assert taken.steps == [0, 2]
    assert [taken.norms(index) for index in range(2)] == [pytest.approx(seen[step][0], rel=1e-5) for step in (0, 2)]


def test_parameters_that_appear_in_the_first_forward_pass():
    torch.manual_seed(0)
    model, taken, seen = nn.Sequential(nn.LazyConv2d(4, 3), nn.ReLU(), nn.Flatten(), nn.LazyLinear(3)), Taken(), []
    with watch(model, every=2, log=taken, rules=False):
        model(batches(1)[0][0])
        train(model, batches(5), clip=0.01, seen=seen)
    assert taken.steps == [0, 2, 4]
    assert [taken.norms(index) for index in range(3)] == [pytest.approx(seen[step][0], rel=1e-5) for step in (0, 2, 4)]


def test_frozen_parts_and_embeddings_with_sparse_gradients():
    torch.manual_seed(0)
    model, taken = nn.Sequential(nn.Embedding(50, 4, sparse=True), nn.Flatten(), nn.Linear(12, 4), nn.Linear(4, 3)), Taken()
    model[2].requires_grad_(requires_grad=False)
    optimizer = torch.optim.SGD([parameter for parameter in model.parameters() if parameter.requires_grad], lr=0.1)
    with watch(model, every=1, log=taken, rules=False):
        optimizer.zero_grad()
        cross_entropy(model(torch.randint(0, 50, (8, 3))), torch.randint(0, 3, (8,))).backward()
        expected = float(model[0].weight.grad.to_dense().double().norm())
        optimizer.step()
    assert taken[0].layers["0"]["grad_norm"] == pytest.approx(expected, rel=1e-5)
    assert "grad_norm" not in taken[0].layers["2"]


def test_model_without_parameters_and_model_that_is_one_layer():
    with watch(nn.ReLU(), rules=False) as watching:
        nn.ReLU()(torch.ones(1))
    assert watching.report().measurements[0].steps == 0
    model, taken, seen = nn.Linear(64, 3), Taken(), []
    with watch(model, every=1, log=taken, rules=False):
        train(model, [(images.flatten(1), labels) for images, labels in batches(3)], clip=0.01, seen=seen)
    assert [numbers.layers[""]["grad_norm"] for numbers in taken] == [pytest.approx(norm[""], rel=1e-5) for norm, _ in seen]


def test_loops_in_a_thread():
    model, taken, seen = net(), Taken(), []

    def loop():
        with watch(model, every=1, log=taken, rules=False):
            train(model, batches(3), clip=0.01, seen=seen)

    thread = threading.Thread(target=loop)
    thread.start()
    thread.join()
    assert [taken.norms(index) for index in range(3)] == [pytest.approx(norm, rel=1e-5) for norm, _ in seen]


def test_memory_does_not_grow_with_the_steps():
    model = nn.Linear(4, 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    with watch(model, every=1, rules=False) as watching:
        for _ in range(HISTORY + 20):
            optimizer.zero_grad()
            model(torch.randn(2, 4)).sum().backward()
            optimizer.step()
    [measurements] = watching.report().measurements
    assert measurements.steps == HISTORY
    assert {len(values) for layer in measurements.layers for values in layer.series.values()} == {HISTORY}
    assert measurements.notes[0] == f"{HISTORY} of {HISTORY + 20} measured steps are shown: measured while training, at steps 20, 21, ... {HISTORY + 19}"


@pytest.mark.parametrize(
    ("rates", "told"),
    [
        ([0.0, 1e-9, 1e-8, 1e-7, 1e-6, 1e-3, 1e-3, 1e-3, 1e-3, 1e-3], []),  # a warm-up
        ([1e-9] * 6, [2]),
        ([1e-3, 1e-9, 1e-9, 1e-9, 1e-9, 1e-9], []),
        ([1e4, 1e-3, 1e-3], [0]),
    ],
    ids=["warm-up", "tiny", "cut", "huge"],
)
def test_learning_rate_is_judged_once_it_is_known_not_to_rise(rates, told):
    torch.manual_seed(0)
    model, taken = nn.Linear(64, 3), Taken()
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    with watch(model, every=1, log=taken):
        for (images, labels), rate in zip(batches(len(rates)), rates, strict=True):
            optimizer.param_groups[0]["lr"] = rate
            train(model, [(images.flatten(1), labels)], optimizer=optimizer)
    found = [numbers.step for numbers in taken if any(finding.rule == "NA608" and finding.severity == "warning" for finding in numbers.findings)]
    assert found == told
