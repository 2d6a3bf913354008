"""Workers that all tests of a process share."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from normadvisor.api.job import Limits
from normadvisor.api.outcome import Outcome
from normadvisor.api.plan import Plan, Planner
from normadvisor.api.pool import WorkerPool
from normadvisor.config import Settings
from normadvisor.rulebook import load_rules
from normadvisor.types import RunContext

# Test modules are imported one by one; this lets them share `hostile`.
sys.path.insert(0, str(Path(__file__).parent))


@dataclass
class Files:
    """Writes files and checks them with workers that stay."""

    folder: Path
    pool: WorkerPool

    def write(self, files: Mapping[str, str | bytes]) -> None:
        for name, code in files.items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(code if isinstance(code, bytes) else code.encode())

    def plan(self, *targets: str, settings: Settings | None = None, context: RunContext | None = None) -> Plan:
        planner = Planner(texts=targets or ["."], cwd=self.folder)
        return planner.plan(settings or Settings(root=self.folder), flags=context or RunContext())

    def check(self, *targets: str, limits: Limits | None = None, select: str = "NA102", **options: object) -> dict[str, list[Outcome]]:
        """Outcomes by the label of the file or target."""
        plan = self.plan(*targets)
        assert plan.problems == []
        self.pool.limits = limits or Limits()
        rules = [rule for rule in load_rules() if rule.id == select]
        found = self.pool.run(plan.jobs, rules, **options)
        return {job.label: outcomes for job, outcomes in zip(plan.jobs, found, strict=True)}


@pytest.fixture(scope="session")
def pool() -> Iterator[WorkerPool]:
    with WorkerPool() as shared:
        yield shared


@pytest.fixture
def files(tmp_path: Path, pool: WorkerPool, monkeypatch: pytest.MonkeyPatch) -> Files:
    monkeypatch.chdir(tmp_path)
    return Files(tmp_path, pool)


@pytest.fixture
def fresh_pool() -> Iterator[Callable[..., WorkerPool]]:
    """Workers of a test's own."""
    made: list[WorkerPool] = []

    def make(**options: object) -> WorkerPool:
        made.append(WorkerPool(**options))
        return made[-1]

    yield make
    for one in made:
        one.close()
