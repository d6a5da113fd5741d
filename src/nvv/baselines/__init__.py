"""Baselines that a reviewer asks for: acoustic features with linear classifiers, and guessing."""

from .arguments import CLASSIFIERS, FEATURES, BaselineArguments
from .run import baseline_name, run_baseline, run_baselines

__all__ = ["CLASSIFIERS", "FEATURES", "BaselineArguments", "baseline_name", "run_baseline", "run_baselines"]
