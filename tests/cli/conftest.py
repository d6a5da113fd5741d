"""Fixtures of the commands' tests: the Hub on localhost of the Hub's tests."""

import importlib.util
from pathlib import Path

_spec = importlib.util.spec_from_file_location("hub_conftest", Path(__file__).parents[1] / "hub" / "conftest.py")
_hub_conftest = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_hub_conftest)

hub = _hub_conftest.hub
hub_environment = _hub_conftest.hub_environment
make_run = _hub_conftest.make_run
