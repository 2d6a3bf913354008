"""Gradient norms of the models that the overhead is measured on, against float64."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from normadvisor.probe.recording.recorder import Recorder

_Loss = Callable[[nn.Module, torch.dtype], torch.Tensor]


def _images(batch: int, size: int) -> _Loss:
    images = torch.randn(batch, 3, size, size)
    return lambda model, dtype: F.cross_entropy(model(images.to(dtype)), torch.arange(batch))


def _resnet50() -> tuple[nn.Module, _Loss]:
    return pytest.importorskip("torchvision").models.resnet50(), _images(4, 64)


def _vit_s() -> tuple[nn.Module, _Loss]:
    return pytest.importorskip("timm").create_model("vit_small_patch16_224"), _images(1, 224)


def _gpt2() -> tuple[nn.Module, _Loss]:
    transformers = pytest.importorskip("transformers")
    config = transformers.GPT2Config(n_layer=6, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0)
    words = torch.randint(0, 50257, (1, 16))
    return transformers.GPT2LMHeadModel(config), lambda model, _: model(words, labels=words).loss


def _norms(model: nn.Module, layers: list[str]) -> dict[str, Any]:
    found = {}
    for name in layers:
        gradients = [parameter.grad.double() for parameter in model.get_submodule(name).parameters(recurse=False)]
        found[name] = pytest.approx(math.sqrt(sum(float(gradient.square().sum()) for gradient in gradients)), rel=1e-5)
    return found


@pytest.mark.slow
@pytest.mark.parametrize(("build", "layers"), [(_resnet50, 107), (_vit_s, 76), (_gpt2, 39)], ids=["resnet50", "vit_s", "gpt2"])
def test_gradient_norms_agree_with_float64(build: Callable[[], tuple[nn.Module, _Loss]], layers: int):
    model, loss = build()
    double = copy.deepcopy(model).double()
    with Recorder(model) as recorder:
        recorder.begin_step()
        loss(model, torch.float32).backward()
        recorder.after_backward()
        recorder.end_step()
    found = {name: numbers["grad_norm"] for name, numbers in recorder.last().items() if "grad_norm" in numbers}
    assert len(found) == layers
    assert found == _norms(model, list(found))
    if build is not _resnet50:
        # That of a ResNet in float32 differs from the one in float64 by more, as BatchNorm on few samples magnifies rounding.
        loss(double, torch.float64).backward()
        assert found == _norms(double, list(found))
    assert recorder.notes == ()
