"""Fixtures of the metrics' tests: the `evaluate` modules, loaded by path."""

import functools

import evaluate
import pytest

from nvv.metrics.evaluate_modules import metric_file


@pytest.fixture(scope="session")
def metric_module(tmp_path_factory):
    """The function that loads one of the package's `evaluate` modules by its path."""
    cache = str(tmp_path_factory.mktemp("metrics"))

    @functools.cache
    def load(name):
        return evaluate.load(str(metric_file(name)), cache_dir=cache)

    return load
