"""Cards of regressions, of models with several tasks, and of classifiers with another head or loss."""

import copy
import re
import sys

import numpy as np
import pytest
import soundfile
import torch
import yaml
from huggingface_hub import metadata_load
from huggingface_hub.repocard_data import model_index_to_eval_results

from nvv import NvvConfig, NvvForAudioClassification
from nvv.hub.model_card import CardFacts, ModelCardError, render_model_card, write_model_card
from nvv.hub.repository import save_repository
from nvv.loading_nvv import load_feature_extractor

TARGETS = ["arousal", "dominance", "valence"]
CLASSES = ["cry", "laugh"]


def score(value, *, speakers=False):
    made = {"value": value, "low": value - 0.1, "high": value + 0.05}
    return {**made, "speaker_low": value - 0.2, "speaker_high": value + 0.1} if speakers else made


def regression(value, *, speakers=True):
    """A task's results: every score is `value`, the error a tenth of it; nothing is known of the last target."""
    made = {"ccc": score(value, speakers=speakers), "pearson": score(value), "mae": score(value / 10)}
    return {
        "kind": "regression",
        "num_references": 20,
        "scores": made,
        "chance": {"constant": {"ccc": 0.0, "pearson": 0.0, "mae": 0.25}},
        "per_target": {"arousal": made, "dominance": {**made, "ccc": score(0.75)}, "valence": {}},
        "num_references_per_target": {"arousal": 20, "dominance": 19, "valence": 0},
    }


def classification(value):
    row = {"precision": 0.5, "recall": 0.75, "f1": 0.6, "num_references": 10, "num_predictions": 9}
    chance = dict.fromkeys(("uar", "macro_f1", "accuracy"), 0.5)
    return {
        "kind": "classification",
        "num_references": 20,
        "scores": dict.fromkeys(("uar", "macro_f1", "accuracy", "weighted_f1"), score(value)),
        "chance": {"majority": chance, "random": {**chance, "macro_f1": 0.625}},
        "per_class": [{"label": label, **row} for label in CLASSES],
        "confusion_matrix": [[1, 2], [3, 4]],
    }


INTERVAL = {
    "method": "percentile bootstrap",
    "unit": "clip",
    "units": ["clip", "speaker"],
    "confidence": 0.95,
    "num_resamples": 1000,
    "seed": 0,
}


def make_metrics(tasks, splits):
    return {
        "format_version": 1,
        "corpus": {"name": "bursts", "pretty_name": "Bursts", "licence": "cc-by-4.0", "config": "speaker"},
        "backbone": {"id": "openai/whisper-tiny", "revision": None, "random_init": False},
        "tuning": {"method": "frozen", "layers": None, "total_parameters": 100, "trainable_parameters": 10},
        "training": {"seed": 1, "selection_metric": "ccc", "best_validation_score": 0.5},
        "labels": [],
        "tasks": tasks,
        "splits": {
            name: {"num_clips": 20, "num_speakers": 4, "interval": INTERVAL, **result}
            for name, result in splits.items()
        },
        "provenance": {"config": {}, "versions": {"torch": "2.11.0"}, "git_commit": None, "device": "cpu"},
        "timing": {},
    }


@pytest.fixture
def adv():
    """Facts of a regression: arousal, dominance and valence."""
    task = {"name": "targets", "kind": "regression", "outputs": TARGETS, "loss": "ccc", "weight": 1.0}
    splits = {}
    for name, value in (("validation", 0.6), ("test", 0.5)):
        result = regression(value)
        splits[name] = {**{key: result[key] for key in result if key != "kind"}, "tasks": {"targets": result}}
    return CardFacts(
        metrics=make_metrics([task], splits),
        model_config={
            "id2label": {str(index): name for index, name in enumerate(TARGETS)},
            "head": "mlp",
            "pooling": "mean",
            "tasks": [{"name": "targets", "loss": "ccc", "weight": 1.0}],
        },
        plots=("regression.png",),
    )


@pytest.fixture
def joint():
    """Facts of a model with a regression and a classification; of the latter the test split has no reference."""
    tasks = [
        {"name": "feeling", "kind": "regression", "outputs": TARGETS, "loss": "ccc", "weight": 1.0},
        {"name": "type", "kind": "classification", "outputs": CLASSES, "loss": "focal", "weight": 0.5},
    ]
    unscored = {"kind": "classification", "num_references": 0, "scores": {}}
    splits = {
        "validation": {
            "scores": {"mean_score": score(0.65, speakers=True)},
            "tasks": {"feeling": regression(0.6), "type": classification(0.7)},
        },
        "test": {"scores": {"mean_score": score(0.5)}, "tasks": {"feeling": regression(0.5), "type": unscored}},
    }
    names = [*(f"feeling/{name}" for name in TARGETS), *(f"type/{name}" for name in CLASSES)]
    metrics = make_metrics(tasks, splits)
    metrics["training"]["selection_metric"] = "mean_score"
    metrics["provenance"]["config"] = {"data": {"tasks": {"type": {"label": "voc_type"}}}}
    return CardFacts(
        metrics=metrics,
        model_config={
            "id2label": {str(index): name for index, name in enumerate(names)},
            "head": "lstm",
            "pooling": "last",
            "lstm_layers": 2,
            "lstm_hidden_size": 512,
            "lstm_bidirectional": False,
            "focal_gamma": 2.0,
            "task_weighting": "fixed",
            "tasks": [
                {"name": "feeling", "loss": "ccc", "weight": 1.0},
                {"name": "type", "loss": "focal", "weight": 0.5},
            ],
        },
        plots=("confusion_matrix_type.png", "regression_feeling.png"),
    )


@pytest.fixture
def contrastive(adv):
    """Facts of a classifier with an embedding head."""
    result = {key: value for key, value in classification(0.5).items() if key not in ("kind", "num_references")}
    result["scores"]["macro_precision"] = score(0.5)
    for level in result["chance"].values():
        level |= {"weighted_f1": 0.5, "macro_precision": 0.5}
    metrics = make_metrics(None, {"validation": result, "test": result})
    del metrics["tasks"]
    metrics["labels"] = CLASSES
    config = {
        "id2label": {"0": "cry", "1": "laugh"},
        "head": "embedding",
        "loss": "supervised_contrastive",
        "embedding_size": 128,
        "contrastive_temperature": 0.1,
    }
    return CardFacts(metrics=metrics, model_config=config)


def body(facts):
    return render_model_card(facts).text


def code(facts):
    return re.findall(r"```python\n(.*?)```", body(facts), flags=re.DOTALL)


def test_regression_card_lists_scores_by_target_with_intervals_over_clips_and_speakers(adv):
    text = body(adv)
    assert "that predicts 3 numbers for a short recording of a voice" in text
    assert "Targets: `arousal`, `dominance`, `valence`." in text
    assert "without softmax or sigmoid" in text
    row = (
        "| CCC, mean over 3 targets | 0.600 [0.500, 0.650] [0.400, 0.700] | 0.500 [0.400, 0.550] [0.300, 0.600] "
        "| 0.000 |"
    )
    assert row in text
    assert (
        "| mean absolute error, mean over 3 targets | 0.060 [-0.040, 0.110] | 0.050 [-0.050, 0.100] | 0.250 |" in text
    )
    assert "### By target (test)" in text
    assert "| dominance | 0.750 [0.650, 0.800] | 0.500 [0.400, 0.550] | 0.050 [-0.050, 0.100] | 19 |" in text
    assert "| valence | - | - | - | 0 |" in text
    assert "![CCC of each target on the test clips](regression.png)" in text
    assert "(by CCC)" in text
    assert "Without listening: for every clip the same number, the median of the target." in text
    assert "| loss | 1 - CCC |" in text
    for word in ("class", "Classes", "softmax(", "per cent", "pipeline", "probabilities", "None"):
        assert word not in text.split("## Licence")[0].replace("AutoModelForAudioClassification", ""), word


def test_joint_card_lists_every_task_and_says_which_has_no_reference(joint):
    text = body(joint)
    assert (
        "does 2 tasks at once for a short recording of a voice: `feeling` (3 numbers), `type` (one of 2 classes)"
        in text
    )
    assert "- `type` (classes, the corpus's column `voc_type`): `cry`, `laugh`" in text
    assert "| mean over tasks of CCC or UAR | 0.650 [0.550, 0.700] [0.450, 0.750] | 0.500 [0.400, 0.550] | - |" in text
    assert "| type: macro-F1 | 0.700 [0.600, 0.750] | - | - |" in text
    assert "and so not scored: `type` on test." in text
    assert "### feeling, by target (test)" in text
    assert "### type, by class (validation)" in text
    assert "| laugh | 0.500 | 0.750 | 0.600 | 10 |" in text
    assert "](regression_feeling.png)" in text
    assert "](confusion_matrix_type.png)" in text
    assert "| head's size | LSTM, 2 x 512, one direction |" in text
    assert "| loss | feeling: 1 - CCC x 1, type: focal (gamma 2) x 0.5 |" in text
    assert "(by mean over tasks of CCC or UAR)" in text


def test_joint_card_gives_what_guessing_scores_when_the_test_split_has_references(joint):
    metrics = copy.deepcopy(dict(joint.metrics))
    metrics["splits"]["test"]["tasks"]["type"] = classification(0.8)
    text = body(CardFacts(metrics=metrics, model_config=joint.model_config))
    assert "| type: macro-F1 | 0.700 [0.600, 0.750] | 0.800 [0.700, 0.850] | 0.625 |" in text
    assert "not scored" not in text
    assert "### type, by class (test)" in text
    assert "](regression_feeling.png)" not in text  # the file is not there


def test_learned_task_weights_are_said(joint):
    joint.model_config["task_weighting"] = "uncertainty"
    assert "| loss | feeling: 1 - CCC, type: focal (gamma 2); weighted by learned uncertainties |" in body(joint)


def test_metadata_report_the_scores_of_every_task(adv, joint, tmp_path):
    metadata = metadata_load(write_model_card(tmp_path, adv))
    assert metadata["metrics"] == ["ccc", "pearsonr", "mae"]
    assert "audio-regression" in metadata["tags"]
    assert "multi-task-learning" not in metadata["tags"]
    _, results = model_index_to_eval_results(metadata["model-index"])
    assert {item.metric_name: item.metric_value for item in results} == {
        "CCC, mean over 3 targets": 0.5,
        "Pearson correlation, mean over 3 targets": 0.5,
        "mean absolute error, mean over 3 targets": 0.05,
    }
    metadata = metadata_load(write_model_card(tmp_path, joint))
    assert {"audio-regression", "multi-task-learning"} <= set(metadata["tags"])
    _, results = model_index_to_eval_results(metadata["model-index"])
    # The classification has no reference in the test split, so no score of it is reported.
    assert [item.metric_type for item in results] == ["ccc", "pearsonr", "mae"]
    assert results[0].metric_name == "feeling: CCC, mean over 3 targets"


def test_unscored_test_split_reports_nothing(adv, tmp_path):
    metrics = copy.deepcopy(dict(adv.metrics))
    unscored = {"num_references": 0, "scores": {}}
    test = {"num_clips": 20, "num_speakers": None, **unscored, "tasks": {"targets": {"kind": "regression", **unscored}}}
    metrics["splits"]["test"] = test
    facts = CardFacts(metrics=metrics, model_config=adv.model_config)
    text = body(facts)
    assert "| CCC, mean over 3 targets | 0.600 [0.500, 0.650] [0.400, 0.700] | - | - |" in text
    assert "### By target (validation)" in text
    assert "not scored: `targets` on test." in text
    assert "model-index" not in metadata_load(write_model_card(tmp_path, facts))


def test_classifier_with_unlabelled_test_clips_says_so(contrastive):
    metrics = copy.deepcopy(dict(contrastive.metrics))
    metrics["splits"]["test"] = {"num_clips": 20, "num_speakers": None, "num_references": 0, "scores": {}}
    text = body(CardFacts(metrics=metrics, model_config=contrastive.model_config))
    assert "test 20 clips (none of them labelled)" in text
    assert "| macro-F1 | 50.0 [40.0, 55.0] | - | - | - |" in text
    assert "### By class (validation)" in text


def test_contrastive_card_explains_its_answers_and_shows_the_embedding(contrastive):
    text = body(contrastive)
    assert "one of 2 classes, by the nearest of their mean embeddings (supervised contrastive learning)" in text
    assert "embedding = model.embed(**inputs)[0]  # (128,)" in code(contrastive)[0]
    assert "| loss | supervised contrastive (temperature 0.1) |" in text
    assert "| head's size | embeddings of 128 numbers |" in text
    header = yaml.safe_load(str(render_model_card(contrastive)).split("---\n")[1])
    assert "supervised-contrastive-learning" in header["tags"]


def test_classes_that_were_put_together_are_named(contrastive):
    metrics = copy.deepcopy(dict(contrastive.metrics))
    metrics["labels"] = ["other", "giggle+laugh"]
    metrics["provenance"]["config"] = {"data": {"positive_labels": ["giggle", "laugh"]}}
    text = body(CardFacts(metrics=metrics))
    assert "`giggle+laugh` stands for the corpus's classes `giggle`, `laugh`, `other` for all others." in text


def test_augmentation_is_listed_when_there_was_any(contrastive):
    metrics = copy.deepcopy(dict(contrastive.metrics))
    metrics["provenance"]["config"] = {"data": {"augment": {"noise": {"probability": 0.5}}, "mixup_alpha": 0}}
    text = body(CardFacts(metrics=metrics))
    assert "| `augment` | noise: probability: 0.5 |" in text
    assert "mixup_alpha" not in text


def test_outputs_of_another_model_are_refused(adv, joint):
    with pytest.raises(ModelCardError, match=r"config.json has \['feeling/arousal', .*metrics.json has \['arousal'"):
        CardFacts(metrics=adv.metrics, model_config=joint.model_config)


def save_model(folder, backbone_config, **fields):
    torch.manual_seed(0)
    config = NvvConfig(backbone_config=backbone_config, backbone_id="openai/whisper-tiny", max_seconds=2.0, **fields)
    model = NvvForAudioClassification(config)
    save_repository(model, load_feature_extractor("openai/whisper-tiny", random_init=True), folder)
    return model


@pytest.fixture
def run_code(tmp_path, monkeypatch, capsys):
    """The function that runs a card's code beside a saved model, on one second of noise, and returns what it prints."""

    def run(*blocks):
        monkeypatch.chdir(tmp_path)
        noise = np.random.default_rng(0).normal(scale=0.1, size=8_000).astype(np.float32)
        soundfile.write(tmp_path / "clip.wav", noise, 8_000)
        capsys.readouterr()
        variables = {}
        exec(compile("\n".join(blocks), "card", "exec"), variables)
        return capsys.readouterr().out.splitlines(), variables

    yield run
    for name in [name for name in sys.modules if name.startswith("transformers_modules")]:
        del sys.modules[name]


def test_regressions_code_prints_each_target_with_its_value(adv, tmp_path, run_code, tiny_backbone_config):
    save_model(
        tmp_path,
        tiny_backbone_config("whisper"),
        tasks=[{"name": "targets", "kind": "regression", "outputs": TARGETS}],
    )
    printed, variables = run_code(*code(adv))
    values = variables["model"](**variables["inputs"]).logits[0].tolist()
    assert printed == [f"{name}: {value:.3f}" for name, value in zip(TARGETS, values, strict=True)]


def test_joint_models_code_prints_the_answer_of_every_task(joint, tmp_path, run_code, tiny_backbone_config):
    save_model(
        tmp_path,
        tiny_backbone_config("whisper"),
        tasks=[
            {"name": "feeling", "kind": "regression", "outputs": TARGETS},
            {"name": "type", "kind": "classification", "outputs": CLASSES},
        ],
    )
    printed, variables = run_code(*code(joint))
    outputs = variables["model"](**variables["inputs"]).logits[0]
    expected = [f"feeling, {name}: {value:.3f}" for name, value in zip(TARGETS, outputs[:3].tolist(), strict=True)]
    assert printed == [*expected, f"type: {CLASSES[int(outputs[3:].argmax())]}"]


def test_contrastive_models_code_gives_an_embedding(contrastive, tmp_path, run_code, tiny_backbone_config):
    save_model(
        tmp_path,
        tiny_backbone_config("whisper"),
        head="embedding",
        loss="supervised_contrastive",
        id2label=dict(enumerate(CLASSES)),
        label2id={name: index for index, name in enumerate(CLASSES)},
    )
    printed, variables = run_code(*code(contrastive))
    assert printed[-1] in CLASSES
    assert variables["embedding"].shape == (128,)
    torch.testing.assert_close(variables["embedding"].norm(), torch.tensor(1.0))


def test_detectors_code_applies_the_operating_point(contrastive, tmp_path, run_code, tiny_backbone_config):
    fields = {"id2label": dict(enumerate(CLASSES)), "label2id": {name: index for index, name in enumerate(CLASSES)}}
    model = save_model(tmp_path, tiny_backbone_config("whisper"), **fields)
    config = {**contrastive.model_config, "head": "linear", "loss": "cross_entropy"}
    for threshold, expected in ((0.001, True), (0.999, False)):
        config["operating_points"] = {"laugh": {"threshold": threshold}}
        model.config.operating_points = config["operating_points"]
        model.config.save_pretrained(tmp_path)
        facts = CardFacts(metrics=contrastive.metrics, model_config=config)
        _, variables = run_code(*code(facts))
        assert variables["is_detected"].tolist() == [expected]
        assert (variables["probabilities"][0, 1].item() >= 0.5) is expected
