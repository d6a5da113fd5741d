"""Made-up sweeps: folders of runs whose predictions are right for a chosen share of the clips."""

from __future__ import annotations

import importlib.util
import json
import types
from pathlib import Path

import numpy as np
import pytest
import yaml

from nvv.tasks_nvv import complete_tasks, list_tasks
from nvv.training.results import (
    RunFacts,
    SplitPredictions,
    build_metrics,
    write_metrics,
    write_predictions,
)
from nvv.training.task_results import build_task_metrics, task_answers, write_task_predictions

VALUES = {
    "corpus": "vivae",
    "split_protocol": "speaker",
    "backbone": "openai/whisper-tiny",
    "random_init": False,
    "method": "frozen",
    "tuned_layers": None,
    "seed": 1,
}
NOT_VALUES = {
    "recipe": "probe",
    "status": "done",
    "error": None,
    "right": 0.5,
    "right_on_validation": 0.5,
    "num_clips": 120,
    "first_clip": 0,
    "speakers": True,
    "is_synthetic": False,
    "tasks": None,
    "missing": 0.0,
}
LABELS = ["cough", "laugh", "sigh"]


def _answers(split, *, num_clips, share_right, seed, first_clip, speakers):
    """Answers of which a share is right; a clip's luck depends on the seed alone, so shares differ in few clips."""
    clips = np.arange(first_clip, first_clip + num_clips)
    references = clips % len(LABELS)
    luck = np.random.default_rng([seed, first_clip, len(split)]).permutation(num_clips) / num_clips
    predicted = np.where(luck < share_right, references, (references + 1) % len(LABELS))
    return SplitPredictions(
        split=split,
        files=[f"{split}_{clip:04d}.wav" for clip in clips],
        references=references,
        probabilities=np.eye(len(LABELS))[predicted],
        speaker_ids=[f"S{clip // 4}" for clip in clips] if speakers else None,
    )


TASKS = {
    "mood": {"name": "mood", "kind": "regression", "outputs": ["calm", "glad"]},
    "sound": {"name": "sound", "kind": "classification", "outputs": LABELS},
}


class _Config(types.SimpleNamespace):
    """What results need to know of a model's config."""

    def __init__(self, names):
        tasks = complete_tasks([TASKS[name] for name in names])
        listed = list_tasks(tasks)
        super().__init__(
            tasks=tasks,
            task_list=listed,
            num_labels=listed[-1].logits.stop,
            num_label_columns=listed[-1].labels.stop,
        )


def _task_answers(config, split, *, num_clips, share_right, seed, first_clip, speakers, missing):
    """Answers to tasks: numbers that are the reference in part, the rest is luck; classes right for a share."""
    luck, truth = np.random.default_rng([seed, first_clip, len(split)]), np.random.default_rng([first_clip, len(split)])
    clips = np.arange(first_clip, first_clip + num_clips)
    labels, logits = [], []
    for task in config.task_list:
        if task.kind == "regression":
            references = truth.uniform(size=(num_clips, len(task.outputs)))
            logits.append(share_right * references + (1 - share_right) * luck.uniform(size=references.shape))
        else:
            references = (clips % len(LABELS))[:, None].astype(float)
            right = (luck.permutation(num_clips) / num_clips < share_right)[:, None]
            logits.append(20 * np.eye(len(LABELS))[np.where(right, references, (references + 1) % 3).astype(int)[:, 0]])
        references[truth.uniform(size=references.shape) < missing] = np.nan
        labels.append(references)
    return task_answers(
        config,
        split,
        np.concatenate(logits, axis=1),
        files=[f"{split}_{clip:04d}.wav" for clip in clips],
        labels=np.concatenate(labels, axis=1),
        speaker_ids=[f"S{clip // 4}" for clip in clips] if speakers else None,
    )


@pytest.fixture
def made_up_sweep(tmp_path, monkeypatch):
    """Write the folder of a sweep from runs described by their values and the share of clips that they get right.

    Keys of a run: any value of a plan (`corpus`, `split_protocol`, `backbone`, `method`, `seed`, …), and `right` (share
    on test), `right_on_validation` (the same where left out), `recipe`, `status`, `error`, `num_clips`, `first_clip`,
    `speakers`, `is_synthetic`, `tasks` (names among `TASKS`; None for classes alone), `missing` (share of the tasks'
    references that are missing on test; 1: all of them).
    """

    # What takes most of the time of a run that is made up, and is no part of a report.
    monkeypatch.setattr("nvv.training.results.git_commit", lambda: None)
    monkeypatch.setattr("nvv.training.results.package_versions", dict)

    def make(*runs, report=None, name="made_up", description="Made-up runs.") -> Path:
        folder = tmp_path / name
        plan = []
        for number, run in enumerate(runs):
            values = {**VALUES, **{key: value for key, value in run.items() if key not in NOT_VALUES}}
            run = {**VALUES, **NOT_VALUES, "right_on_validation": run.get("right", 0.5), **run}
            is_baseline = run["recipe"] == "baseline"
            if is_baseline:
                values["features"], values["classifier"] = values.pop("backbone"), values.pop("method")
            planned = {"run_id": f"run{number}", "recipe": run["recipe"], "values": values}
            plan.append(planned)
            if run["status"] == "not run":
                continue
            run_folder = folder / "runs" / planned["run_id"]
            if run["status"] == "done":
                shares = {"validation": run["right_on_validation"], "test": run["right"]}
                splits = [
                    _answers(
                        split,
                        num_clips=run["num_clips"],
                        share_right=share,
                        seed=run["seed"],
                        first_clip=run["first_clip"],
                        speakers=run["speakers"],
                    )
                    for split, share in shares.items()
                ]
                facts = RunFacts(
                    corpus={"name": run["corpus"], "is_synthetic": run["is_synthetic"]},
                    corpus_config=run["split_protocol"],
                    backbone_id=None if run["backbone"] == "none" else run["backbone"],  # guesses hear nothing
                    random_init=run["random_init"],
                    method=run["method"],
                    tuned_layers=run["tuned_layers"],
                    total_parameters=1000,
                    trainable_parameters=10,
                    seed=run["seed"],
                    device="cpu",
                )
                if run["tasks"] is None:
                    metrics = build_metrics(splits, facts, label_names=LABELS, num_resamples=20)
                    write_predictions(run_folder / "predictions.csv", splits, label_names=LABELS)
                else:
                    config = _Config(run["tasks"])
                    answers = [
                        _task_answers(
                            config,
                            split,
                            share_right=share,
                            missing=run["missing"] if split == "test" else 0.0,
                            **{name: run[name] for name in ("num_clips", "seed", "first_clip", "speakers")},
                        )
                        for split, share in shares.items()
                    ]
                    metrics = build_task_metrics(answers, facts, config=config, num_resamples=20)
                    run_folder.mkdir(parents=True)
                    write_task_predictions(run_folder, answers, config=config)
                write_metrics(run_folder / "metrics.json", metrics)
            run_folder.mkdir(parents=True, exist_ok=True)
            written = {**planned, "status": run["status"], "error": run["error"], "seconds": 1.5}
            (run_folder / "run.json").write_text(json.dumps(written), encoding="utf-8")
        (folder / "plan.json").write_text(json.dumps({"name": name, "runs": plan}), encoding="utf-8")
        grid = {"name": name, "description": description, "report": report or {}}
        (folder / "grid.yaml").write_text(yaml.safe_dump(grid), encoding="utf-8")
        return folder

    return make


# ----------------------------------------------------------------------------------------------------------------------
# Sweeps that really run: the tones and the tiny backbone of the training tests, and grids on them.
# ----------------------------------------------------------------------------------------------------------------------

_spec = importlib.util.spec_from_file_location(
    "_training_fixtures", Path(__file__).parents[1] / "training" / "conftest.py"
)
_fixtures = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_fixtures)

make_split = _fixtures.make_split
make_corpus = _fixtures.make_corpus
corpus_folder = _fixtures.corpus_folder
backbone_folder = _fixtures.backbone_folder


@pytest.fixture
def write_grid(tmp_path):
    """Write a grid as YAML; without `blocks` it has one run."""

    def write(*, name="tones", **content) -> Path:
        file = tmp_path / f"{name}.yaml"
        content = {"name": name, "blocks": [{"seed": 1}], **content}
        file.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
        return file

    return write


@pytest.fixture
def guesses(write_grid, corpus_folder):
    """A grid of four runs that take no time: a classifier that guesses, with four seeds, on the tones."""
    block = {"recipe": "baseline", "classifier": "random", "seed": [1, 2, 3, 4]}
    common = {"corpus": str(corpus_folder), "num_bootstrap_resamples": 10}
    return write_grid(name="guesses", common=common, blocks=[block])


@pytest.fixture
def trainings(write_grid, corpus_folder, backbone_folder):
    """Make a grid of trainings of a tiny backbone on the tones: three updates an epoch, a checkpoint after each."""

    def make(*blocks, name="trainings", **common) -> Path:
        fields = {
            "backbone": str(backbone_folder),
            "max_seconds": 2,
            "projection_size": 16,
            "corpus": str(corpus_folder),
            "method": "lora",
            "learning_rate": "1e-3",
            "num_train_epochs": 2,
            "per_device_train_batch_size": 4,
            "num_bootstrap_resamples": 10,
            **common,
        }
        return write_grid(name=name, common=fields, blocks=list(blocks))

    return make
