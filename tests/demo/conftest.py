"""Fixtures of the demo page's tests: small models of every kind, recordings, the Hub on localhost, a running page."""

import importlib.util
import os
import shutil
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import Wav2Vec2FeatureExtractor, WhisperModel

from nvv import NvvForAudioClassification
from nvv.audio import encode_wav
from nvv.data.synthesis import synthesize
from nvv.hub.repository import save_repository
from nvv.inference.load import load_classifier
from nvv.training.tuning import TuningArguments, apply_tuning

_spec = importlib.util.spec_from_file_location("hub_conftest", Path(__file__).parents[1] / "hub" / "conftest.py")
_hub_conftest = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_hub_conftest)

hub = _hub_conftest.hub
hub_environment = _hub_conftest.hub_environment

LABELS = ("laugh", "sigh", "cough")


def _extractor():
    return Wav2Vec2FeatureExtractor(return_attention_mask=True, do_normalize=False)


@pytest.fixture
def make_model_folder(tmp_path, tiny_backbone_config):
    """The function that saves a tiny model: an adapter, a probe's head or a whole model, on one encoder for all.

    What is trained is drawn at random with the seed; the encoder takes 10 s.
    """

    def make(
        name,
        *,
        method="lora",
        seed=1,
        labels=LABELS,
        encoder_seed=0,
        metrics=None,
        max_seconds=3.0,
        has_encoder_weights=False,
        **fields,
    ):
        encoder = tmp_path / ("trained_whisper" if has_encoder_weights else "tiny_whisper")
        config = tiny_backbone_config("whisper", max_source_positions=500)
        (WhisperModel(config) if has_encoder_weights else config).save_pretrained(encoder)
        if "tasks" not in fields:
            fields["id2label"] = dict(enumerate(labels))
        model = NvvForAudioClassification.from_backbone(
            str(encoder),
            random_init=not has_encoder_weights,
            seed=encoder_seed,
            max_seconds=max_seconds,
            projection_size=16,
            **fields,
        )
        torch.manual_seed(seed)
        model = apply_tuning(model, TuningArguments(method=method))
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.requires_grad:
                    parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
        save_repository(model, _extractor(), tmp_path / name)
        if metrics is not None:
            (tmp_path / name / "metrics.json").write_text(metrics)
        return tmp_path / name

    return make


@pytest.fixture
def write_recording(tmp_path):
    """The function that writes a recording of computed laughs, as long as asked for."""

    def write(seconds, *, name="recording.wav", voice=40, silent=False):
        samples = round(16_000 * seconds)
        waveform = np.zeros(samples, dtype=np.float32)
        position = take = 0
        while position < samples and not silent:
            sound = synthesize("laugh", voice, take=take)[: samples - position]
            waveform[position : position + len(sound)] = sound
            position, take = position + len(sound), take + 1
        path = tmp_path / name
        path.write_bytes(encode_wav(waveform))
        return path

    return write


@pytest.fixture
def logits_alone():
    """The function that gives the logits of a model that was loaded by itself, for one waveform."""

    @torch.inference_mode()
    def compute(folder, waveform):
        model = load_classifier(str(folder), allows_tasks=True).model
        return model(torch.from_numpy(waveform)[None]).logits[0].numpy()

    return compute


@contextmanager
def _serving(command, *, environment, folder):
    """Run a page's process until it answers, and end it in the end; yields its address and the process."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = folder / f"page-{port}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*map(str, command(port))],
            env={"OMP_NUM_THREADS": "1", **environment, "GRADIO_SERVER_PORT": str(port)},
            cwd=folder,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        deadline = time.monotonic() + 120
        while True:
            with socket.socket() as client:
                client.settimeout(1)
                if client.connect_ex(("127.0.0.1", port)) == 0:
                    break
            assert process.poll() is None, log.read_text()[-3000:]
            assert time.monotonic() < deadline, log.read_text()[-3000:]
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}/", process, log
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@pytest.fixture
def serving():
    """Context manager: a page's process by its command, given the port, with an environment and a folder to run in."""
    return _serving


@pytest.fixture
def offline_environment(tmp_path):
    """Environment of a process that knows no Hub, with temporary files of its own."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    return {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "hf_home"), "TMPDIR": str(temporary)}


@pytest.fixture
def nvv_command():
    """The installed entry point."""
    return Path(sys.executable).with_name("nvv")


@pytest.fixture
def chromium():
    """The browser; where there is none, the test is skipped, but in CI it fails."""
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    found = next(filter(None, map(shutil.which, names)), None)
    if found is None:
        reason = f"no browser: install Chromium so that one of {', '.join(names)} is on the path"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return found


@pytest.fixture(autouse=True)
def _one_thread(one_thread):
    """Every test here computes in one thread."""
