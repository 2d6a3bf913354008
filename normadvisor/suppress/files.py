"""Places in JSON files."""

from __future__ import annotations

__all__ = ["position_of"]


def position_of(text: str, where: tuple[str | int, ...]) -> tuple[int, int]:
    """Line and column (1-based) of the value at ``where`` (keys and indices) in JSON text; 1, 1 where it cannot be told."""
    import yaml  # noqa: PLC0415 - YAML reads JSON and keeps positions; only errors need it

    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except (yaml.YAMLError, RecursionError):  # JSON that is not YAML, such as one indented by tabs
        return 1, 1
    for step in where:
        match node:
            case yaml.MappingNode():
                node = next((value for key, value in node.value if key.value == step), node)
            case yaml.SequenceNode() if isinstance(step, int) and step < len(node.value):
                node = node.value[step]
            case _:
                break
    return (1, 1) if node is None else (node.start_mark.line + 1, node.start_mark.column + 1)
