"""Writes the fixes of findings as edits of source. In the worker: it takes the graph, and the model itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from normadvisor.types import Finding, Fix

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

        def written(fix: Fix) -> Fix:
            return self._written(fix, graph, model, root) if _is_unwritten(fix) else fix

        return [
            replace(
                finding,
                fix=None if finding.fix is None else written(finding.fix),
                alternatives=tuple(written(fix) for fix in finding.alternatives),
            )
            for finding in findings
        ]

    def _written(self, fix: Fix, graph: ModelGraph, model: torch.nn.Module, root: Path) -> Fix:
        try:
            from normadvisor.rewrite.source.place import SourceFiles
            from normadvisor.rewrite.source.writer import write_source

            files = self._files.get(root) or self._files.setdefault(root, SourceFiles(root))
            return write_source(fix, graph, model, root, files)
        except Exception as error:  # noqa: BLE001 - a mistake of ours in an edit must not lose the finding
            words = " ".join(str(error).split())[:200]
            return replace(fix, edits=(), refused=f"writing the edit failed: {type(error).__name__}: {words}")


def _fixes(finding: Finding) -> list[Fix]:
    return [*([] if finding.fix is None else [finding.fix]), *finding.alternatives]


def _is_unwritten(fix: Fix) -> bool:
    return bool(fix.operations) and not fix.edits and not fix.refused
