"""Rules against what a probe measured: new findings, and what the measurement says about findings of static rules. Without torch."""

from normadvisor.match.measured.findings import measured_findings
from normadvisor.match.measured.judge import judged

__all__ = ["judged", "measured_findings"]
