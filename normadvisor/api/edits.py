"""Writes the fixes of findings as edits of source. In the worker: it takes the graph, and the model itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from normadvisor.types import Finding, Fix, Operation

if TYPE_CHECKING:
    import torch

    from normadvisor.graph.model import ModelGraph
    from normadvisor.rewrite.source.place import SourceFiles

__all__ = ["EditWriter"]


class EditWriter:
    """Writes edits for any number of models; every file is read and parsed once."""

    def __init__(self) -> None:
        self._files: dict[Path, SourceFiles] = {}

    def written(
        self, findings: Sequence[Finding], graph: ModelGraph, model: torch.nn.Module, root: Path, phase: Callable[[str], None]
    ) -> list[Finding]:
        """The findings with edits in their fixes, where these say what to do to layers; else with the reason why there are none.

        Args:
            findings: of one model.
            graph: its graph.
            model: the model itself.
            root: folder of the target; nothing outside it is edited.
            phase: told ``writing`` where there is something to write.

        """
        if not any(_is_unwritten(fix) for finding in findings for fix in _fixes(finding)):
            return list(findings)
        phase("writing")

        def written(finding: Finding, fix: Fix) -> Fix:
            if not _is_unwritten(fix):
                return fix
            allied = [operation for other in findings if other is not finding for operation in _allied(finding, fix, other)]
            return self._written(fix, graph, model, root, allied)

        return [
            replace(
                finding,
                fix=None if finding.fix is None else written(finding, finding.fix),
                alternatives=tuple(written(finding, fix) for fix in finding.alternatives),
            )
            for finding in findings
        ]

    def _written(self, fix: Fix, graph: ModelGraph, model: torch.nn.Module, root: Path, allied: Sequence[Operation]) -> Fix:
        try:
            from normadvisor.rewrite.source.place import SourceFiles
            from normadvisor.rewrite.source.writer import write_source

            files = self._files.get(root) or self._files.setdefault(root, SourceFiles(root))
            return write_source(fix, graph, model, root, files, allied)
        except Exception as error:  # noqa: BLE001 - a mistake of ours in an edit must not lose the finding
            words = " ".join(str(error).split())[:200]
            return replace(fix, edits=(), refused=f"writing the edit failed: {type(error).__name__}: {words}")


def _fixes(finding: Finding) -> list[Fix]:
    return [*([] if finding.fix is None else [finding.fix]), *finding.alternatives]


def _allied(finding: Finding, fix: Fix, other: Finding) -> list[Operation]:
    """What the same fix of another finding of the rule does: one text may build layers of both."""
    if other.rule != finding.rule:
        return []
    return [operation for same in _fixes(other) if same.title == fix.title for operation in same.operations]


def _is_unwritten(fix: Fix) -> bool:
    return bool(fix.operations) and not fix.edits and not fix.refused
