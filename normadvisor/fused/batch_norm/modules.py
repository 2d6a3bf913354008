"""BatchNorm with what is added to it and its activation, as layers."""

from __future__ import annotations

import inspect
import sys
from typing import Any, ClassVar, Self

import torch
import torch.fx
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.lazy import LazyModuleMixin
from torch.nn.utils.parametrize import is_parametrized

from normadvisor.fused.batch_norm.functional import normalize, statistics_of
from normadvisor.fused.batch_norm.plan import Epilogue
from normadvisor.fused.common.activations import DEFAULT_SLOPE, check_activation
from normadvisor.fused.common.in_torch import add_and_activate
from normadvisor.fused.common.triton_support import INTERPRETED

__all__ = ["FusedBatchNormAct1d", "FusedBatchNormAct2d", "FusedBatchNormAct3d"]

# torch.fx records the call instead of following it: what it decides depends on devices and shapes.
torch.fx.wrap("normalize")


class _Configuration:
    """The attribute ``qconfig`` of a layer, that torch.ao sets and nobody else has: its absence says no where it is asked for by name.

    ``SyncBatchNorm.convert_sync_batchnorm`` asks for it on every layer that it is about to replace, and is the only one who is refused.
    """

    _CONVERSION = inspect.unwrap(nn.SyncBatchNorm.convert_sync_batchnorm).__code__

    def __get__(self, layer: _FusedBatchNormAct | None, owner: type[_FusedBatchNormAct]) -> Any:
        if layer is not None and layer.act != "none" and sys._getframe(1).f_code is self._CONVERSION:  # noqa: SLF001 (the caller)
            raise TypeError(f"SyncBatchNorm would lose the activation {layer.act!r} of {owner.__name__}: convert before layers are fused")
        raise AttributeError("qconfig")


class _FusedBatchNormAct(_BatchNorm):
    """What the layers of all dimensions share."""

    qconfig = _Configuration()

    act: str
    negative_slope: float
    _replaces: ClassVar[type[_BatchNorm]]

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,  # noqa: FBT002 (torch's order)
        track_running_stats: bool = True,  # noqa: FBT002 (torch's order)
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
        act: str = "none",
        negative_slope: float = DEFAULT_SLOPE,
    ) -> None:
        super().__init__(num_features, eps, momentum, affine, track_running_stats, device, dtype)
        if not bias:
            self.register_parameter("bias", None)
        self.act = check_activation(act)
        self.negative_slope = negative_slope

    def forward(self, input: Tensor, residual: Tensor | None = None) -> Tensor:  # noqa: A002 (torch's name)
        r"""Normalize (N, C, \\*spatial), add ``residual`` of the same shape, activate."""
        if isinstance(input, Tensor):  # not while torch.fx traces
            if not (input.is_cuda or INTERPRETED):
                return add_and_activate(super().forward(input), residual, self.act, self.negative_slope)
            self._check_input_dim(input)  # type: ignore[no-untyped-call]
        epilogue = Epilogue(eps=self.eps, act=self.act, slope=self.negative_slope)
        return normalize(input, residual, self.weight, self.bias, statistics_of(self), epilogue)

    def extra_repr(self) -> str:
        """As the layer of torch, with the activation."""
        slope = f", negative_slope={self.negative_slope}" if self.act == "leaky_relu" else ""
        own: str = super().extra_repr()  # type: ignore[no-untyped-call]
        return f"{own}, act={self.act}{slope}"

    @classmethod
    def from_module(cls, original: _BatchNorm, act: str = "none", negative_slope: float = DEFAULT_SLOPE) -> Self:
        """Make a layer that shares the parameters and buffers of ``original`` (the same objects), its settings and its mode.

        Args:
            original: a BatchNorm layer of torch of as many dimensions, or of a subclass. An activation that the subclass has is not taken
                over (``act`` says it), nor are hooks.
            act: one of :data:`normadvisor.fused.ACTIVATIONS`.
            negative_slope: of ``leaky_relu``.

        Raises:
            TypeError: ``original`` is no such layer, or computes its parameters (torch.nn.utils.parametrize).
            ValueError: ``act`` is no known activation.

        """
        if not isinstance(original, cls._replaces) or isinstance(original, LazyModuleMixin):
            raise TypeError(f"{cls.__name__} takes the place of {cls._replaces.__name__}, not of {type(original).__name__}")
        if is_parametrized(original):
            raise TypeError(f"the parameters of this {type(original).__name__} are computed: remove its parametrizations first")
        fused = cls(
            original.num_features,
            original.eps,
            original.momentum,
            original.affine,
            original.track_running_stats,
            device="meta",
            act=act,
            negative_slope=negative_slope,
        )
        for name in ("weight", "bias"):
            fused.register_parameter(name, getattr(original, name))
        persistent = original.state_dict(keep_vars=True)
        for name in ("running_mean", "running_var", "num_batches_tracked"):
            fused.register_buffer(name, getattr(original, name), persistent=getattr(original, name) is None or name in persistent)
        return fused.train(original.training)


class FusedBatchNormAct1d(_FusedBatchNormAct, nn.BatchNorm1d):
    """:class:`torch.nn.BatchNorm1d` with an addition and an activation behind it; see :class:`FusedBatchNormAct2d`."""

    _replaces = nn.BatchNorm1d


class FusedBatchNormAct2d(_FusedBatchNormAct, nn.BatchNorm2d):
    """:class:`torch.nn.BatchNorm2d` with an addition and an activation behind it, in one operation.

    Arguments, parameters, buffers and keys of the state dict are those of the layer of torch; beside them ``act``, one of
    :data:`normadvisor.fused.ACTIVATIONS`, and ``negative_slope`` of ``leaky_relu``. ``forward(input, residual=None)`` adds ``residual``
    before the activation. See :func:`normadvisor.fused.batch_norm_act` for where kernels run.

    Statistics over several processes are not fused: convert to SyncBatchNorm first, and fuse what is left.
    ``torch.nn.SyncBatchNorm.convert_sync_batchnorm`` raises ``TypeError`` for a layer with an activation, which it would lose.

    Raises:
        ValueError: ``act`` is no known activation.

    """

    _replaces = nn.BatchNorm2d


class FusedBatchNormAct3d(_FusedBatchNormAct, nn.BatchNorm3d):
    """:class:`torch.nn.BatchNorm3d` with an addition and an activation behind it; see :class:`FusedBatchNormAct2d`."""

    _replaces = nn.BatchNorm3d
