"""Going through syntax trees."""

from __future__ import annotations

import ast

from normadvisor.script.project.nodes import walk

SOURCE = '''
import torch as t
@decorator(1)
async def run(a, /, b=1, *args, c, d=2, **kwargs) -> int:
    """Text."""
    global g
    async with a as b, c:
        x: int = {**a, "k": [*b], 1: {2}}
        y = [i async for i in z if i] + (lambda q: -q)(f"{x!r:>{w}}")
    try:
        del x[1:2, ::3]
    except* (A, B) as e:
        raise C from e
    else:
        return (yield x) if not a < b <= c and d else (await (n := y.z))
    match a:
        case {"k": 1, **rest} | Point(x=0, y=[1, *others]) if rest:
            pass
        case None as nothing:
            pass
'''


def test_walks_as_the_standard_library_does() -> None:
    """The same nodes in the same order, less those that say nothing."""
    tree = ast.parse(SOURCE)
    signs = ast.expr_context | ast.operator | ast.cmpop | ast.unaryop | ast.boolop | ast.alias
    assert walk(tree) == [node for node in ast.walk(tree) if not isinstance(node, signs)]
