from __future__ import annotations

import copy
import random
import warnings
from collections import OrderedDict, deque

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from normadvisor.errors import TraceError
from normadvisor.graph import trace
from normadvisor.targets.inputs import Inputs
from normadvisor.types import Frame, Location, Site, TraceKind


class Block(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.conv, self.norm, self.act = nn.Conv2d(channels, channels, 3, padding=1), nn.BatchNorm2d(channels), nn.ReLU(inplace=True)
        self.unused, self.chosen = nn.Dropout(0.5), nn.Tanh()
        self.only_eval = nn.Sigmoid()

    def forward(self, x):
        x = self.act(self.norm(self.conv(x)) + x)
        if not self.training:
            x = self.only_eval(x)
        if x.shape[1] > 1000:
            x = self.chosen(x)
        return x


def state_of(model):
    return {
        name: (type(module), module.training, list(module._forward_hooks), list(module._forward_pre_hooks), sorted(vars(module)))
        for name, module in model.named_modules()
    }


@pytest.mark.parametrize("tracer", [TraceKind.SYMBOLIC, TraceKind.EXECUTION])
def test_the_model_is_left_as_it_was(follow, tracer):
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Dropout(), nn.ReLU())
    model[1].eval()
    weights, before = copy.deepcopy(model.state_dict()), state_of(model)
    parameters = dict(model.named_parameters())
    call, rng, plain = nn.Module.__call__, torch.get_rng_state(), random.getstate()
    graph = follow(model, torch.randn(2, 3, 8, 8), tracer=tracer)
    del rng
    assert graph.mode == "train"
    assert state_of(model) == before
    assert all(parameter is parameters[name] for name, parameter in model.named_parameters())
    assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())
    assert nn.Module.__call__ is call
    assert random.getstate() == plain


def test_random_state_is_left_as_it_was(follow):
    x, state = torch.zeros(2, 4), torch.get_rng_state()

    class Noisy(nn.Module):
        def forward(self, x):
            return x * torch.rand(4) * float(torch.rand(1).item())

    follow(Noisy(), x)
    assert torch.equal(torch.get_rng_state(), state)


def test_a_norm_in_eval_mode_is_frozen(follow):
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.BatchNorm2d(4))
    model[1].eval()
    norms = [node for node in follow(model, torch.zeros(2, 3, 4, 4)).nodes if node.op == "batch_norm"]
    assert [(node.training, node.attrs["frozen"]) for node in norms] == [(False, True), (True, False)]


def test_a_train_method_of_the_users_decides(follow):
    class Frozen(nn.Sequential):
        def train(self, mode=True):
            super().train(mode)
            self[1].eval()
            return self

    norm = follow(Frozen(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)), torch.zeros(2, 3, 4, 4)).nodes[2]
    assert norm.attrs["frozen"] is True


def test_a_model_in_eval_mode_is_traced_in_train_mode(follow):
    model = nn.Sequential(nn.BatchNorm2d(3)).eval()
    assert follow(model, torch.zeros(2, 3, 4, 4)).nodes[1].training is True
    assert not model.training


def test_degenerate_norms_do_not_stop_the_trace(follow, ops):
    model = nn.Sequential(nn.Conv2d(3, 4, 4), nn.InstanceNorm2d(4), nn.GroupNorm(4, 4), nn.BatchNorm2d(4), nn.BatchNorm1d(4))
    for tracer in (TraceKind.SYMBOLIC, TraceKind.EXECUTION):
        assert ops(follow(model, torch.zeros(1, 3, 4, 4), tracer=tracer)) == ["conv", "instance_norm", "group_norm", "batch_norm", "batch_norm"]


def test_which_modules_ran_and_which_are_asked_for(follow):
    modules = follow(nn.Sequential(Block(4)), torch.zeros(2, 4, 8, 8)).modules
    told = {name: (module.ran, module.owner_ran, module.referenced) for name, module in modules.items() if name.startswith("0.")}
    assert told == {
        "0.conv": (True, True, True),
        "0.norm": (True, True, True),
        "0.act": (True, True, True),
        "0.unused": (False, True, False),
        "0.chosen": (False, True, True),
        "0.only_eval": (True, True, True),
    }
    assert modules["0.unused"].attrs == {"p": 0.5, "functional": False, "inplace": False}


def test_code_that_reaches_for_children_by_other_means_is_not_judged(follow):
    class Dynamic(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two = nn.ReLU(), nn.Tanh()

        def forward(self, x):
            return getattr(self, "o" + "ne")(x)

    module = follow(Dynamic(), torch.zeros(2, 3)).modules["two"]
    assert (module.ran, module.referenced) == (False, None)


def test_a_shared_module_is_two_nodes(follow):
    class Shared(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear, self.norm = nn.Linear(4, 4), nn.BatchNorm1d(4)

        def forward(self, x):
            return self.norm(self.linear(self.norm(x)))

    graph = follow(Shared(), torch.zeros(2, 4))
    assert [(node.module, node.calls) for node in graph.nodes[1:4]] == [("norm", 2), ("linear", 1), ("norm", 2)]
    assert graph.modules["norm"].calls == 2


def test_parameters_used_by_functions_find_their_module(follow):
    class Functional(nn.Module):
        def __init__(self):
            super().__init__()
            self.bn, self.conv = nn.BatchNorm2d(4, eps=1e-3), nn.Conv2d(3, 4, 3)

        def forward(self, x):
            x = F.conv2d(x, self.conv.weight, self.conv.bias, stride=2)
            return F.batch_norm(x, self.bn.running_mean, self.bn.running_var, self.bn.weight, self.bn.bias, True, 0.2, self.bn.eps)

    for tracer in (TraceKind.SYMBOLIC, TraceKind.EXECUTION):
        graph = follow(Functional(), torch.zeros(2, 3, 9, 9), tracer=tracer)
        conv, norm = [node for node in graph.nodes if node.op in {"conv", "batch_norm"}]
        assert (conv.module, conv.cls, conv.attrs["stride"], conv.attrs["in_channels"], conv.attrs["bias"]) == ("conv", "", [2, 2], 3, True)
        expected = {"num_features": 4, "eps": 1e-3, "momentum": 0.2, "affine": True, "track_running_stats": True, "frozen": False, "requires_grad": True}
        assert (norm.module, norm.inputs, {key: norm.attrs[key] for key in expected}) == ("bn", (conv.index,), expected)
        assert graph.modules["bn"].ran


def test_places_are_carried_over(follow):
    site = Site((Frame(Location("m.py", 3), "Net.__init__"),))

    class Given:
        args, kwargs, given = (torch.zeros(2, 4),), {}, False

    graph = trace(nn.Sequential(nn.Linear(4, 4)), Given(), target="m.py:Net", sites={"0": site}, defined_at=site)
    assert (graph.target, graph.site, graph.modules["0"].site, graph.inputs_given) == ("m.py:Net", site, site, False)


def test_a_graph_without_inputs_has_no_shapes():
    graph = trace(nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU()), None, target="m", sites={})
    assert [(node.op, node.shape, node.inputs) for node in graph.nodes] == [("input", None, ()), ("conv", None, (0,)), ("relu", None, (1,)), ("output", None, (2,))]


def test_wrong_inputs_are_told(follow):
    with pytest.raises(TraceError, match=r"Sequential could not be followed.*to have 3 channels") as error:
        follow(nn.Sequential(nn.Conv2d(3, 4, 1)), torch.zeros(2, 1, 4, 4))
    assert isinstance(error.value.__cause__, RuntimeError)


def test_a_small_image_is_refused_rather_than_traced_in_eval_mode(follow):
    class Auxiliary(nn.Module):
        def __init__(self):
            super().__init__()
            self.pool = nn.AvgPool2d(9)

        def forward(self, x):
            return self.pool(x) if self.training else x

    with pytest.raises(TraceError, match="too small"):
        follow(Auxiliary(), torch.zeros(1, 3, 4, 4), given=False)
    assert follow(Auxiliary(), torch.zeros(1, 3, 4, 4), given=True).mode == "eval"


def test_unet(follow, ops):
    class UNet(nn.Module):
        def __init__(self):
            super().__init__()
            self.down, self.mid, self.up, self.out = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1), nn.ConvTranspose2d(8, 8, 2, 2), nn.Conv2d(16, 2, 1)

        def forward(self, x):
            skip = F.relu(self.down(x))
            y = self.up(F.relu(self.mid(F.max_pool2d(skip, 2))))
            if y.shape != skip.shape:
                y = F.interpolate(y, size=skip.shape[2:], mode="bilinear", align_corners=False)
            return self.out(torch.cat([skip, y], dim=1))

    graph = follow(UNet(), torch.zeros(2, 3, 15, 15))
    assert ops(graph) == ["conv", "relu", "max_pool", "conv", "relu", "conv_transpose", "upsample", "cat", "conv"]
    cat = graph.nodes[8]
    assert (cat.inputs, cat.channel_axis, cat.channel_origin, cat.attrs["dim"]) == ((2, 7), 1, "conv", 1)
    assert graph.nodes[9].reaches_output


def test_yolo_style_heads(follow, ops):
    class Conv(nn.Sequential):
        def __init__(self, i, o, s=1):
            super().__init__(nn.Conv2d(i, o, 3, s, 1, bias=False), nn.BatchNorm2d(o), nn.SiLU(inplace=True))

    class Yolo(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem, self.deep = Conv(3, 8, 2), Conv(8, 8, 2)
            self.heads = nn.ModuleList([nn.Conv2d(8, 12, 1), nn.Conv2d(8, 12, 1)])

        def forward(self, x):
            x = self.stem(x)
            features, outputs = [x, self.deep(x)], []
            for feature, head in zip(features, self.heads, strict=True):
                n, _, h, w = feature.shape
                y = head(feature).view(n, 3, 4, h, w).permute(0, 1, 3, 4, 2).contiguous()
                y = y.sigmoid()
                y[..., :2] = y[..., :2] * 2
                outputs.append(y.view(n, -1, 4))
            return torch.cat(outputs, 1)

    graph = follow(Yolo(), torch.zeros(2, 3, 16, 16))
    assert ops(graph)[:6] == ["conv", "batch_norm", "silu"] * 2
    assert ops(graph).count("sigmoid") == 2
    assert graph.nodes[-2].op == "cat"
    assert len(graph.nodes[-2].inputs) == 2


def test_containers_that_forward_fills_are_as_they_were():
    class Remembering(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(4, 4)
            self.seen = [1]
            self.names = {"a"}
            self.cache = OrderedDict(first=1)
            self.recent = deque([1], maxlen=2)

        def forward(self, values):
            self.seen.append(len(values))
            self.names.add("b")
            self.cache["last"] = values.shape
            self.recent.append(len(values))
            return self.fc(values)

    model = Remembering()
    held = (model.seen, model.names, model.cache, model.recent)
    for tracer in (None, TraceKind.EXECUTION):
        trace(model, Inputs((torch.randn(2, 4),)), target="it", sites={}, tracer=tracer)
        assert (model.seen, model.names, model.cache, model.recent) == ([1], {"a"}, OrderedDict(first=1), deque([1], maxlen=2))
        assert all(one is other for one, other in zip((model.seen, model.names, model.cache, model.recent), held, strict=True))


@pytest.mark.parametrize("scripted", [torch.jit.script, lambda model: torch.jit.trace(model, torch.randn(2, 4))])
def test_scripted_models_are_refused_in_words(scripted):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.jit is deprecated, and in use
        model = scripted(nn.Sequential(nn.Linear(4, 4), nn.ReLU()))
    with pytest.raises(TraceError) as caught:
        trace(model, Inputs((torch.randn(2, 4),)), target="it", sites={})
    assert caught.value.message == "Sequential is scripted, and compiled code cannot be followed"
    assert caught.value.hint == "name the model before it goes to torch.jit.script or torch.jit.trace"


def test_models_with_scripted_parts_are_refused_in_words():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.jit is deprecated, and in use
        part = torch.jit.script(nn.Sequential(nn.Linear(4, 4), nn.ReLU()))
    with pytest.raises(TraceError) as caught:
        trace(nn.Sequential(nn.Linear(4, 4), part), Inputs((torch.randn(2, 4),)), target="it", sites={})
    assert caught.value.message == "the part 1 of the model is scripted, and compiled code cannot be followed"


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(("mode", "runs"), [("train", False), ("eval", True)])
def test_one_mode_alone_is_followed_when_it_is_asked_for(training, mode, runs):
    model = Block(3).train(training)
    before = state_of(model)
    graph = trace(model, Inputs(args=(torch.randn(2, 3, 8, 8),), kwargs={}, spec="", given=True), target="model", sites={}, mode=mode)
    assert (graph.mode, graph.notes, "only_eval" in {node.module for node in graph.nodes}) == (mode, (), runs)
    assert state_of(model) == before
