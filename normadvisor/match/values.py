"""What stands behind the names of a match: nodes and modules, and values as JSON."""

from __future__ import annotations

from normadvisor.graph.model import ModuleInfo, NodeInfo
from normadvisor.match.views import ChainView, ModuleView, NodeView
from normadvisor.types import JSONValue

__all__ = ["item_of", "items_of", "json_value", "module_name"]


def item_of(value: object) -> NodeInfo | ModuleInfo | None:
    """The node or module behind a bound name; the last node of a run."""
    if isinstance(value, ChainView):
        value = value["last"]
    if isinstance(value, NodeView):
        return value.node
    return value.module if isinstance(value, ModuleView) else None


def items_of(value: object) -> list[NodeView | ModuleView]:
    """What a name stands for, one by one: the nodes of a run or a list, or the one node or module."""
    if isinstance(value, ChainView):
        return list(value.nodes)
    if isinstance(value, list | tuple):
        return [member for member in value if isinstance(member, NodeView | ModuleView)]
    return [value] if isinstance(value, NodeView | ModuleView) else []


def module_name(item: NodeInfo | ModuleInfo) -> str:
    """Qualified name of the module, or of the one whose forward makes the call."""
    return item.name if isinstance(item, ModuleInfo) else item.module


def json_value(value: object) -> JSONValue:
    """A value of an expression as JSON: nodes and modules by name, runs by their modules, tuples as lists, non-finite floats as text."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if value == value and value not in {float("inf"), float("-inf")} else str(value)  # noqa: PLR0124 - NaN
    if isinstance(value, NodeView | ModuleView):
        item = item_of(value)
        return (module_name(item) or item.name) if item is not None else None
    if isinstance(value, ChainView):
        return list(value["modules"])
    if isinstance(value, list | tuple | set | frozenset):
        return [json_value(member) for member in value]
    if isinstance(value, dict):
        return {str(key): json_value(member) for key, member in value.items()}
    return str(value)
