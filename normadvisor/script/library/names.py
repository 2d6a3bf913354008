"""Dotted names as handlers are registered under them."""

from __future__ import annotations

import re
from functools import lru_cache

from normadvisor.script.project.externals import external_name

__all__ = ["canonical", "last"]

_FSDP = "FullyShardedDataParallel"
_PATTERNS = (
    (re.compile(r"^torch\.nn\.parallel\.(?:scatter_gather)\.(\w+)$"), r"torch.nn.\1"),
    (re.compile(r"^torch\.distributed\.fsdp\.(?:fully_sharded_data_parallel\.\w+|FSDP)$"), f"torch.distributed.fsdp.{_FSDP}"),
    (re.compile(r"^torch\.serialization\.load$"), "torch.load"),
    (re.compile(r"^timm\.models\.(?:_?registry|_?factory|helpers)\.create_model$"), "timm.create_model"),
    (re.compile(r"^timm\.models\.create_model$"), "timm.create_model"),
    (re.compile(r"^timm\.utils\.(?:model_ema\.)?(ModelEma\w*)$"), r"timm.utils.\1"),
    (re.compile(r"^(?:lightning_fabric\.|lightning\.fabric\.)Fabric$"), "lightning.Fabric"),
    (re.compile(r"^builtins\.(\w+)$"), r"\1"),
)


@lru_cache(maxsize=4096)
def canonical(name: str) -> str:
    """The public spelling of a dotted name: ``torch.nn.BatchNorm2d`` for ``torch.nn.modules.batchnorm.BatchNorm2d``."""
    name = external_name(name)
    for pattern, replacement in _PATTERNS:
        replaced, count = pattern.subn(replacement, name)
        if count:
            return replaced
    return name


def last(name: str) -> str:
    """The part of a dotted name after the last dot."""
    return name.rpartition(".")[2]
