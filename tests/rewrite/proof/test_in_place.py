"""Models whose own backward pass fails, since operations in place overwrite what it needs."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from normadvisor.rewrite.keys import KeyMap
from normadvisor.rewrite.proof import prove
from normadvisor.targets.inputs import Inputs

ROWS = Inputs((torch.zeros(2, 3),))


class Methods(nn.Module):
    def __init__(self, steps: tuple[str, ...]) -> None:
        super().__init__()
        self.fc, self.steps = nn.Linear(3, 5), steps

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.fc(x).sigmoid()
        for step in self.steps:
            x = getattr(x, step)()
        x += 1
        return x


class Functions(nn.Module):
    def __init__(self, times: int) -> None:
        super().__init__()
        self.fc, self.times = nn.Linear(3, 5), times

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.fc(x).sigmoid()
        for _ in range(self.times):
            x = nn.functional.relu(x, inplace=True)
        return x


def _layers(count: int) -> nn.Module:
    return nn.Sequential(nn.Linear(3, 5), nn.Sigmoid(), *(nn.ReLU(inplace=True) for _ in range(count)))


@pytest.mark.parametrize(
    ("original", "changed"),
    [(_layers(2), _layers(1)), (Methods(("relu_", "relu_")), Methods(("relu",))), (Functions(2), Functions(1))],
)
def test_a_model_that_cannot_be_trained_is_compared_without_operations_in_place(original: nn.Module, changed: nn.Module) -> None:
    proof = prove(original, changed, ROWS)
    assert str(proof) == (
        "outputs and buffers, and gradients with operations in place switched off (the original has none with them), equal in float64, "
        "train and eval, 3 draws, worst 0e+00"
    )


def test_its_values_count_as_those_of_others_do() -> None:
    proof = prove(_layers(2), nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.ReLU()), ROWS)
    assert not proof.equal
    assert proof.provable
    assert proof.reason.startswith("the output 0 differs by")


class Overwriting(nn.Module):
    """Reads by one name what was overwritten by another, which new tensors would not show."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self.fc, self.times = nn.Linear(3, 5), times

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.fc(x)
        held = x = x.sigmoid()
        for _ in range(self.times):
            x = x.neg_()
        return x * held


def test_values_alone_are_compared_where_new_tensors_give_others() -> None:
    proof = prove(Overwriting(3), Overwriting(1), ROWS)
    assert str(proof).startswith("outputs and buffers (the backward pass of the original fails) equal in float64")


def test_reasons_are_whole_sentences() -> None:
    class Failing(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            raise ValueError(
                "The first sentence says what is wrong with the inputs. " + "The second is very long: " + 60 * "word " + "end."
            )

    proof = prove(Failing(), nn.Identity(), ROWS)
    assert proof.reason == (
        "equality cannot be proven: forward of the original fails in train mode: ValueError: "
        "The first sentence says what is wrong with the inputs."
    )


def test_lazy_layers_get_their_shapes_first() -> None:
    from normadvisor.graph import trace
    from normadvisor.rewrite.proof import align

    def build() -> nn.Module:
        return nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.LazyLinear(4))

    model = build()
    graph = trace(build(), ROWS, target="net", sites={})
    keys = align(model, build(), [], graph)
    assert keys == KeyMap()
    assert prove(model, build(), ROWS, keys).equal
