"""Compiled code is put aside, and comes back."""

from __future__ import annotations

import torch

from normadvisor.integrations.eagerly import eagerly


def compiled():
    calls = []

    def backend(graph, inputs):
        calls.append("compiled")
        return graph.forward

    return torch.compile(lambda x: x + 1, backend=backend, dynamic=False), calls


def test_two_users_that_leave_in_any_order():
    for first_out in (0, 1):
        torch._dynamo.reset()
        function, calls = compiled()
        users = [eagerly(), eagerly()]
        for user in users:
            user.__enter__()
        users[first_out].__exit__(None, None, None)
        function(torch.ones(1))
        assert calls == []
        users[1 - first_out].__exit__(None, None, None)
        function(torch.ones(1))
        assert calls == ["compiled"]
