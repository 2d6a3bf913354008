"""Other tools' conditions, written from what they published."""

from benchmarks.probe.diagnosis.baselines import autotrainer, sagemaker

__all__ = ["autotrainer", "sagemaker"]
