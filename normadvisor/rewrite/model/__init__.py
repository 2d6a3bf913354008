"""Fixes on a live ``torch.nn.Module``: other layers in the place of those that a fix concerns, with weights, optimizer and keys kept."""

from normadvisor.rewrite.model.refusal import CannotChange
from normadvisor.rewrite.model.writer import ModelChange, change_model, put_layers

__all__ = ["CannotChange", "ModelChange", "change_model", "put_layers"]
