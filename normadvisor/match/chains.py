"""Longest runs of operations along the data flow, by dynamic programming: linear in nodes and edges."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from normadvisor.graph.model import NodeInfo

__all__ = ["Runs"]


@dataclass(slots=True)
class _Best:
    """The longest run that reaches a node: its length and the position of its last counted node (-1 when there is none)."""

    length: int = 0
    last: int = -1


class Runs:
    """The longest run that reaches every node of a graph.

    Args:
        nodes: the graph, in an order in which inputs come before their users.
        counts: whether a node is a member of runs.
        breaks: whether a node ends a run that reaches it (it is then no member either); asked only where it matters.

    """

    def __init__(self, nodes: list[NodeInfo], counts: Callable[[NodeInfo], bool], breaks: Callable[[NodeInfo], bool]) -> None:
        self._nodes = nodes
        self._best = [_Best() for _ in nodes]
        self._previous: dict[int, int] = {}
        self._start: dict[int, int] = {}
        self._broken: set[int] = set()
        self.visits = 0
        """Nodes looked at, forward and backward."""
        for node in nodes:
            self._extend(node, counts, breaks)
        self._extended = self._followed()

    def _extend(self, node: NodeInfo, counts: Callable[[NodeInfo], bool], breaks: Callable[[NodeInfo], bool]) -> None:
        self.visits += 1
        best = max((self._best[i] for i in node.inputs if i < node.index), key=lambda run: run.length, default=_Best())
        counted = counts(node)
        if (counted or best.length) and breaks(node):
            self._broken.add(node.index)
        elif counted:
            if best.length:
                self._previous[node.index] = best.last
            self._start[node.index] = self._start[best.last] if best.length else node.index
            self._best[node.index] = _Best(best.length + 1, node.index)
        else:
            self._best[node.index] = best

    def _followed(self) -> set[int]:
        """Nodes from which another member can be reached without meeting a break."""
        followed: set[int] = set()
        for node in reversed(self._nodes):
            self.visits += 1
            open_users = (user for user in node.users if user not in self._broken)
            if any(user in self._start or user in followed for user in open_users):
                followed.add(node.index)
        return followed

    def length(self, index: int) -> int:
        """Members of the longest run that reaches a node, the node included."""
        return self._best[index].length

    def members(self, index: int) -> list[int]:
        """Positions of the run that reaches a node, first to last."""
        found: list[int] = []
        at: int | None = self._best[index].last
        while at is not None and at >= 0:
            found.append(at)
            at = self._previous.get(at)
        return found[::-1]

    def maximal(self, candidates: Iterable[int]) -> list[int]:
        """Candidates whose run goes no further; of several that share a start the one with the longest run, in graph order."""
        longest: dict[int, int] = {}
        for index in candidates:
            best = self._best[index]
            if best.last < 0 or (best.last == index and index in self._extended):
                continue
            start = self._start[best.last]
            if start not in longest or best.length > self._best[longest[start]].length:
                longest[start] = index
        return sorted(longest.values())
