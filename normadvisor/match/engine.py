"""All rules on one graph."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from normadvisor.graph.model import ModelGraph
from normadvisor.match.compiled import compile_rule
from normadvisor.match.conditions import OncePerRule
from normadvisor.match.findings import FindingMaker
from normadvisor.match.fingerprints import fingerprinted
from normadvisor.match.matcher import GraphIndex, Matcher
from normadvisor.match.places import Places
from normadvisor.match.silenced import without_silenced
from normadvisor.rulebook.model import Rule
from normadvisor.types import Finding, RunContext

__all__ = ["match", "match_indexed"]

_compiled = OncePerRule(compile_rule)


def match(graph: ModelGraph, rules: Sequence[Rule], context: RunContext, root: Path) -> list[Finding]:
    """Search a model for every pattern; the time is linear in the nodes of the graph for each rule.

    Args:
        graph: the traced model.
        rules: rules of scope ``graph``; those of other scopes are passed over.
        context: what is known about the training.
        root: folder or file of the target; findings point into files under it when they can.

    Returns:
        One finding per event, by file, line, column and rule; findings without a place last.

    Raises:
        RuleError: a rule names an unknown operation, or one of its expressions failed.

    """
    return match_indexed(GraphIndex(graph, context), rules, root)


def match_indexed(index: GraphIndex, rules: Sequence[Rule], root: Path) -> list[Finding]:
    """:func:`match` on a graph that is indexed already; ``index.visits`` then tells how many nodes the searches visited.

    Raises:
        RuleError: a rule names an unknown operation, or one of its expressions failed.

    """
    places = Places(index.graph, root)
    findings: list[Finding] = []
    for rule in rules:
        if rule.scope == "graph":
            compiled = _compiled(rule)
            findings += FindingMaker(index.graph, compiled, places).findings(Matcher(index, compiled).matches())
    findings = without_silenced(findings, rules)
    return fingerprinted(sorted(findings, key=_order))


def _order(finding: Finding) -> tuple[bool, str, int, int, str]:
    return (finding.path is None, finding.path or "", finding.line or 0, finding.column or 0, finding.rule)
