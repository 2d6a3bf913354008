from __future__ import annotations

import torch
from torch import nn

from normadvisor.graph import render_table, trace
from normadvisor.types import Frame, Location, Site


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4)

    def forward(self, x):
        return torch.relu(self.norm(self.conv(x)))


class Given:
    args, kwargs, given = (torch.zeros(2, 3, 8, 8),), {}, True


def test_table():
    site = Site((Frame(Location("/models/net.py", 7), "Net.__init__"),))
    graph = trace(Net(), Given(), target="net.py:Net", sites={"conv": site})
    line = graph.nodes[1].call_site.location.line
    lines = [" ".join(row.split()) for row in render_table(graph).splitlines()]
    assert lines == [
        "net.py:Net (symbolic, train mode)",
        "# op from module class or call output attributes defined at called at",
        "0 input input 2x3x8x8",
        f"1 conv 0 conv Conv2d 2x4x8x8 3->4 kernel_size=3 padding=1 bias=False net.py:7 test_table.py:{line}",
        f"2 batch_norm 1 norm BatchNorm2d 2x4x8x8 num_features=4 test_table.py:{line}",
        f"3 relu 2 relu 2x4x8x8 test_table.py:{line}",
        "4 output 3 output 2x4x8x8",
    ]


def test_a_dtype_is_said_where_it_is_not_the_usual_one():
    class Ids:
        args, kwargs, given = (torch.zeros(2, 8, dtype=torch.int64),), {}, True

    graph = trace(nn.Embedding(9, 4), Ids(), target="e", sites={})
    rows = [row.split() for row in render_table(graph).splitlines()]
    assert rows[2:4] == [["0", "input", "input", "2x8:int64"], ["1", "embedding", "0", *rows[3][3:]]]
    assert "2x8x4" in rows[3]


def test_a_narrow_table_keeps_to_its_width():
    graph = trace(Net(), Given(), target="net.py:Net", sites={})
    graph.notes = ("look here",)
    lines = render_table(graph, 60).splitlines()
    assert max(map(len, lines)) <= 60
    assert lines[-1] == "note: look here"
