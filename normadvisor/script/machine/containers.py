"""Lists and dictionaries: items that are known one by one, and what else may be in them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from normadvisor.script.machine.names import Names
from normadvisor.script.values import Const, Ref, Value, choice

if TYPE_CHECKING:
    from normadvisor.script.state import State

__all__ = ["Containers"]


class Containers(Names):
    """Items of lists and dictionaries: fields named ``[KEY]``, and ``[*]`` for those whose key is not known."""

    def new_list(self, state: State, items: list[Value], rest: Value | None, place: Any, kind: str = "list") -> Ref:
        """A list with items that are known one by one, and what else may be in it."""
        ref = self.new(state, kind, place, tag="items")
        for index, item in enumerate(items):
            state.fields[ref.address, f"[{index}]"] = item
        if rest is not None:
            state.fields[ref.address, "[*]"] = rest
        return ref

    def set_item(self, state: State, ref: Ref, key: Value, value: Value) -> None:
        """``ref[key] = value`` of a list or dictionary."""
        if isinstance(key, Const):
            text = f"[{key.value!r}]" if isinstance(key.value, str) else f"[{key.value}]"
            state.fields[ref.address, text] = value
            self.changed_attribute(state, ref.address, str(key.value))
        else:
            known = state.get_field(ref.address, "[*]")
            state.fields[ref.address, "[*]"] = value if known is None else choice((known, value))

    def get_item(self, state: State, ref: Ref, key: Value) -> Value | None:
        """``ref[key]`` of a list or dictionary; ``None`` if it is not known."""
        if isinstance(key, Const):
            text = f"[{key.value!r}]" if isinstance(key.value, str) else f"[{key.value}]"
            if (found := state.get_field(ref.address, text)) is not None:
                return found
            if isinstance(key.value, int) and key.value < 0 and state.get_field(ref.address, "[*]") is None:
                items = [value for name, value in state.fields_of(ref.address).items() if name.startswith("[")]
                return items[key.value] if -key.value <= len(items) else None
            return state.get_field(ref.address, "[*]")
        items = [value for name, value in state.fields_of(ref.address).items() if name.startswith("[")]
        return choice(items) if items else None
