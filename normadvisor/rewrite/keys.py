"""Which key of a ``state_dict`` became which: what a changed model needs to load a checkpoint of the original.

Works on anything that behaves as a mapping from names to tensors and imports no torch, so that maps can be read and shown anywhere.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Self

__all__ = ["Fold", "KeyMap"]

_VERSION = 1


@dataclass(frozen=True, slots=True)
class Fold:
    """A value that is added into another one before its own key is dropped.

    The bias of a convolution in front of a batch norm is subtracted from the running mean: ``(x + bias) - mean == x - (mean - bias)``.
    """

    source: str
    """Key of the value that leaves."""
    into: str
    """Key of the value that takes it up; both as the original model calls them."""
    how: str = "subtract"
    """``subtract`` or ``add``."""
    repeats: int = 1
    """How often every entry of ``source`` stands in a row in ``into``: height times width where the map was flattened."""
    tiles: int = 1
    """How often the whole of ``source`` stands in ``into``, one after the other."""
    into_copy: bool = False
    """Whether ``into`` is a key of :attr:`KeyMap.copied`, as the changed model calls it."""

    def __post_init__(self) -> None:
        """Refuse what :meth:`KeyMap.apply` would not understand."""
        if self.how not in {"subtract", "add"} or self.repeats < 1 or self.tiles < 1:
            message = f"no such fold: {self!r}"
            raise ValueError(message)

    def folded(self, source: Any, into: Any) -> Any:
        """A new tensor of the dtype, shape and device of ``into``; computed in the wider of both dtypes."""
        taken = source.detach().to(into.device)
        if self.repeats > 1:
            taken = taken.repeat_interleave(self.repeats)
        if self.tiles > 1:
            taken = taken.repeat(self.tiles)
        held = into.detach()
        taken = taken.reshape(held.shape)
        return (held - taken if self.how == "subtract" else held + taken).to(held.dtype)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyMap:
    """From the keys of an original model to those of a changed one; keys that are not named stay as they are.

    ``copied`` values are taken first, then ``folded`` is done in its order. Then ``dropped`` keys leave and ``renamed`` ones change their
    name all at once, so that two may trade places. ``added`` are the keys of the changed model that no value of the original belongs to:
    they are missing from what :meth:`apply` returns.
    """

    renamed: Mapping[str, str] = field(default_factory=dict)
    dropped: tuple[str, ...] = ()
    added: tuple[str, ...] = ()
    folded: tuple[Fold, ...] = ()
    copied: Mapping[str, str] = field(default_factory=dict)
    """From keys of the changed model to keys of the original whose values they have as well, as when a shared layer was separated."""

    def __post_init__(self) -> None:
        """Leave out what is folded into a value that the changed model does not have."""
        kept = tuple(fold for fold in self.folded if fold.into_copy or fold.into not in self.dropped)
        object.__setattr__(self, "folded", kept)

    def __bool__(self) -> bool:
        """Whether any key changed."""
        return bool(self.renamed or self.dropped or self.added or self.folded or self.copied)

    def apply(self, state_dict: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
        """The state of the changed model, from that of the original.

        Args:
            state_dict: the original's; not changed, and its tensors are handed on as they are, but for folded ones, which are new. Keys
                that the original does not have may be missing.
            prefix: what stands before the model's own keys, as ``"module."`` in a checkpoint of a wrapped model.

        Returns:
            A new ordered dictionary; the ``_metadata`` of torch goes along.

        Raises:
            KeyError: a value would be lost, since what it is folded into is missing.

        """
        values = dict(state_dict)
        copies = {new: values[prefix + old] for new, old in self.copied.items() if prefix + old in values}
        for fold in self.folded:
            held, into = (copies, fold.into) if fold.into_copy else (values, prefix + fold.into)
            if prefix + fold.source not in values:
                continue
            if into not in held:
                message = f"{prefix}{fold.source} cannot be folded: the state has no {prefix}{fold.into}"
                raise KeyError(message)
            held[into] = fold.folded(values[prefix + fold.source], held[into])
        gone = {prefix + key for key in self.dropped}
        names = {prefix + old: prefix + new for old, new in self.renamed.items()}
        result: OrderedDict[str, Any] = OrderedDict((names.get(key, key), value) for key, value in values.items() if key not in gone)
        result.update((prefix + new, value) for new, value in copies.items())
        metadata = getattr(state_dict, "_metadata", None)
        if metadata is not None:
            # torch keeps versions by module, which follow the module's keys.
            owners = {_owner(old): _owner(new) for old, new in names.items()}
            result._metadata = OrderedDict((owners.get(name, name), kept) for name, kept in metadata.items())  # type: ignore[attr-defined]  # noqa: SLF001
        return result

    def new_name(self, key: str) -> str | None:
        """What the changed model calls ``key`` of the original; ``None`` if it dropped it."""
        return None if key in self.dropped else self.renamed.get(key, key)

    def old_name(self, key: str) -> str | None:
        """What the original calls ``key`` of the changed model; ``None`` if it has no such key."""
        if key in self.added or key in self.copied:
            return None
        back = {new: old for old, new in self.renamed.items()}
        return back.get(key, key)

    def then(self, other: Self) -> Self:
        """The map of both changes, this one first.

        A fold of ``other`` into or from a key that this change added is left out: such a key has no value in a checkpoint of the original.
        What is folded away must not have been folded into before, as no bias is.
        """
        back = {new: old for old, new in self.renamed.items()}
        fresh = {*self.added, *self.copied}
        ends = {old: other.new_name(new) for old, new in self.renamed.items()}
        ends |= {back.get(old, old): new for old, new in other.renamed.items() if old not in fresh}
        dropped = [*self.dropped, *(back.get(key, key) for key in other.dropped if key not in fresh)]
        copied = {name: old for new, old in self.copied.items() if (name := other.new_name(new)) is not None}
        copied |= {new: self.copied.get(old, back.get(old, old)) for new, old in other.copied.items() if old not in self.added}
        added = [name for key in self.added if (name := other.new_name(key)) is not None]
        # A copy of a key without a value has none either.
        added += [*other.added, *(new for new, old in other.copied.items() if old in self.added)]
        return type(self)(
            renamed={old: new for old, new in ends.items() if new is not None and old != new and old not in dropped},
            dropped=tuple(dict.fromkeys(dropped)),
            added=tuple(dict.fromkeys(added)),
            folded=tuple(self._folds_then(other)),
            copied=copied,
        )

    def _folds_then(self, other: KeyMap) -> Iterator[Fold]:
        """Folds of both maps, in the names that the map of both has."""
        back = {new: old for old, new in self.renamed.items()}
        for fold in self.folded:
            into = other.new_name(fold.into) if fold.into_copy else fold.into
            if into is not None:
                yield replace(fold, into=into)
            # Copies are taken before anything is folded, so what was folded before the copy was made goes into both.
            into = fold.into if fold.into_copy else self.new_name(fold.into)
            yield from (replace(fold, into=new, into_copy=True) for new, old in other.copied.items() if old == into)
        for fold in other.folded:
            if fold.source in self.added or (fold.into in self.added and not fold.into_copy):
                continue
            source = self.copied.get(fold.source, back.get(fold.source, fold.source))
            if fold.into_copy:
                yield replace(fold, source=source)
            elif fold.into not in self.copied:
                yield replace(fold, source=source, into=back.get(fold.into, fold.into))
            elif (name := other.new_name(fold.into)) is not None:
                yield replace(fold, source=source, into=name, into_copy=True)

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "renamed": dict(self.renamed),
            "dropped": list(self.dropped),
            "added": list(self.added),
            "folded": [asdict(fold) for fold in self.folded],
            "copied": dict(self.copied),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Read back what :meth:`to_dict` wrote.

        Raises:
            KeyError, TypeError, ValueError: ``data`` is no key map.

        """
        return cls(
            renamed=_names(data["renamed"]),
            dropped=_keys(data["dropped"]),
            added=_keys(data["added"]),
            folded=tuple(Fold(**fold) for fold in data["folded"]),
            copied=_names(data["copied"]),
        )

    def save(self, path: str | Path) -> None:
        """Write the map as JSON."""
        Path(path).write_text(json.dumps({"version": _VERSION, **self.to_dict()}, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read a map that :meth:`save` wrote.

        Raises:
            OSError: the file cannot be read.
            ValueError: it holds no key map, or one of a later version.

        """
        try:
            data = json.loads(Path(path).read_text(encoding="utf-8"))
            if data["version"] == _VERSION:
                return cls.from_dict(data)
            reason = f"version {data['version']} is not known"
        except (KeyError, TypeError, ValueError) as error:
            reason = f"{type(error).__name__}: {error}"
        message = f"{path} holds no key map ({reason})"
        raise ValueError(message)

    def __str__(self) -> str:
        """One line for each key that changed, folds first."""
        signs = {"subtract": "-=", "add": "+="}
        lines = [f"{fold.into} {signs[fold.how]} {fold.source}{_spread(fold)}" for fold in self.folded]
        lines += [f"{old} -> {new}" for old, new in self.renamed.items()]
        lines += [f"{new} = {old} (copied)" for new, old in self.copied.items()]
        lines += [f"{key} (dropped)" for key in self.dropped]
        lines += [f"{key} (new)" for key in self.added]
        return "\n".join(lines)


def _spread(fold: Fold) -> str:
    notes = [f"every entry {fold.repeats} times"] if fold.repeats > 1 else []
    notes += [f"{fold.tiles} times over"] if fold.tiles > 1 else []
    return f" ({', '.join(notes)})" if notes else ""


def _owner(key: str) -> str:
    return key.rpartition(".")[0]


def _names(data: Any) -> dict[str, str]:
    if not isinstance(data, Mapping) or not all(isinstance(name, str) for pair in data.items() for name in pair):
        raise TypeError(data)
    return dict(data)


def _keys(data: Any) -> tuple[str, ...]:
    if not isinstance(data, list | tuple) or not all(isinstance(key, str) for key in data):
        raise TypeError(data)
    return tuple(data)
