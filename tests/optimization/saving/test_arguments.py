import json
from dataclasses import dataclass

import pytest
import torch
from torch import nn

import normadvisor
from normadvisor.errors import UsageError
from normadvisor.optimization.saving.arguments import described, made

X = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def test_arguments_as_plain_data_and_back():
    args = ([torch.zeros(2, 3), torch.ones(4, dtype=torch.bool)], None, (1, 2.5, "fast", True))
    description = described(args, {"batch": {"ids": torch.zeros(2, 5, dtype=torch.int64)}})
    assert description == {
        "args": [
            {"list": [{"tensor": [2, 3], "dtype": "float32"}, {"tensor": [4], "dtype": "bool"}]},
            None,
            {"tuple": [1, 2.5, "fast", True]},
        ],
        "kwargs": {"batch": {"dict": {"ids": {"tensor": [2, 5], "dtype": "int64"}}}},
    }
    back, named = made(json.loads(json.dumps(description)))
    assert described(back, named) == description
    assert back[1:] == args[1:]
    assert named["batch"]["ids"].eq(1).all()
    assert back[0][0].std() > 0


@pytest.mark.parametrize("value", [object(), {1: X}, {"a", "b"}, torch.Size([2])])
def test_other_values_are_not_described(value):
    assert described((X, value), {}) is None


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.complex64])
def test_numbers_of_every_kind_are_drawn(dtype):
    ((tensor,), _) = made({"args": [{"tensor": [3, 4], "dtype": str(dtype).removeprefix("torch.")}], "kwargs": {}})
    assert tensor.dtype == dtype
    assert tensor.abs().float().std() > 0


@dataclass
class Batch:
    image: torch.Tensor


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.bn = nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8)

    def forward(self, batch):
        image = batch.image if isinstance(batch, Batch) else batch["image"]
        return {"maps": self.bn(self.conv(image))}


class Detector(Net):
    def forward(self, images, boxes=None):
        return [self.bn(self.conv(image[None])) for image in images]


@pytest.mark.usefixtures("operation_clock")
@pytest.mark.parametrize(
    ("kind", "inputs", "call"),
    [
        (Net, ({"image": X},), ({"image": X},)),
        (Net, {"batch": {"image": X}}, ({"image": X},)),
        (Detector, ([X[0], X[1, :, :5]],), ([X[0]],)),
        (Detector, "[3x8x8, 3x5x8]", ([X[0]],)),
    ],
)
def test_a_file_is_loaded_without_inputs(tmp_path, kind, inputs, call):
    result = normadvisor.optimize(kind(), inputs, rules=("NA701",), cache=False)
    assert isinstance(result.model.bn, nn.Identity)
    result.save(tmp_path / "net.pt")
    loaded = normadvisor.load_optimized(kind(), tmp_path / "net.pt")
    torch.testing.assert_close(loaded(*call), result.model(*call), rtol=0, atol=0)


@pytest.mark.usefixtures("operation_clock")
def test_inputs_of_another_kind_are_asked_for(tmp_path):
    result = normadvisor.optimize(Net(), (Batch(X),), rules=("NA701",), cache=False)
    result.save(tmp_path / "net.pt")
    with pytest.raises(UsageError) as refusal:
        normadvisor.load_optimized(Net(), tmp_path / "net.pt")
    assert refusal.value.message == f"{tmp_path / 'net.pt'} does not say what inputs the model was optimized with"
    assert refusal.value.hint == "pass some of the same shapes: load_optimized(model, file, inputs)"
    loaded = normadvisor.load_optimized(Net(), tmp_path / "net.pt", (Batch(X),))
    torch.testing.assert_close(loaded(Batch(X)), result.model(Batch(X)), rtol=0, atol=0)
