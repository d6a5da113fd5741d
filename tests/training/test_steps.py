from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from nvv.audio import AudioError
from nvv.data import CorpusError
from nvv.training.arguments import ArgumentsError, ModelArguments
from nvv.training.config_files import parse_arguments
from nvv.training.steps import blaming, build_model, hub_dataset_id, load_clips, public_name, run_facts, set_cpu_threads
from nvv.training.trainable import trainable_parameters


@pytest.mark.parametrize(
    ("environment", "options", "expected"),
    [
        # as `accelerate launch` leaves it for one process on a CPU
        ({"ACCELERATE_MIXED_PRECISION": "no", "OMP_NUM_THREADS": "1"}, [], "all"),
        ({"ACCELERATE_MIXED_PRECISION": "no", "OMP_NUM_THREADS": "1"}, ["--cpu_threads", "3"], 3),
        ({"ACCELERATE_MIXED_PRECISION": "no", "OMP_NUM_THREADS": "5"}, [], "as before"),
        ({"OMP_NUM_THREADS": "1"}, [], "as before"),
    ],
)
def test_cpu_threads_are_all_cores_when_accelerate_gave_one(command_line, monkeypatch, environment, options, expected):
    monkeypatch.delenv("ACCELERATE_MIXED_PRECISION", raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(7)
        set_cpu_threads(parse_arguments(command_line(*options)).training)
        threads = {"all": len(os.sched_getaffinity(0)), "as before": 7}
        assert torch.get_num_threads() == threads.get(expected, expected)
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize(
    "error", [AudioError("a.wav: damaged"), CorpusError("raw: empty"), ArgumentsError("seed: bad")]
)
def test_errors_that_name_their_cause_pass_unchanged(error):
    with pytest.raises(type(error), match=str(error)), blaming("corpus", hint="Hint."):
        raise error


def test_other_errors_become_one_line_that_names_the_field_and_what_to_do():
    with pytest.raises(ArgumentsError, match=r"^corpus: no route to host Hint\.$"), blaming("corpus", hint="Hint."):
        raise ConnectionError("no route to host\nand a long story")
    with pytest.raises(ArgumentsError, match=r"^layers: there is no 9$"), blaming("backbone", hint="Hint."):
        raise ValueError("layers: there is no 9")


@pytest.mark.parametrize("random_crops", [True, False])
def test_clips_are_cropped_at_random_only_when_asked_and_only_in_training(command_line, random_crops):
    arguments = parse_arguments(command_line("--max_seconds", "0.1"))
    _, clips = load_clips(
        arguments.data, training=arguments.training, model=ModelArguments(max_seconds=0.1), random_crops=random_crops
    )
    assert list(clips) == ["train", "validation", "test"]
    for split, dataset in clips.items():
        early, late = (dataset[0, epoch]["input_values"] for epoch in (1, 2))
        assert len(early) == len(late) == 1600
        assert np.array_equal(early, late) is not (random_crops and split == "train")


def test_run_facts_say_what_was_used(command_line):
    arguments = parse_arguments(command_line("--method", "frozen", "--seed", "7"))
    corpus, clips = load_clips(arguments.data, training=arguments.training, model=ModelArguments(max_seconds=7.0))
    model, _ = build_model(arguments.model, clips["train"], training=arguments.training)
    facts = run_facts(
        arguments._asdict(),
        corpus=corpus,
        model=model,
        counts=trainable_parameters(model),
        training=arguments.training,
        method="frozen",
        timing={"pass_s": 1.0},
    )
    assert (facts.method, facts.seed, facts.corpus_config) == ("frozen", 7, corpus.protocol)
    assert facts.backbone_id == Path(arguments.model.backbone).name  # an absolute path names the machine
    assert facts.total_parameters == sum(parameter.numel() for parameter in model.parameters())
    assert facts.timing == {"pass_s": 1.0, "processes": 1}
    assert facts.config["training"]["seed"] == 7
    assert "output_dir" not in facts.config["training"]


def test_hub_dataset_id_is_none_for_what_is_on_this_machine(command_line, corpus_folder):
    arguments = parse_arguments(command_line())
    assert hub_dataset_id(arguments.data) is None
    arguments.data.corpus = "somebody/sounds"
    assert hub_dataset_id(arguments.data) == "somebody/sounds"
    assert public_name("openai/whisper-tiny") == "openai/whisper-tiny"
