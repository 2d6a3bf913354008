"""Give all ranks the same weights, and the mean of their gradients, as ``DistributedDataParallel`` does."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from hashlib import sha256
from itertools import chain
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.distributed.tensor import DTensor
from torch.nn.parameter import is_lazy

if TYPE_CHECKING:
    from normadvisor.probe.distributed.link import Link

__all__ = ["average_gradients", "same_weights"]

_BUCKET = 25 * 2**20
"""Bytes that travel at once: the default of ``DistributedDataParallel``."""
_DENSE, _SPARSE = 1, 2


def same_weights(model: nn.Module, link: Link) -> None:
    """Give whole parameters and buffers the values of rank 0, in place and bit by bit.

    Parts of sharded tensors are each rank's own; lazy parameters have no values yet.

    Raises:
        RankError: a rank is gone, does not answer in time, or has another model.

    """
    named = [(name, tensor) for name, tensor in chain(model.named_parameters(), model.named_buffers()) if _is_whole(tensor)]
    _check_same([f"{name} {str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)}" for name, tensor in named], link)
    with torch.no_grad():
        for bucket in _buckets([tensor for _, tensor in named]):
            flat = torch.cat([tensor.detach().reshape(-1).view(torch.uint8) for tensor in bucket])
            flat = link.broadcast(flat.to(link.device)).to(bucket[0].device)
            parts = torch.split(flat, [tensor.numel() * tensor.element_size() for tensor in bucket])
            for tensor, part in zip(bucket, parts, strict=True):
                tensor.detach().copy_(part.clone().view(tensor.dtype).view(tensor.shape))


def average_gradients(model: nn.Module, link: Link) -> None:
    """Replace every gradient by its mean over the ranks; one that some ranks lack counts as zero there.

    Raises:
        RankError: a rank is gone, or does not answer in time.

    """
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad and _is_whole(parameter)]
    kinds = torch.tensor([_kind(parameter) for parameter in parameters], dtype=torch.int8, device=link.device)
    joint: list[int] = link.max(kinds).tolist() if parameters else []
    with torch.no_grad():
        dense = [_filled(parameter) for parameter, kind in zip(parameters, joint, strict=True) if kind == _DENSE]
        for bucket in _buckets(dense):
            _average(bucket, link)
        for parameter, kind in zip(parameters, joint, strict=True):
            if kind == _SPARSE:
                parameter.grad = _average_sparse(parameter, link)


def _is_whole(tensor: torch.Tensor) -> bool:
    return not isinstance(tensor, DTensor) and not is_lazy(tensor)


def _check_same(lines: list[str], link: Link) -> None:
    """Compare parameters and buffers with those of rank 0.

    Raises:
        RankError: they are others.

    """
    mine = int.from_bytes(sha256("\n".join(lines).encode()).digest()[:7])
    both = link.max(torch.tensor([mine, -mine], dtype=torch.int64, device=link.device)).tolist()
    if both[0] == -both[1]:
        return
    first: list[str] = json.loads(link.share(json.dumps(lines).encode()))
    link.together(None if lines == first else f"rank {link.rank} has another model than rank 0: {_difference(lines, first)}")


def _difference(mine: list[str], first: list[str]) -> str:
    for here, there in zip(mine, first, strict=False):
        if here != there:
            return f"'{here}' in place of '{there}'"
    return f"{len(mine)} parameters and buffers in place of {len(first)}"


def _buckets(tensors: Iterable[torch.Tensor]) -> Iterator[list[torch.Tensor]]:
    """Tensors of one data type and device together, a bucket full each."""
    kinds: dict[tuple[torch.dtype, torch.device], list[torch.Tensor]] = {}
    for tensor in tensors:
        kinds.setdefault((tensor.dtype, tensor.device), []).append(tensor)
    for alike in kinds.values():
        bucket: list[torch.Tensor] = []
        size = 0
        for tensor in alike:
            bucket.append(tensor)
            size += tensor.numel() * tensor.element_size()
            if size >= _BUCKET:
                yield bucket
                bucket, size = [], 0
        if bucket:
            yield bucket


def _kind(parameter: nn.Parameter) -> int:
    if parameter.grad is None:
        return 0
    return _DENSE if parameter.grad.layout == torch.strided else _SPARSE


def _filled(parameter: nn.Parameter) -> torch.Tensor:
    if parameter.grad is None:
        parameter.grad = torch.zeros_like(parameter)
    return parameter.grad


def _average(bucket: list[torch.Tensor], link: Link) -> None:
    # Divided before they are added, as DistributedDataParallel does: sums of half precision overflow less easily.
    parts = [torch.view_as_real(tensor) if tensor.is_complex() else tensor for tensor in bucket]
    flat = torch.cat([part.reshape(-1) for part in parts]).div_(link.world_size)
    flat = link.sum(flat.to(link.device)).to(flat.device)
    for part, mean in zip(parts, torch.split(flat, [part.numel() for part in parts]), strict=True):
        part.copy_(mean.view(part.shape))


def _average_sparse(parameter: nn.Parameter, link: Link) -> torch.Tensor:
    """The mean of sparse gradients: rows that a rank lacks are added to none."""
    grad = torch.zeros_like(parameter).to_sparse(1) if parameter.grad is None else parameter.grad
    grad = grad.coalesce()
    # Ranks have different numbers of rows: all get as many as the most, those that are added being zero.
    rows = torch.tensor([grad._nnz()], device=link.device)  # noqa: SLF001 - there is no other name for it
    most = int(link.max(rows).item())
    sparse_dims, size = grad.sparse_dim(), grad.shape
    indices = torch.zeros(link.world_size, sparse_dims, most, dtype=torch.int64, device=link.device)
    values = torch.zeros(link.world_size, most, *grad.values().shape[1:], dtype=grad.dtype, device=link.device)
    indices[link.rank, :, : grad._nnz()] = grad.indices()  # noqa: SLF001
    values[link.rank, : grad._nnz()] = grad.values() / link.world_size  # noqa: SLF001
    link.sum(indices), link.sum(values)
    device = grad.device
    joint_indices = indices.permute(1, 0, 2).reshape(sparse_dims, -1).to(device)
    joint_values = values.reshape(-1, *values.shape[2:]).to(device)
    return torch.sparse_coo_tensor(joint_indices, joint_values, size, check_invariants=False).coalesce()
