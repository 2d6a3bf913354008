"""Attributes of objects by address: cheap to copy and to join, since what did not change is shared."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping

from normadvisor.script.values import NOTHING, Value, choice

__all__ = ["Fields"]


class Fields(MutableMapping[tuple[int, str], "Value"]):
    """A mapping from address and name to value. The attributes of one object are never changed in place but replaced."""

    __slots__ = ("_objects",)

    def __init__(self, objects: dict[int, dict[str, Value]] | None = None) -> None:
        self._objects: dict[int, dict[str, Value]] = objects if objects is not None else {}

    def copy(self) -> Fields:
        """An independent mapping."""
        return Fields(dict(self._objects))

    def of(self, address: int) -> dict[str, Value]:
        """Attributes of one object; not to be changed."""
        return self._objects.get(address) or {}

    def addresses(self) -> list[int]:
        """Objects that have attributes."""
        return list(self._objects)

    def drop(self, address: int) -> None:
        """Forget all attributes of one object."""
        self._objects.pop(address, None)

    def joined(self, other: Fields) -> Fields:
        """The attributes after two paths meet: alternatives where they differ. One that only one path set keeps its value."""
        ours, theirs = self._objects, other._objects
        result = dict(ours)
        for address, attributes in theirs.items():
            known = ours.get(address)
            if known is attributes:
                continue
            result[address] = attributes if known is None else _joined(known, attributes)
        return Fields(result)

    def get_field(self, address: int, name: str) -> Value | None:
        """One attribute; ``None`` if it was never set."""
        attributes = self._objects.get(address)
        return attributes.get(name) if attributes is not None else None

    def __getitem__(self, key: tuple[int, str]) -> Value:
        return self._objects[key[0]][key[1]]

    def __setitem__(self, key: tuple[int, str], value: Value) -> None:
        address, name = key
        attributes = self._objects.get(address)
        self._objects[address] = {name: value} if attributes is None else {**attributes, name: value}

    def __delitem__(self, key: tuple[int, str]) -> None:
        address, name = key
        attributes = self._objects[address]
        if name not in attributes:
            raise KeyError(key)
        self._objects[address] = {other: value for other, value in attributes.items() if other != name}

    def __iter__(self) -> Iterator[tuple[int, str]]:
        return iter([(address, name) for address, attributes in self._objects.items() for name in attributes])

    def __len__(self) -> int:
        return sum(map(len, self._objects.values()))

    def __contains__(self, key: object) -> bool:
        return isinstance(key, tuple) and key[1] in self._objects.get(key[0], ())


def _joined(one: dict[str, Value], two: dict[str, Value]) -> dict[str, Value]:
    merged = {**one, **two}
    for name in one.keys() & two.keys():
        if one[name] is not two[name] and one[name] != two[name]:
            merged[name] = choice((one[name], two[name]))
    if ("training" in one) is not ("training" in two):
        # Set on one path, and what the mode says on the other.
        merged["training"] = choice((merged["training"], NOTHING))
    return merged
