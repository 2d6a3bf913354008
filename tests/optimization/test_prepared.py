import pytest
import torch
from torch import nn

from normadvisor.errors import UsageError
from normadvisor.optimization.finders import find
from normadvisor.optimization.prepared import Given, Subject, copied, prepared, traced
from normadvisor.rewrite.model.journal import Journal
from normadvisor.types.optimization import OptimizeOptions


def network():
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))


def subject(model, *args, **kwargs):
    return Subject(model=model, inputs=Given(args or (torch.randn(2, 3, 8, 8),), kwargs), target="net")


def test_for_inference_it_is_a_copy_in_eval_mode():
    model = network()
    base, setting = prepared(subject(model), OptimizeOptions())
    assert (base.training, model.training, base is model) == (False, True, False)
    assert not {id(value) for value in base.parameters()} & {id(value) for value in model.parameters()}
    assert (setting.mode, setting.device, setting.dtype, setting.force) == ("inference", torch.device("cpu"), torch.float32, False)


def test_for_training_layers_stay_in_their_modes():
    model = network()
    model[1].eval()
    base, _ = prepared(subject(model), OptimizeOptions(mode="training"))
    assert [module.training for module in base.modules()] == [True, True, False]


def test_for_training_a_model_in_eval_mode_is_set_to_train():
    base, _ = prepared(subject(network().eval()), OptimizeOptions(mode="training"))
    assert base.training


def test_another_dtype_is_that_of_the_copy_and_of_floating_inputs():
    model = network()
    given = subject(model, torch.randn(2, 3, 8, 8), index=torch.tensor([1]))
    base, setting = prepared(given, OptimizeOptions(dtype="bfloat16"))
    assert {value.dtype for value in base.parameters()} == {torch.bfloat16}
    assert {value.dtype for value in model.parameters()} == {torch.float32}
    assert (setting.dtype, setting.inputs.args[0].dtype, setting.inputs.kwargs["index"].dtype) == (torch.bfloat16, torch.bfloat16, torch.int64)


def test_inputs_keep_their_dtype_where_nothing_is_converted():
    _, setting = prepared(subject(network(), torch.randn(2, 3, 8, 8).double()), OptimizeOptions())
    assert setting.inputs.args[0].dtype is torch.float64


@pytest.mark.filterwarnings("ignore:.*weight_norm.* is deprecated:FutureWarning")
@pytest.mark.parametrize("normalised", [nn.utils.weight_norm, nn.utils.spectral_norm])
@pytest.mark.parametrize("ran", [False, True], ids=["fresh", "ran"])
@pytest.mark.parametrize("mode", ["inference", "training"])
def test_weights_that_are_computed_from_others_are_computed_anew_in_the_copy(normalised, ran, mode):
    model, x = nn.Sequential(normalised(nn.Conv2d(3, 4, 3))).train(mode == "training"), torch.randn(2, 3, 8, 8)
    if ran:
        model(x)
    base, _ = prepared(subject(model), OptimizeOptions(mode=mode))
    for name, value in base.named_parameters():
        value.data.mul_(1.5 if name.endswith("_g") else 1.25)
        model.get_parameter(name).data.copy_(value)
    output, wanted = base(x), model(x)
    assert torch.equal(output, wanted)
    output.sum().backward()
    assert all(value.grad is not None for value in base.parameters())
    assert torch.equal(copied(base)(x), base(x))


class Uncopyable(nn.Module):
    def __deepcopy__(self, memo):
        raise TypeError("a lock cannot be copied")


def meta():
    with torch.device("meta"):
        return network()


@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        (Uncopyable(), {}, "Uncopyable cannot be copied, and is optimized on copies only: TypeError: a lock cannot be copied"),
        (torch.compile(nn.Linear(2, 2)), {}, "the model is compiled"),
        (nn.LazyLinear(2), {}, "the model has lazy layers, whose weights have no shape yet"),
        (meta(), {}, "weights of the model are on the meta device, where they have no values"),
        (network(), {"mode": "training", "dtype": "float16"}, "a model that trains keeps its dtype, which its optimizer relies on"),
    ],
    ids=["uncopyable", "compiled", "lazy", "meta", "dtype"],
)
def test_what_cannot_be_optimized_says_why(model, options, message):
    with pytest.raises(UsageError) as refusal:
        prepared(subject(model), OptimizeOptions(**options))
    assert refusal.value.message == message
    assert refusal.value.hint


def test_a_rewritten_forward_is_followed_as_it_is_now():
    class Swish(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(4, 4)

        def forward(self, x):
            x = self.linear(x)
            return x * torch.sigmoid(x)

    given = subject(Swish().eval(), torch.randn(2, 4))
    base, setting = prepared(given, OptimizeOptions())
    before = [node.op for node in traced(base, given, setting).nodes]
    for candidate in find(base, traced(base, given, setting), setting, "upgrade").candidates:
        candidate.apply(base, Journal())
    after = [node.op for node in traced(base, given, setting).nodes]
    assert (before, after) == (["input", "linear", "sigmoid", "mul", "output"], ["input", "linear", "silu", "output"])
