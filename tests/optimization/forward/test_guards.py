"""What a changed forward took as given, changed afterwards: it has to do what the one before does."""

import copy
import dataclasses
import enum
import pickle
import random
import sys
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from normadvisor.optimization.forward import install, local_graphs
from normadvisor.rewrite.model.journal import Journal

SETTINGS = SimpleNamespace(scale=2.0, nested=SimpleNamespace(offset=0.5))
FACTOR = 2.0
TABLE = {"first": 1.0, "second": [2.0, 3.0]}
FUNCTIONS = {"relu": F.relu, "gelu": F.gelu}
COUNTER = 0


class Kind(enum.Enum):
    ADD = 1
    MULTIPLY = 2


class Word(enum.StrEnum):
    ADD = "add"
    MULTIPLY = "multiply"


class Config:
    scale = 2.0
    names = ("a", "b")

    def __init__(self, inner=None):
        self.flag = True
        self.mode = "add"
        self.sizes = [1, 2]
        self.inner = inner

    @property
    def doubled(self):
        return self.scale * 2


class Delegating:
    def __init__(self, **values):
        self._values = values

    def __getattr__(self, name):
        try:
            return self.__dict__["_values"][name]
        except KeyError:
            raise AttributeError(name) from None


@dataclasses.dataclass(frozen=True, slots=True)
class Frozen:
    flag: bool = True


class Doubling:
    def __call__(self, module, x):
        return x * 2


class Tripling:
    def __call__(self, module, x):
        return x * 3


def given(*args, **kwargs):
    return SimpleNamespace(args=args, kwargs=kwargs)


def model_of(forward, **attributes):
    """A model with one layer and this forward."""

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(4, 4)
            self.layers = nn.ModuleList([nn.Linear(4, 4), nn.Identity()])
            self.register_parameter("gamma", None)

        def helper(self, x):
            return x * 2

    Model.forward = forward
    torch.manual_seed(0)
    model = Model().eval()
    for name, value in attributes.items():
        setattr(model, name, value)
    return model


def changed(model, *args, **kwargs):
    """The model with a forward that does what was traced, and nothing else."""
    refused = []
    local = next((each for each in local_graphs(model, given(*args, **kwargs), refused) if not each.name), None)
    assert local is not None, [each.reason for each in refused if not each.name]
    install(model, "", lambda graph, module: None, local, Journal())
    return local


X = torch.linspace(-2, 2, 12).reshape(3, 4)


def flag(self, x):
    return x * 2 if self.flag else x * 3


def mode(self, x):
    return x + 1 if self.mode == "add" else x * 3


def config_flag(self, x):
    return x * 2 if self.config.flag else x * 3


def config_mode(self, x):
    return x + 1 if self.config.mode == "add" else x * 3


def config_number(self, x):
    return x * self.config.scale


def config_inner(self, x):
    return x * self.config.inner.scale + self.config.sizes[0]


def config_property(self, x):
    return x * self.config.doubled


def config_getattr(self, x):
    return x * self.config.scale if getattr(self.config, "scaled", False) else x


def delegated(self, x):
    return x * self.config.scale


def through_a_variable(self, x):
    config = self.config
    return x * (config.scale if config.flag else 7)


def loop_over_layers(self, x):
    for layer in self.layers:
        x = layer(x)
    return x


def last_layer(self, x):
    return self.layers[-1](x)


def count_layers(self, x):
    return x * len(self.layers)


def named(self, x):
    return self.layers[0](x) if self.names["use"] == "first" else x


def strategy(self, x):
    return self.processor(self, x)


def function(self, x):
    return self.function(x)


def functions(self, x):
    return self.table["act"](x)


def missing(self, x):
    return x * 2 if hasattr(self, "extra") else x


def defaulted(self, x):
    return x * getattr(self, "extra", 1)


def no_parameter(self, x):
    return x if self.gamma is None else x * self.gamma


def helped(self, x):
    return self.helper(x)


def kind(self, x):
    return x + 1 if self.kind is Kind.ADD else x * 3


def word(self, x):
    return x + 1 if self.kind == "add" else x * 3


def numpy_number(self, x):
    return x * float(self.number)


def of_a_class(self, x):
    return x * type(self).gain


def is_a(self, x):
    return self.layer(x) if isinstance(self.layer, nn.Linear) else x


def layer_setting(self, x):
    return x * self.layer.out_features


def set_of(self, x):
    return x * 2 if "double" in self.words else x


def pairs(self, x):
    for name, function in self.steps:
        x = function(x) if name != "skip" else x
    return x


def outsider(self, x):
    return x * self.others[0].gain


def looked_up(self, x):
    return x * 2 if vars(self.config)["flag"] else x


ATTRIBUTES = [
    (flag, {"flag": True}, lambda model: setattr(model, "flag", False)),
    (mode, {"mode": "add"}, lambda model: setattr(model, "mode", "multiply")),
    (config_flag, {"config": Config()}, lambda model: setattr(model.config, "flag", False)),
    (config_flag, {"config": Frozen()}, lambda model: setattr(model, "config", Frozen(flag=False))),
    (config_flag, {"config": SimpleNamespace(flag=True)}, lambda model: setattr(model.config, "flag", False)),
    (config_mode, {"config": Config()}, lambda model: setattr(model.config, "mode", "multiply")),
    (config_number, {"config": Config()}, lambda model: setattr(model.config, "scale", 5.0)),
    (config_inner, {"config": Config(Config())}, lambda model: setattr(model.config.inner, "scale", 5.0)),
    (config_inner, {"config": Config(Config())}, lambda model: model.config.sizes.__setitem__(0, 9)),
    (config_inner, {"config": Config(Config())}, lambda model: setattr(model.config.inner, "scale", 2.5)),
    (config_property, {"config": Config()}, lambda model: setattr(model.config, "scale", 5.0)),
    (config_getattr, {"config": Config()}, lambda model: setattr(model.config, "scaled", True)),
    (delegated, {"config": Delegating(scale=2.0)}, lambda model: model.config._values.update(scale=3.0)),
    (through_a_variable, {"config": Config()}, lambda model: setattr(model.config, "flag", False)),
    (loop_over_layers, {}, lambda model: model.layers.append(nn.ReLU())),
    (loop_over_layers, {}, lambda model: model.layers.__delitem__(1)),
    (loop_over_layers, {}, lambda model: model.layers.__setitem__(1, nn.ReLU())),
    (last_layer, {}, lambda model: model.layers.append(nn.ReLU())),
    (count_layers, {}, lambda model: model.layers.append(nn.ReLU())),
    (named, {"names": {"use": "first"}}, lambda model: model.names.update(use="none")),
    (strategy, {"processor": Doubling()}, lambda model: setattr(model, "processor", Tripling())),
    (function, {"function": F.relu}, lambda model: setattr(model, "function", F.gelu)),
    (function, {"function": partial(F.leaky_relu, negative_slope=0.5)}, lambda model: setattr(model, "function", partial(F.elu))),
    (function, {"function": partial(F.leaky_relu, negative_slope=0.5)},
     lambda model: setattr(model, "function", partial(F.leaky_relu, negative_slope=0.1))),
    (functions, {"table": {"act": F.relu}}, lambda model: model.table.update(act=F.gelu)),
    (missing, {}, lambda model: setattr(model, "extra", 3)),
    (defaulted, {}, lambda model: setattr(model, "extra", 3)),
    (no_parameter, {}, lambda model: setattr(model, "gamma", nn.Parameter(torch.full((4,), 3.0)))),
    (helped, {}, lambda model: setattr(model, "helper", lambda x: x * 3)),
    (kind, {"kind": Kind.ADD}, lambda model: setattr(model, "kind", Kind.MULTIPLY)),
    (word, {"kind": Word.ADD}, lambda model: setattr(model, "kind", Word.MULTIPLY)),
    (numpy_number, {"number": np.float64(2.0)}, lambda model: setattr(model, "number", np.float64(3.0))),
    (is_a, {}, lambda model: setattr(model, "layer", nn.Identity())),
    (layer_setting, {}, lambda model: setattr(model.layer, "out_features", 7)),
    (set_of, {"words": {"double"}}, lambda model: model.words.clear()),
    (pairs, {"steps": [("relu", F.relu), ("skip", F.gelu)]}, lambda model: model.steps.__setitem__(1, ("act", F.gelu))),
    (looked_up, {"config": Config()}, lambda model: setattr(model.config, "flag", False)),
]  # fmt: skip


@pytest.mark.parametrize(("forward", "attributes", "change"), ATTRIBUTES, ids=lambda each: getattr(each, "__name__", None) or "-")
@pytest.mark.parametrize("copied", [False, True])
def test_what_it_reads_of_its_module_is_read_again(forward, attributes, change, copied):
    model = copy.deepcopy(model_of(forward, **attributes))
    plain = copy.deepcopy(model)
    changed(model, X)
    if copied:
        model = copy.deepcopy(model)
    assert model._normadvisor_text.source.count("_original") == 1
    assert torch.equal(model(X), plain(X))
    assert took_new(model, X)
    change(model)
    torch.manual_seed(1)
    change(plain)
    expected = plain(X)
    assert torch.equal(model(X), expected)
    changed_back = copy.deepcopy(model)
    assert torch.equal(changed_back(X), expected)


def took_new(model, *args):
    """Whether the changed forward runs, and not the one before it."""
    text = type(model)._normadvisor_text
    space, calls = type(model).forward.__globals__, []
    before = space["_original"]
    space["_original"] = lambda *args, **kwargs: calls.append(1) or before(*args, **kwargs)
    try:
        model(*args)
    finally:
        space["_original"] = before
    return text is not None and not calls


def test_a_class_attribute_is_read_again():
    model = model_of(of_a_class)
    type(model).gain = 2.0
    base = type(model)
    changed(model, X)
    assert torch.equal(model(X), X * 2)
    assert took_new(model, X)
    base.gain = 3.0
    assert torch.equal(model(X), X * 3)


def test_a_module_that_is_no_part_of_the_model_is_read_again():
    other = nn.Identity()
    other.gain = 2.0
    model = model_of(outsider)
    model.others = [other]
    changed(model, X)
    assert torch.equal(model(X), X * 2)
    other.gain = 3.0
    assert torch.equal(model(X), X * 3)


# -- globals and closures ----------------------------------------------------------------------------------------------------------


def reads_global(self, x):
    return x * FACTOR


def reads_in_a_function(self, x):
    return scaled(x)


def scaled(x):
    return x * FACTOR


def reads_namespace(self, x):
    return x * SETTINGS.scale + SETTINGS.nested.offset


def reads_table(self, x):
    return x * TABLE["first"] + TABLE["second"][1]


def reads_functions(self, x):
    return FUNCTIONS["relu"](x)


def reads_class(self, x):
    return x * Config.scale


def imports(self, x):
    from tests_of_guards import FACTOR as factor  # noqa: N811 -- what models do

    return x * factor


@pytest.mark.parametrize(
    ("forward", "name", "value"),
    [
        (reads_global, "FACTOR", 3.0),
        (reads_in_a_function, "FACTOR", 3.0),
        (reads_namespace, "SETTINGS", SimpleNamespace(scale=5.0, nested=SimpleNamespace(offset=0.5))),
        (reads_table, "TABLE", {"first": 1.0, "second": [2.0, 4.0]}),
        (reads_functions, "FUNCTIONS", {"relu": F.gelu}),
    ],
)
def test_globals_are_read_again(monkeypatch, forward, name, value):
    model = model_of(forward)
    expected = model(X)
    changed(model, X)
    assert torch.equal(model(X), expected)
    assert took_new(model, X)
    monkeypatch.setattr(sys.modules[__name__], name, value)
    expected = forward(model, X)
    assert torch.equal(model(X), expected)
    assert not took_new(model, X)


def test_what_a_global_holds_is_read_again(monkeypatch):
    first, second = model_of(reads_namespace), model_of(reads_table)
    changed(first, X)
    changed(second, X)
    monkeypatch.setattr(SETTINGS.nested, "offset", 1.5)
    monkeypatch.setitem(TABLE, "second", [2.0, 5.0])
    assert torch.equal(first(X), X * 2 + 1.5)
    assert torch.equal(second(X), X + 5)


def test_attributes_of_global_classes_are_read_again(monkeypatch):
    model = model_of(reads_class)
    changed(model, X)
    monkeypatch.setattr(Config, "scale", 4.0)
    assert torch.equal(model(X), X * 4)


def test_imports_within_a_function_are_read_again(monkeypatch, tmp_path):
    (tmp_path / "tests_of_guards.py").write_text("FACTOR = 2.0\n")
    monkeypatch.syspath_prepend(tmp_path)
    model = model_of(imports)
    changed(model, X)
    assert torch.equal(model(X), X * 2)
    monkeypatch.setattr(sys.modules["tests_of_guards"], "FACTOR", 3.0)
    assert torch.equal(model(X), X * 3)
    del sys.modules["tests_of_guards"]


def test_what_a_closure_holds_is_read_again():
    switches = {"double": True}

    def forward(self, x):
        return x * 2 if switches["double"] else x

    model = model_of(forward)
    changed(model, X)
    assert torch.equal(model(X), X * 2)
    switches["double"] = False
    assert torch.equal(model(X), X)


def test_pickled_guards_look_at_the_module_they_name(monkeypatch):
    model = Pickled().eval()
    changed(model, X)
    again = pickle.loads(pickle.dumps(model))
    assert took_new(again, X)
    monkeypatch.setattr(sys.modules[__name__], "FACTOR", 3.0)
    assert torch.equal(again(X), X * 3)


class Pickled(nn.Module):
    def __init__(self):
        super().__init__()
        self.config = Config()

    def forward(self, x):
        return x * FACTOR if self.config.flag else x


def test_what_cannot_be_pickled_does_not_keep_a_model_from_it(monkeypatch):
    table = {"double": lambda x: x * 2}
    monkeypatch.setattr(sys.modules[__name__], "FUNCTIONS", table)
    model = Tabular().eval()
    changed(model, X)
    assert took_new(copy.deepcopy(model), X)
    again = pickle.loads(pickle.dumps(model))
    assert torch.equal(again(X), X * 2)
    assert not took_new(again, X)


class Tabular(nn.Module):
    def forward(self, x):
        return FUNCTIONS["double"](x)


# -- what cannot be guarded --------------------------------------------------------------------------------------------------------


def counts(self, x):
    global COUNTER  # noqa: PLW0603 -- what models do
    COUNTER += 1
    return x * COUNTER


def draws(self, x):
    return x * 2 if random.random() < 2 else x


def draws_with_numpy(self, x):
    return x * 2 if np.random.rand() < 2 else x  # noqa: NPY002 -- as above


def appends(self, x):
    self.history.append(1)
    return x * 2


def writes_config(self, x):
    self.config.flag = False
    return x


def reads_dict(self, x):
    return x * self.__dict__["gain"]


def walks(self, x):
    return x * next(self.numbers)


def many(self, x):
    return x * self.numbers[3]


def catches(self, x):
    try:
        return x * 2 if x.sum() > 0 else x
    except Exception:  # noqa: BLE001 -- what models do
        return x


def array(self, x):
    return x * float(self.numbers[0])


def time_of_day(self, x):
    import time

    return x * 2 if time.time() > 0 else x


def environment(self, x):
    import os

    return x * 2 if os.environ.get("HOME") else x


@pytest.mark.parametrize(
    ("forward", "attributes", "reason"),
    [
        (counts, {}, "may write COUNTER, which is global, while it runs"),
        (draws, {}, "draws random numbers from Python or numpy"),
        (draws_with_numpy, {}, "draws random numbers from Python or numpy"),
        (appends, {"history": []}, "changes a list that it keeps while it runs"),
        (writes_config, {"config": Config()}, "writes flag of a Config while it runs"),
        (reads_dict, {"gain": 2.0}, "looks into __dict__ of a Model"),
        (walks, {"numbers": iter([1, 2, 3])}, "reads a list_iterator, whose values may change (self.numbers)"),
        (many, {"numbers": list(range(1000))}, "reads a list of 201 entries, too many to be compared on every call (self.numbers)"),
        (catches, {}, "decides by the values of a tensor"),
        (array, {"numbers": np.ones(3)}, "reads a ndarray, whose values may change (self.numbers)"),
        (time_of_day, {}, "asks what time it is"),
        (environment, {}, "reads variables of the environment"),
    ],
    ids=lambda each: getattr(each, "__name__", None) or "-",
)
def test_what_no_guard_can_hold_is_refused(forward, attributes, reason):
    model = model_of(forward, **attributes)
    refused = []
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002 -- as above
    assert [each.name for each in local_graphs(model, given(X), refused) if not each.name] == []
    assert [each.reason.rpartition(": ")[2] for each in refused if not each.name] == [reason]


# -- identity ----------------------------------------------------------------------------------------------------------------------


def half_is(self, x):
    return x * 3 if x.dtype is torch.float16 else x * 2


def half_is_not(self, x):
    dtype = x.dtype
    return x * 2 if dtype is not torch.float16 else x * 3


def half_within(self, x):
    y = self.layer(x)
    return y.clamp(-1, 1) if y.dtype == torch.float16 else y


def same(self, x, y):
    return x * 2 if x is y else x * 3


def exact_type(self, x):
    return x * 2 if type(x) is torch.Tensor else x * 3


def tuple_type(self, x):
    return x[0] if type(x) in (tuple, list) else x * 3


@pytest.mark.parametrize("forward", [half_is, half_is_not])
def test_identity_of_dtypes_is_asked_again(forward):
    model = model_of(forward)
    plain = copy.deepcopy(model)
    changed(model, X)
    assert took_new(model, X)
    assert torch.equal(model.half()(X.half()), plain.half()(X.half()))


def test_whether_arguments_are_one_is_asked_again():
    model = model_of(same)
    other = X + 1
    changed(model, X, other)
    assert took_new(model, X, other)
    assert torch.equal(model(X, X), X * 2)


@pytest.mark.parametrize(
    ("forward", "args", "reason"),
    [(same, (X, X), "asks x is y"), (exact_type, (X,), "asks type(x) is torch.Tensor")],
)
def test_questions_that_stand_ins_answer_wrongly_are_refused(forward, args, reason):
    refused = []
    assert list(local_graphs(model_of(forward), given(*args), refused)) == []
    assert [each.reason.rpartition(": ")[2] for each in refused] == [reason]


def test_questions_that_come_out_the_same_are_no_trouble():
    model = model_of(tuple_type)
    changed(model, X)
    assert took_new(model, X)
    assert torch.equal(model(X), X * 3)
    assert torch.equal(model((X, X)), X)


class Embedded(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(5, 4)

    def forward(self, x):
        y = self.embedding(x)
        return y * 3 if y.dtype == torch.float16 else y * 2


def test_dtypes_of_what_is_computed_hang_on_parameters_as_well():
    model = Embedded().eval()
    plain, tokens = copy.deepcopy(model), torch.tensor([1, 2, 3])
    changed(model, tokens)
    assert took_new(model, tokens)
    assert torch.equal(model.half()(tokens), plain.half()(tokens))
