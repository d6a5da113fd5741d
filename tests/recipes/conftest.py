"""The small corpus of the training tests, for the recipes' tests too."""

from __future__ import annotations

import importlib.util
from pathlib import Path

_spec = importlib.util.spec_from_file_location(
    "_training_fixtures", Path(__file__).parents[1] / "training" / "conftest.py"
)
_fixtures = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_fixtures)

make_split = _fixtures.make_split
make_corpus = _fixtures.make_corpus
corpus_folder = _fixtures.corpus_folder
backbone_folder = _fixtures.backbone_folder
command_line = _fixtures.command_line

_spec = importlib.util.spec_from_file_location("hub_conftest", Path(__file__).parents[1] / "hub" / "conftest.py")
_hub_conftest = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_hub_conftest)

hub = _hub_conftest.hub
