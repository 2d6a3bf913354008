import copy
import io
import operator
import pickle
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from normadvisor.graph import trace
from normadvisor.optimization.forward import find, install, local_graphs, replace
from normadvisor.rewrite.model.journal import Journal
from normadvisor.rewrite.model.refusal import CannotChange


def given(*args, **kwargs):
    return SimpleNamespace(args=args, kwargs=kwargs)


class Gate(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 4)
        self.threshold = 0.5

    def forward(self, x, factor=2.0, *, extra=None, **named):
        y = self.layer(x)
        y = y * torch.sigmoid(y) * factor
        if self.training:
            y = y + 1
        if extra is not None:
            y = y + extra
        return y + self.threshold


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = Gate(), Gate()

    def forward(self, x):
        return self.second(self.first(x))


def to_silu(graph, module):
    """``y * sigmoid(y)`` becomes ``F.silu(y)``."""
    product = find(graph, "mul")
    with graph.inserting_before(product):
        new = graph.call_function(F.silu, (find(graph, "layer"),))
    replace(graph, product, new)


def changed(model, name="first", edit=to_silu, inputs=None, journal=None):
    local = next(each for each in local_graphs(model, inputs or given(torch.randn(3, 4))) if each.name == name)
    install(model, name, edit, local, journal or Journal())
    return local


@pytest.fixture
def model():
    torch.manual_seed(0)
    return Model().eval()


@pytest.fixture
def x():
    return torch.randn(3, 4, generator=torch.Generator().manual_seed(1))


def count(model, x, name="silu"):
    """How often a function is called."""
    counted = []

    class Mode(torch.overrides.TorchFunctionMode):
        def __torch_function__(self, func, types, args=(), kwargs=None):
            counted.append(getattr(func, "__name__", ""))
            return func(*args, **(kwargs or {}))

    with Mode():
        model(x)
    return counted.count(name)


def test_the_module_stays_what_it_was_but_for_its_forward(model, x):
    expected, first, keys = model(x), model.first, list(model.state_dict())
    changed(model)
    torch.testing.assert_close(model(x), expected)
    assert (count(model, x), count(model, x, "sigmoid")) == (1, 1)
    assert model.first is first
    assert isinstance(first, Gate)
    assert list(model.state_dict()) == keys
    assert repr(model) == repr(Model())
    assert type(model.second) is Gate


def test_the_forward_can_be_read(model):
    changed(model)
    assert type(model.first)._normadvisor_text.source == (
        "def forward(self, x, factor=2.0, *, extra=None, **named):\n"
        "    if not (isinstance(x, _tensors) and type(factor) is float and factor == 2.0 and extra is None and not named"
        " and self.training is False and type(self.threshold) is float and self.threshold == 0.5):\n"
        "        return _original(self, x, factor, extra=extra, **named)\n"
        "    layer = self.layer(x);  x = None\n"
        "    silu = torch.nn.functional.silu(layer);  layer = None\n"
        "    mul_1 = silu * 2.0;  silu = None\n"
        "    add = mul_1 + 0.5;  mul_1 = None\n"
        "    return add\n"
    )


def test_where_a_guard_does_not_hold_the_original_runs(model, x):
    plain = copy.deepcopy(model)
    changed(model)
    for module in (model.first, plain.first):
        module.threshold = 0.25
    assert torch.equal(model(x), plain(x))
    assert count(model, x) == 0
    for module in (model.first, plain.first):
        module.threshold = 0.5
    assert count(model, x) == 1
    assert torch.equal(model.first(x, 3.0), plain.first(x, 3.0))
    assert torch.equal(model.first(x, extra=x), plain.first(x, extra=x))
    assert torch.equal(model.first(x, other=1), plain.first(x, other=1))
    assert torch.equal(model.train()(x), plain.train()(x))
    assert count(model, x) == 0


def test_undo_restores_the_class(model, x):
    expected, journal = model(x), Journal()
    changed(model, journal=journal)
    journal.undo()
    assert type(model.first) is Gate
    assert torch.equal(model(x), expected)


def test_other_shapes_need_no_other_code(model):
    changed(model)
    assert [count(model, torch.randn(*shape)) for shape in ((1, 4), (7, 4), (2, 3, 4), (4,))] == [1, 1, 1, 1]


def test_a_graph_of_one_model_changes_a_copy_in_another_dtype(model, x):
    local = next(each for each in local_graphs(model, given(x)) if each.name == "first")
    double = copy.deepcopy(model).double()
    expected = double(x.double())
    install(double, "first", to_silu, local, Journal())
    torch.testing.assert_close(double(x.double()), expected, rtol=1e-14, atol=1e-14)
    assert count(double, x.double()) == 1
    assert type(model.first) is Gate


def test_equal_modules_share_a_class(model):
    locals_ = {each.name: each for each in local_graphs(model, given(torch.randn(3, 4)))}
    for name in ("first", "second"):
        install(model, name, to_silu, locals_[name], Journal())
    assert type(model.first) is type(model.second)


def shifted(graph, module):
    """Adds one more at the end."""
    last = find(graph, "add")
    with graph.inserting_after(last):
        new = graph.call_function(operator.add, (last, 1.0))
    last.replace_all_uses_with(new, delete_user_cb=lambda user: user is not new)


def test_edits_build_upon_one_another(model, x):
    expected = model.first(x) + 1
    local = changed(model)
    install(model, "first", shifted, local, Journal())
    torch.testing.assert_close(model.first(x), expected)
    assert count(model.first, x) == 1
    with pytest.raises(CannotChange, match="sigmoid is no part of the forward any more"):
        install(model, "first", lambda graph, _: find(graph, "sigmoid"), local, Journal())
    torch.testing.assert_close(model.first(x), expected)


def test_a_changed_module_can_be_traced_and_changed_again(model, x):
    expected = model.first(x) + 1
    changed(model)
    journal = Journal()
    once = type(model.first)
    changed(model, edit=shifted, journal=journal)
    torch.testing.assert_close(model.first(x), expected)
    assert count(model.first, x) == 1
    again = pickle.loads(pickle.dumps(model))
    torch.testing.assert_close(again.first(x), expected)
    journal.undo()
    assert type(model.first) is once


def test_copies_and_pickles_have_the_same_forward(model, x):
    changed(model)
    expected = model(x)
    saved = io.BytesIO()
    torch.save(model, saved)
    saved.seek(0)
    for other in (copy.deepcopy(model), copy.copy(model), pickle.loads(pickle.dumps(model)), torch.load(saved, weights_only=False)):
        assert type(other.first) is type(model.first)
        assert torch.equal(other(x), expected)
    assert copy.deepcopy(model).first.layer.weight is not model.first.layer.weight


def test_a_model_that_was_pickled_is_read_by_another_process(model, x, tmp_path):
    import subprocess
    import sys

    holder = nn.Sequential(nn.Linear(4, 4), Named())
    changed(holder, name="1", edit=lambda graph, _: None, inputs=given(x))
    source = "import pickle, sys; model = pickle.load(open(sys.argv[1], 'rb')); print(type(model[1])._normadvisor_base.__name__)"
    (tmp_path / "named.py").write_text("from torch import nn\n\n\nclass Named(nn.Module):\n    def forward(self, x):\n        return x * 2\n")
    type(holder[1])._normadvisor_base.__module__ = "named"
    sys.modules["named"] = SimpleNamespace(Named=Named)
    try:
        (tmp_path / "model.pickle").write_bytes(pickle.dumps(holder))
    finally:
        del sys.modules["named"]
    result = subprocess.run([sys.executable, "-c", source, "model.pickle"], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert result.stdout == "Named\n"


class Named(nn.Module):
    def forward(self, x):
        return x * 2


@pytest.mark.filterwarnings("ignore:Guards may run slower:RuntimeWarning")
def test_it_compiles_in_one_graph_and_exports(model, x):
    changed(model)
    expected = model(x)
    compiled = torch.compile(copy.deepcopy(model), backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(x), expected)
    exported = torch.export.export(model, (x,))
    torch.testing.assert_close(exported.module()(x), expected)
    assert [str(node.target) for node in exported.graph.nodes if "silu" in str(node.target)] == ["aten.silu.default"]


def test_torch_fx_traces_the_new_forward(model, x):
    changed(model)
    names = [node.name for node in torch.fx.symbolic_trace(model).graph.nodes]
    assert [name for name in names if name in {"silu", "sigmoid", "sigmoid_1"}] == ["silu", "sigmoid"]
    graph = trace(model, SimpleNamespace(args=(x,), kwargs={}, given=True), target="model", sites={}, mode="eval")
    assert [node.op for node in graph.nodes if node.op in {"silu", "sigmoid"}] == ["silu", "sigmoid"]


def test_hooks_run_and_gradients_flow(x):
    torch.manual_seed(0)
    model, plain, seen = Model(), Model(), []
    plain.load_state_dict(model.state_dict())
    model.first.register_forward_hook(lambda module, args, result: seen.append("after"))
    model.first.register_forward_pre_hook(lambda module, args: seen.append("before"))
    changed(model)
    seen.clear()
    model(x).sum().backward()
    plain(x).sum().backward()
    assert seen == ["before", "after"]
    for own, other in zip(model.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(own.grad, other.grad)


def test_demands_are_checked_beside_the_guards(model, x):
    local = next(each for each in local_graphs(model, given(x)) if each.name == "first")
    install(model, "first", to_silu, local, Journal(), demands=("x.shape[0] == 3",))
    assert [count(model, x), count(model, torch.randn(2, 4))] == [1, 0]


class WithSelf(nn.Module):
    def __init__(self):
        super().__init__()
        self.self = nn.Linear(4, 4)
        self.x = nn.Linear(4, 4)

    def forward(self, x):
        return self.x(self.self(x))


def test_names_of_children_do_not_hide_arguments(x):
    model = WithSelf()
    expected = model(x)
    changed(model, name="", edit=lambda graph, _: None)
    assert torch.equal(model(x), expected)


def add_layer(graph, module):
    last = find(graph, "add")
    with graph.inserting_before(last):
        new = graph.call_function(F.linear, (last.args[0], graph.get_attr("layer.weight")))
    last.args = (new, *last.args[1:])


def test_an_edit_may_read_parameters_and_hand_over_layers(model, x):
    y = model.first.layer(x)
    expected = F.linear(F.silu(y) * 2, model.first.layer.weight) + 0.5
    changed(model, edit=add_layer)
    torch.testing.assert_close(model.first(x), expected)


@pytest.mark.parametrize(
    ("prepare", "reason"),
    [
        (lambda model: setattr(model, "first", nn.Linear(4, 4)), "first is a Linear, and its forward is not the one that was traced"),
        (lambda model: delattr(model, "first"), "the model has no layer first"),
        (lambda model: model.first.compile(backend="eager"), "first is compiled; change the model before it is compiled"),
        (
            lambda model: setattr(model.first, "forward", lambda x: x),
            "first has a forward of its own beside that of its class",
        ),
    ],
)
def test_what_is_not_what_was_traced_is_refused(model, x, prepare, reason):
    local = next(each for each in local_graphs(model, given(x)) if each.name == "first")
    prepare(model)
    with pytest.raises(CannotChange) as refused:
        install(model, "first", to_silu, local, Journal())
    assert refused.value.reason == reason


def test_ints_lists_and_flags_of_children_come_through(x):
    class Child(nn.Module):
        def forward(self, x):
            return [x + 1, {"twice": x * 2}, x.shape[0], None]

    class Parent(nn.Module):
        def __init__(self):
            super().__init__()
            self.child = Child()

        def forward(self, x):
            more, twice, count, nothing = self.child(x)
            assert nothing is None
            return more + twice["twice"] * count

    model = Parent()
    expected = model(x)
    changed(model, name="", edit=lambda graph, _: None)
    assert torch.equal(model(x), expected)
    assert "_normadvisor_text" in vars(type(model))
