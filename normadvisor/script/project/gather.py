"""Collects the layers met while the code that builds a model is followed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from normadvisor.script.project.abstract import Share
from normadvisor.script.project.contents import Contents, Held, Layer

__all__ = ["Gather"]

_KINDS = ("batchnorm", "dropout", "other", "features")
_MOST_LAYERS = 400


class Gather:
    """Layers held so far, for certain or perhaps."""

    __slots__ = ("held", "layers", "norms", "reads_training", "shares")

    def __init__(self) -> None:
        self.held: dict[str, Held] = {}
        self.layers: dict[Layer, None] = {}
        self.norms: dict[Layer, None] = {}
        self.reads_training = False
        self.shares: list[Share] = []

    def mark(self, kind: str, held: Held) -> None:
        """Note that a kind is held; ``yes`` is never taken back."""
        if held != "no" and self.held.get(kind) != "yes":
            self.held[kind] = held

    def add(self, layer: Layer, held: Held) -> None:
        """A layer that depends on the mode, or (``no``, or kind ``norm``) one that does not."""
        if layer.kind != "norm" and held != "no":
            self.mark(layer.kind, held)
            if len(self.layers) < _MOST_LAYERS:
                self.layers[layer] = None
        if layer.kind in {"batchnorm", "norm"} or "Norm" in layer.name:
            self.norms[layer] = None

    def share(self, contents: Contents) -> Share:
        """All that another model holds, unless it turns out that only a piece of it is used."""
        share = Share(contents)
        self.shares.append(share)
        return share

    def settle(self) -> None:
        """Count the shares of other models."""
        for share in self.shares:
            found = share.contents
            if share.partial and found.dropout == "yes":  # dropout mostly stands in the head, which a piece leaves out
                found = replace(found, dropout="unknown")
            self.add_contents(found)
        self.shares.clear()

    def add_contents(self, contents: Contents) -> None:
        """All that another model holds."""
        for kind, held in (("batchnorm", contents.batchnorm), ("dropout", contents.dropout), ("other", contents.other)):
            self.mark(kind, held)
        self.mark("features", contents.batchnorm_over_features)
        for layer in contents.layers[: max(_MOST_LAYERS - len(self.layers), 0)]:
            self.layers[layer] = None
        self.norms.update(dict.fromkeys(contents.norms))
        self.reads_training = self.reads_training or contents.reads_training

    def unknown(self) -> None:
        """A model that cannot be looked into."""
        for kind in _KINDS:
            self.mark(kind, "unknown")

    def alternatives(self, branches: Sequence[Gather]) -> None:
        """One of several branches is taken: only what all of them hold is certain."""
        for branch in branches:
            branch.settle()
        for kind in _KINDS:
            found = [branch.held.get(kind, "no") for branch in branches]
            if any(held != "no" for held in found):
                self.mark(kind, "yes" if all(held == "yes" for held in found) else "unknown")
        for branch in branches:
            self.layers.update(branch.layers)
            self.norms.update(branch.norms)
            self.reads_training = self.reads_training or branch.reads_training

    def contents(self) -> Contents:
        """What was found."""
        self.settle()
        features = self.held.get("features", "no")
        return replace(
            Contents(),
            batchnorm=self.held.get("batchnorm", "no"),
            dropout=self.held.get("dropout", "no"),
            other=self.held.get("other", "no"),
            layers=tuple(self.layers),
            norms=tuple(self.norms),
            batchnorm_over_features=features,
            reads_training=self.reads_training,
        )
