from __future__ import annotations

from importlib.util import find_spec

import pytest
import torch

from normadvisor.errors import TargetError
from normadvisor.targets.build import build
from normadvisor.targets.load import load
from normadvisor.targets.parse import parse_target


@pytest.fixture
def built(tmp_path, write):
    def make(text, target="model.py:Net"):
        write("model.py", "import torch\nfrom torch import nn\n\n" + text)
        return build(load(parse_target(target, tmp_path)))

    return make


NET = """class Net(nn.Module):
    def __init__(self, width=3):
        super().__init__()
        self.a = nn.Linear(width, width)
"""


def test_on_meta_in_train_mode_with_the_given_arguments(built):
    found = built(NET, "model.py:Net(width=1000000)")
    assert (found.model.a.weight.shape, found.model.a.weight.device.type) == ((1000000, 1000000), "meta")
    assert (found.on_meta, found.model.training, found.notes) == (True, True, [])


def test_an_instance_is_taken_as_it_is(built):
    found = built(NET + "net = Net(5).eval()\n", "model.py:net")
    assert (found.model.a.in_features, found.model.training, found.on_meta) == (5, True, True)


def test_constructors_that_read_values_keep_their_weights_off_memory(built):
    found = built(
        NET + "        widths = torch.linspace(1, 2e4, 3).int().tolist()\n        self.b = nn.Linear(widths[2], widths[2])\n"
        "        self.register_buffer('scale', torch.ones(widths[0]))\n"
    )
    assert (found.on_meta, found.model.b.weight.shape, found.model.scale.is_meta) == (True, (20000, 20000), True)


def test_constructors_that_read_weights_get_real_memory(built):
    found = built(NET + "        self.norm = self.a.weight.norm().item()\n")
    assert (found.on_meta, found.notes) == (False, ["built in real memory, because its constructor reads values of its tensors"])


def test_tied_parameters_stay_tied(built):
    found = built(
        NET + "        torch.linspace(0, 1, 2).tolist()\n        self.b = nn.Linear(width, width)\n        self.b.weight = self.a.weight\n"
    )
    assert found.model.a.weight is found.model.b.weight


def test_default_dtype_is_restored(built):
    built(NET + "        torch.set_default_dtype(torch.float64)\n")
    assert torch.get_default_dtype() is torch.float32


@pytest.mark.parametrize(
    ("text", "target", "words"),
    [
        (NET.replace("width=3", "width, *, depth, bias=True"), "model.py:Net", "model.py:4:1: Net cannot be built without the arguments width, depth (say model.py:Net(width=..., depth=...)"),
        (NET.replace("width=3", "width, depth"), "model.py:Net(3)", "cannot be built without the argument depth (say model.py:Net(3, depth=...)"),
        (NET, "model.py:Net(3, 4)", "cannot be called like this: too many positional arguments"),
        (NET, "model.py:Net(wdth=4)", "model.py:4:1: Net has no argument 'wdth' (did you mean width=4?)"),
        (NET, "model.py:Net(other=4)", "Net has no argument 'other' (it takes Net(width=3))"),
        (NET + "        raise ValueError('no')\n", "model.py:Net", "model.py:8:9: building model.py:Net raised ValueError: no"),
        (NET + "        raise SystemExit(1)\n", "model.py:Net", "building model.py:Net called sys.exit(1)"),
        (NET + "        import not_there\n", "model.py:Net", "building model.py:Net needs 'not_there', which is not installed"),
        (NET + "def make(): return Net(), 3\n", "model.py:make", "make(...) returned a tuple of 2 (Net, int), not a torch.nn.Module (write a factory"),
        (NET + "def make(): pass\n", "model.py:make", "make(...) returned None, not a torch.nn.Module"),
        ("class Net: pass\n", "model.py:Net", "Net is a class, but not a subclass of torch.nn.Module"),
        (NET + "net = Net()\n", "model.py:net(3)", "net is a built module and is not called with arguments (name it without parentheses: model.py:net)"),
    ],
)
def test_errors(built, text, target, words):
    with pytest.raises(TargetError) as caught:
        built(text, target)
    assert words in str(caught.value)


def test_what_does_not_fit_into_memory_says_why(built):
    with pytest.raises(TargetError, match=r"has to be built in real memory, because building reads values .* and does not fit"):
        built("class Net(nn.Module):\n    def __init__(self):\n        super().__init__()\n        torch.empty(2**60).sum().item()\n")


def test_pretrained_weights_are_left_out(from_zoo):
    found = from_zoo("torchvision.models:resnet18(weights='DEFAULT')")
    assert (found.on_meta, found.notes) == (True, ["pretrained weights were left out (1 download not made)"])


def test_regnet_reads_values_and_is_built_on_meta(from_zoo):
    found = from_zoo("torchvision.models:regnet_y_400mf")
    assert (found.on_meta, found.notes) == (True, [])


@pytest.mark.parametrize("target", ["timm:create_model('resnet18', pretrained=True)", "timm.models:resnet18"])
def test_timm(from_zoo, target):
    assert from_zoo(target).on_meta


@pytest.mark.parametrize(
    ("target", "kind", "layers"),
    [
        ("transformers:BertModel", "BertModel", 12),
        ("transformers:BertModel(num_hidden_layers=2)", "BertModel", 2),
        ("transformers:BertConfig(num_hidden_layers=3)", "BertModel", 3),
        ("transformers:AutoModelForMaskedLM('bert', num_hidden_layers=1)", "BertForMaskedLM", 1),
    ],
)
def test_models_with_a_configuration(from_zoo, target, kind, layers):
    found = from_zoo(target)
    assert (type(found.model).__name__, found.model.config.num_hidden_layers, found.on_meta) == (kind, layers, True)


def test_unknown_model_type(from_zoo):
    with pytest.raises(TargetError, match="AutoModel has no model type 'brt'"):
        from_zoo("transformers:AutoModel('brt')")


def test_from_pretrained_is_refused(built):
    if find_spec("transformers") is None:
        pytest.skip("NOT CHECKED: transformers is not installed (extra `zoo`)")
    with pytest.raises(TargetError):
        built("import transformers\ndef make(): return transformers.AutoModel.from_pretrained('bert-base-uncased')\n", "model.py:make")
