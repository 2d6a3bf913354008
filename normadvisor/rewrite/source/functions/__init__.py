"""One function of torch in place of what ``forward`` writes out: ``F.silu(x)`` for ``x * torch.sigmoid(x)``.

The operations of the recorded graph are followed through the source side by side with its expressions, so that it is known of every name
which value it stands for. Variables that only served the expression go with it.
"""

from __future__ import annotations

from collections.abc import Sequence

from normadvisor.rewrite.source.functions.doubts import doubts
from normadvisor.rewrite.source.functions.found import Place, places_of
from normadvisor.rewrite.source.functions.text import call_text
from normadvisor.rewrite.source.functions.walk import walked
from normadvisor.rewrite.source.imports import name_for
from normadvisor.rewrite.source.place import Refused, WriteContext, place_of
from normadvisor.rewrite.source.spans import Text
from normadvisor.rewrite.source.statements import without_statements
from normadvisor.types import Edit
from normadvisor.types.operation import Operation

__all__ = ["use_function"]


def use_function(operations: Sequence[Operation], context: WriteContext) -> list[Edit]:
    """Write a function of torch where the operations before a node compute the same.

    Raises:
        Refused: they do not stand together in one function of a file that may be edited, something else reads what they compute on the way,
            or the code is run for other layers where it computes something else.

    """
    edits: dict[Edit, None] = {}
    for location, places in places_of(operations, context).items():
        written: list[list[Edit]] = []
        for place in places:
            made = _edits(place, context)
            if made not in written:
                written.append(made)
        if len(written) != 1:
            raise Refused(f"what {place_of(location)} computes is not the same in all layers that run it")
        edits.update(dict.fromkeys(written[0]))
    return list(edits)


def _edits(place: Place, context: WriteContext) -> list[Edit]:
    walk = walked(place, context)
    name, imports = name_for(place.written.function, walk.tree, walk.root)
    text = Text(walk.tree)
    start, end = text.extent(walk.root)
    model = context.module(place.owner) if place.is_alone else context.model
    made = call_text(name, place.written, walk, model)
    for doubt in doubts(place.written, walk, model):
        context.doubt(doubt)
    if start and (text.text[start - 1].isalnum() or text.text[start - 1] == "_"):
        made = f" {made}"  # brackets went: `return(x * y)`
    removed = without_statements(walk.tree, walk.helpers) if walk.helpers else []
    return [*imports, text.edit(start, end, made), *removed]
