import json
import sys

import pytest
import torch
from torch import nn

from normadvisor.errors import UsageError
from normadvisor.optimization.folding.state import FoldMap
from normadvisor.optimization.prepared import Given, Subject
from normadvisor.optimization.run import optimize_model
from normadvisor.optimization.saving import SUFFIXES, load, save
from normadvisor.optimization.saving.load import read_plan
from normadvisor.optimization.saving.plan import CannotLoad, Change
from normadvisor.types.optimization import OptimizeOptions

pytestmark = pytest.mark.usefixtures("operation_clock")
X = torch.randn(2, 3, 12, 12, generator=torch.Generator().manual_seed(0))


class Net(nn.Module):
    def __init__(self, width=8):
        super().__init__()
        self.conv = nn.Conv2d(3, width, 3, bias=False)
        self.bn = nn.BatchNorm2d(width)
        self.head = nn.Linear(width, 4)
        self.tied = nn.Linear(width, 4)
        self.tied.weight = self.head.weight

    def forward(self, x):
        x = torch.relu(self.bn(self.conv(x))).mean((2, 3))
        return self.head(x) + self.tied(x)


def network(seed=0, width=8):
    torch.manual_seed(seed)
    model = Net(width)
    nn.init.normal_(model.bn.running_mean)
    nn.init.uniform_(model.bn.running_var, 0.5, 2)
    return model


def subject(model):
    return Subject(model=model, inputs=Given((X,)), target="net.py:Net", spec="2x3x12x12")


def optimized(model, **options):
    return optimize_model(subject(model), OptimizeOptions(rules=("NA701", "NA706"), channels_last="on", **options))




@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
def test_a_fresh_model_is_changed_again_and_gets_the_weights(tmp_path, suffix):
    if suffix == ".safetensors":
        pytest.importorskip("safetensors")
    model = network()
    result = optimized(model)
    save(result, tmp_path / f"net{suffix}")
    fresh = network(seed=1)
    loaded = load(subject(fresh), tmp_path / f"net{suffix}")
    assert torch.equal(loaded(X), result.model(X))
    assert loaded.state_dict().keys() == result.model.state_dict().keys()
    assert loaded.conv.weight.is_contiguous(memory_format=torch.channels_last)
    assert loaded.tied.weight is loaded.head.weight
    assert isinstance(fresh.bn, nn.BatchNorm2d)
    assert not loaded.training


class Normalised(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.bn = nn.utils.weight_norm(nn.Conv2d(3, 8, 3)), nn.BatchNorm2d(8)
        self.last, self.norm = nn.utils.spectral_norm(nn.Conv2d(8, 4, 3)), nn.BatchNorm2d(4)

    def forward(self, x):
        return self.norm(self.last(torch.relu(self.bn(self.conv(x)))))


@pytest.mark.filterwarnings("ignore:.*weight_norm.* is deprecated:FutureWarning")
@pytest.mark.parametrize("mode", ["inference", "training"])
def test_layers_whose_weights_are_computed_at_each_call(tmp_path, mode):
    model = Normalised()
    model(X)
    result = optimized(model, mode=mode)
    assert mode == "training" or torch.allclose(result.model(X), model.eval()(X), atol=1e-5)
    save(result, tmp_path / "net.pt")
    loaded = load(subject(Normalised()), tmp_path / "net.pt")
    assert torch.equal(loaded.eval()(X), result.model.eval()(X))


def test_a_program_needs_no_model(tmp_path):
    result = optimized(network())
    save(result, tmp_path / "net.pt2")
    program = torch.export.load(tmp_path / "net.pt2").module()
    assert torch.allclose(program(X), result.model(X), atol=1e-6)
    assert read_plan(tmp_path / "net.pt2").inputs == "2x3x12x12"
    with pytest.raises(CannotLoad) as refusal:
        load(subject(network()), tmp_path / "net.pt2")
    assert refusal.value.message == f"{tmp_path / 'net.pt2'} holds a program, which needs no model"


def test_the_plan_says_what_was_done(tmp_path):
    pytest.importorskip("safetensors")
    save(optimized(network()), tmp_path / "net.safetensors")
    plan = read_plan(tmp_path / "net.safetensors")
    assert plan.changes == (
        Change(stage="fold", turn=plan.changes[0].turn, rule="NA701", pattern="conv2d + batch_norm", replacement="conv2d", modules=("conv", "bn")),
        Change(
            stage="layout", turn=plan.changes[1].turn, rule="NA706", pattern="contiguous maps", replacement="channels_last maps", modules=("",)
        ),
    )  # fmt: skip
    assert (plan.mode, plan.dtype, plan.inputs, plan.aliases) == ("inference", "float32", "2x3x12x12", {"tied.weight": "head.weight"})


def test_checkpoints_of_the_original_are_carried_over_by_the_file_alone(tmp_path):
    result = optimized(network())
    save(result, tmp_path / "net.pt")
    other = network(seed=5)
    carried = FoldMap.from_dict(read_plan(tmp_path / "net.pt").fold_map).apply(other.state_dict())
    result.model.load_state_dict(carried)
    assert torch.allclose(result.model(X), other.eval()(X), atol=1e-6)


def test_for_training_the_model_itself_is_changed(tmp_path):
    result = optimized(network(), mode="training")
    save(result, tmp_path / "net.pt")
    fresh = network(seed=1)
    parameters = dict(fresh.named_parameters())
    loaded = load(subject(fresh), tmp_path / "net.pt")
    assert loaded is fresh
    assert all(value is parameters[key] for key, value in loaded.named_parameters())
    assert all(torch.equal(value, result.model.state_dict()[key]) for key, value in loaded.state_dict().items())


def test_another_dtype_is_converted_to(tmp_path):
    save(optimized(network(), dtype="bfloat16"), tmp_path / "net.pt")
    assert {value.dtype for value in load(subject(network()), tmp_path / "net.pt").parameters()} == {torch.bfloat16}


def test_a_model_for_training_is_no_program(tmp_path):
    with pytest.raises(UsageError) as refusal:
        save(optimized(network(), mode="training"), tmp_path / "net.pt2")
    assert refusal.value.message == "a model for training is not exported as a program"
    assert list(tmp_path.glob("*net*")) == list(tmp_path.glob(".normadvisor*")) == []


def test_without_safetensors_it_is_said(tmp_path, monkeypatch):
    result = optimized(network())
    monkeypatch.setitem(sys.modules, "safetensors", None)
    monkeypatch.setitem(sys.modules, "safetensors.torch", None)
    with pytest.raises(UsageError, match=r"^safetensors is not installed"):
        save(result, tmp_path / "net.safetensors")
    (tmp_path / "net.safetensors").write_bytes(b"")
    with pytest.raises(CannotLoad, match=r"^safetensors is not installed"):
        read_plan(tmp_path / "net.safetensors")


def test_a_file_is_whole_or_not_there(tmp_path, monkeypatch):
    result = optimized(network())
    path = tmp_path / "net.pt"
    path.write_bytes(b"before")

    def fails(*_args, **_more):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", fails)
    with pytest.raises(UsageError) as refusal:
        save(result, path)
    assert refusal.value.message == f"{path} cannot be written: No space left on device"
    assert (path.read_bytes(), list(tmp_path.glob(".normadvisor*"))) == (b"before", [])


def test_what_is_no_format_is_refused(tmp_path):
    with pytest.raises(UsageError) as refusal:
        save(optimized(network()), tmp_path / "net.onnx")
    assert refusal.value.hint == f"one of {', '.join(SUFFIXES)}"
    with pytest.raises(CannotLoad, match=r"^net\.onnx is no file of an optimized model"):
        load(subject(network()), tmp_path / "net.onnx")


def test_a_model_of_another_kind_is_refused_and_left_alone(tmp_path):
    save(optimized(network()), tmp_path / "net.pt")
    other = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU()).eval()
    with pytest.raises(CannotLoad) as refusal:
        load(subject(other), tmp_path / "net.pt")
    expected = f"{tmp_path / 'net.pt'} was saved with conv2d + batch_norm -> conv2d at conv, which is not possible in this model"
    assert refusal.value.message == expected


def test_weights_of_another_width_are_refused_and_a_model_that_trains_is_put_back(tmp_path):
    save(optimized(network(), mode="training"), tmp_path / "net.pt")
    wider = network(width=16)
    with pytest.raises(CannotLoad) as refusal:
        load(subject(wider), tmp_path / "net.pt")
    assert refusal.value.message.startswith(f"the weights in {tmp_path / 'net.pt'} do not fit the model: RuntimeError: ")
    assert wider.conv.weight.is_contiguous()


class Payload:
    def __reduce__(self):
        return print, ("code ran",)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("content", [b"", b"PK", b"{}", b"\x00" * 64])
def test_a_damaged_file_is_no_model(tmp_path, suffix, content):
    path = tmp_path / f"net{suffix}"
    path.write_bytes(content)
    with pytest.raises(CannotLoad):
        load(subject(network()), path)


def test_a_file_that_holds_code_runs_none(tmp_path, capsys):
    torch.save({"normadvisor": Payload(), "state_dict": {}}, tmp_path / "net.pt")
    with pytest.raises(CannotLoad):
        load(subject(network()), tmp_path / "net.pt")
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("plan", "hint"),
    [
        ("{}", "it was not written by normadvisor optimize --save"),
        (json.dumps({"format": "normadvisor.optimized", "version": 9, "normadvisor": "9.0"}), "install that version"),
        (json.dumps({"format": "normadvisor.optimized", "version": 1}), "it was not written by normadvisor optimize --save"),
        ("[" * 10_000, "it was not written by normadvisor optimize --save"),
    ],
)
def test_a_plan_that_cannot_be_read_is_refused(tmp_path, plan, hint):
    torch.save({"normadvisor": plan, "state_dict": {}}, tmp_path / "net.pt")
    with pytest.raises(CannotLoad) as refusal:
        load(subject(network()), tmp_path / "net.pt")
    assert refusal.value.hint == hint


def test_a_file_that_is_not_there_is_said(tmp_path):
    with pytest.raises(CannotLoad) as refusal:
        load(subject(network()), tmp_path / "net.pt")
    assert refusal.value.message == f"{tmp_path / 'net.pt'} cannot be read: No such file or directory"
