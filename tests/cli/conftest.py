"""Fixtures of the commands' tests: the Hub on localhost, and the tone detector of the segmentation tests."""

import importlib.util
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

_spec = importlib.util.spec_from_file_location("hub_conftest", Path(__file__).parents[1] / "hub" / "conftest.py")
_hub_conftest = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_hub_conftest)

hub = _hub_conftest.hub
hub_environment = _hub_conftest.hub_environment
make_run = _hub_conftest.make_run

_spec = importlib.util.spec_from_file_location(
    "segmentation_conftest", Path(__file__).parents[1] / "segmentation" / "conftest.py"
)
_segmentation_conftest = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_segmentation_conftest)

tone_detector_folder = _segmentation_conftest.tone_detector_folder
tone_recording = _segmentation_conftest.tone_recording


@pytest.fixture
def start_interruptible() -> Callable[..., subprocess.Popen]:
    """The function that starts a program which Ctrl-C ends; a shell starts background processes that ignore it."""

    def start(command: list[str | Path], **options) -> subprocess.Popen:
        return subprocess.Popen(command, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL), **options)

    return start
