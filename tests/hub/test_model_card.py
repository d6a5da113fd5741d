import copy
import dataclasses
import json
import re
from pathlib import Path

import pytest
import yaml
from huggingface_hub import ModelCard, metadata_load
from huggingface_hub.repocard_data import model_index_to_eval_results

from nvv.hub import model_card
from nvv.hub.model_card import CardFacts, ModelCardError, card_data, render_model_card, write_model_card

LABELS = ["cough", "laugh", "sigh"]


def make_row(label, *, precision=None, recall=None, f1=None, num_references=0, num_predictions=0):
    return {
        "label": label,
        "precision": precision,
        "recall": recall,
        "f1": f1,
        "num_references": num_references,
        "num_predictions": num_predictions,
    }


def make_split(value):
    score = {"value": value, "low": value - 0.1, "high": value + 0.05}
    names = ("accuracy", "uar", "macro_f1", "weighted_f1", "macro_precision", "macro_recall", "weighted_precision")
    chance = dict.fromkeys(names, 1 / 3)
    return {
        "num_clips": 30,
        "num_speakers": 6,
        "scores": dict.fromkeys(names, score),
        "interval": {
            "method": "percentile bootstrap",
            "unit": "clip",
            "confidence": 0.95,
            "num_resamples": 1000,
            "seed": 0,
        },
        "chance": {"majority": chance, "random": dict.fromkeys(names, 0.25)},
        "per_class": [
            make_row("cough", precision=0.5, recall=0.75, f1=0.6, num_references=20, num_predictions=30),
            make_row("laugh", recall=0.0, f1=0.0, num_references=10),
            make_row("sigh"),
        ],
        "confusion_matrix": [[15, 0, 5], [10, 0, 0], [0, 0, 0]],
    }


@pytest.fixture
def metrics():
    return {
        "format_version": 1,
        "corpus": {
            "name": "nonverbal_vocalization",
            "pretty_name": "Deeply Nonverbal Vocalization Dataset",
            "licence": "cc-by-nc-nd-4.0",
            "licence_url": "https://creativecommons.org/licenses/by-nc-nd/4.0/",
            "homepage": "https://example.org/corpus",
            "citation": "@misc{corpus,\n  title = {Corpus},\n}",
            "notes": ["Recorded by phone."],
            "is_synthetic": False,
            "config": "speaker",
        },
        "backbone": {"id": "openai/whisper-tiny", "revision": "169d4a4", "random_init": False},
        "tuning": {"method": "lora", "layers": [0, 1, 2], "total_parameters": 8000, "trainable_parameters": 100},
        "training": {
            "seed": 42,
            "selection_metric": "macro_f1",
            "best_validation_score": 0.6,
            "best_step": 20,
            "best_epoch": 2.0,
        },
        "labels": LABELS,
        "splits": {"validation": make_split(0.6), "test": make_split(0.5)},
        "provenance": {
            "config": {
                "model": {"backbone": "openai/whisper-tiny", "label_smoothing": 0.1},
                "tuning": {"method": "lora", "lora_rank": 8, "adapter_bottleneck": 64},
                "training": {"learning_rate": 1e-4, "max_steps": -1, "bf16": False, "output_dir": "/home/somebody/run"},
            },
            "versions": {"python": "3.11.7", "torch": "2.11.0"},
            "git_commit": "0123abc",
            "device": "cpu",
        },
        "timing": {"wall_time_s": 83.2},
    }


@pytest.fixture
def model_config():
    return {
        "model_type": "nvv",
        "id2label": {str(index): name for index, name in enumerate(LABELS)},
        "max_seconds": 7.0,
        "head": "linear",
        "pooling": "mean",
        "layers": None,
        "padding": "mask",
    }


@pytest.fixture
def facts(metrics, model_config):
    plots = ("confusion_matrix.png", "layer_weights.png")
    return CardFacts(metrics=metrics, model_config=model_config, adapter_only=True, plots=plots)


def body(facts):
    """The card without its metadata."""
    return render_model_card(facts).text


def metadata(facts):
    return yaml.safe_load(str(render_model_card(facts)).split("---\n")[1])


def test_whole_card_reads_as_expected(facts):
    # Read by eye when it was written; after an intended change, write str(render_model_card(facts)) there and read it.
    expected = Path(__file__).with_name("expected_model_card.md").read_text(encoding="utf-8")
    assert str(render_model_card(facts)) == expected


def test_intervals_over_speakers_stand_beside_those_over_clips_when_known(facts):
    metrics = copy.deepcopy(dict(facts.metrics))
    for result in metrics["splits"].values():
        result["interval"]["units"] = ["clip", "speaker"]
        for score in result["scores"].values():
            score.update(speaker_low=0.25, speaker_high=0.75)
    text = str(render_model_card(dataclasses.replace(facts, metrics=metrics)))
    assert "| macro-F1 | 60.0 [50.0, 65.0] [25.0, 75.0] |" in text
    assert "in brackets the 95 % bootstrap intervals." in text
    assert "clips (first brackets) or whole speakers (second) are drawn" in text


def test_protocol_that_tests_on_what_chose_the_checkpoint_says_so(facts):
    metrics = copy.deepcopy(dict(facts.metrics))
    metrics["corpus"]["protocol_note"] = "The held-out fold chooses the checkpoint."
    text = str(render_model_card(dataclasses.replace(facts, metrics=metrics)))
    assert "The held-out fold chooses the checkpoint. Intervals:" in text
    assert "the test split was only reported" not in text


def test_metadata_is_read_back_by_the_hub_library_when_saved(facts, tmp_path):
    path = write_model_card(tmp_path, facts)
    loaded = metadata_load(path)
    assert loaded["license"] == "cc-by-nc-4.0"
    assert loaded["library_name"] == "transformers"
    assert loaded["pipeline_tag"] == "audio-classification"
    assert loaded["base_model"] == "openai/whisper-tiny"
    assert loaded["base_model_relation"] == "adapter"
    assert loaded["datasets"] == ["nonverbal_vocalization"]
    assert {"non-verbal-vocalization", "audio-classification", "lora", "peft"} <= set(loaded["tags"])
    assert None not in loaded.values()


def test_test_scores_survive_the_model_index(facts, tmp_path):
    path = write_model_card(tmp_path, facts)
    name, results = model_index_to_eval_results(metadata_load(path)["model-index"])
    assert name == "whisper-tiny-nonverbal-vocalization-lora"
    assert results == card_data(facts).eval_results == ModelCard.load(path).data.eval_results
    values = {result.metric_name: result.metric_value for result in results}
    assert values["macro-F1"] == 0.5
    assert {result.dataset_split for result in results} == {"test"}
    assert {result.dataset_config for result in results} == {"speaker"}


def test_full_model_is_a_finetune_and_needs_no_peft(facts):
    full = dataclasses.replace(facts, adapter_only=False)
    assert metadata(full)["base_model_relation"] == "finetune"
    assert "pip install transformers torch torchaudio soundfile\n" in body(full)
    assert "soundfile peft\n" in body(facts)
    assert "fetches `openai/whisper-tiny` at revision `169d4a4`" in body(facts)
    assert "fetches" not in body(full)


def test_head_alone_fetches_the_backbone_without_peft(facts, model_config):
    model_config["saved_weights"] = "head"
    text = body(dataclasses.replace(facts, adapter_only=False))
    assert "A head for the speech encoder `openai/whisper-tiny`" in text
    assert "loading fetches `openai/whisper-tiny` at revision `169d4a4`" in text
    assert "soundfile peft" not in text


def test_licence_of_random_weights_is_the_corpus_alone(facts, metrics):
    metrics["backbone"].update(id="microsoft/wavlm-base-plus", random_init=True)
    assert metadata(facts)["license"] == "cc-by-nc-4.0"
    assert "the backbone's weights are random and bring no licence" in body(facts)


def test_relative_links_lead_to_files_beside_the_card(facts, metrics, model_config, tmp_path):
    for name, content in {"metrics.json": metrics, "config.json": model_config, "adapter_config.json": {}}.items():
        (tmp_path / name).write_text(json.dumps(content))
    for name in facts.plots:
        (tmp_path / name).touch()
    text = write_model_card(tmp_path).read_text(encoding="utf-8")
    targets = re.findall(r"\]\(([^)]+)\)", text)
    relative = [target for target in targets if not target.startswith("https://")]
    assert sorted(relative) == ["confusion_matrix.png", "layer_weights.png"]
    assert all((tmp_path / target).is_file() for target in relative)
    assert text == str(render_model_card(facts))


def test_plots_are_left_out_when_they_were_not_made(facts):
    without = body(dataclasses.replace(facts, plots=()))
    assert "![" not in without


def test_usage_compiles_and_names_the_repository(facts):
    (block,) = re.findall(r"```python\n(.*?)```", body(facts), flags=re.DOTALL)
    compile(block, "card", "exec")
    assert 'repository = "."  # this folder' in block
    (block,) = re.findall(
        r"```python\n(.*?)```", body(dataclasses.replace(facts, repository_id="me/it's")), flags=re.DOTALL
    )
    compile(block, "card", "exec")
    assert 'repository = "me/it\'s"\n' in block
    assert block.count("trust_remote_code=True") == 2


def test_random_weights_are_said_first_and_name_no_base_model(facts, metrics):
    metrics["backbone"]["random_init"] = True
    text = body(facts)
    assert text.index("**No evidence.** The backbone has the size of `openai/whisper-tiny`") < text.index("Classes:")
    assert "the random backbone is drawn again from its seed" in text
    data = metadata(facts)
    assert "base_model" not in data
    assert "base_model_relation" not in data
    assert "random-weights" in data["tags"]


def test_synthetic_corpus_is_said_first(facts, metrics):
    metrics["corpus"]["is_synthetic"] = True
    text = body(facts)
    assert text.index("**No evidence.** The corpus is synthetic") < text.index("Classes:")
    assert "synthetic-data" in metadata(facts)["tags"]


def test_real_corpus_and_pretrained_weights_carry_no_warning(facts):
    assert "No evidence" not in body(facts)


def test_unknown_fields_are_left_out(facts, metrics):
    metrics["backbone"]["revision"] = None
    metrics["training"].update(best_step=None, best_epoch=None)
    metrics["provenance"].update(git_commit=None, config={})
    metrics["timing"] = {}
    for name in ("homepage", "citation", "licence_url", "notes", "pretty_name"):
        metrics["corpus"].pop(name)
    metrics["splits"]["test"]["num_speakers"] = None
    text = body(dataclasses.replace(facts, model_config={}))
    for absent in ("None", "revision", "commit", "training time", "tested checkpoint", "Hyper-parameters", "bibtex"):
        assert absent not in text, absent
    assert "test 30 clips." in text


def test_unknown_licence_is_other_with_a_name(facts, metrics):
    metrics["backbone"]["id"] = "microsoft/wavlm-base-plus"
    assert metadata(facts)["license"] == "other"
    assert metadata(facts)["license_name"] == "unknown"
    assert "the backbone's terms are not known" in body(facts)


def test_folders_of_this_machine_are_not_named(facts, metrics, tmp_path):
    folder = tmp_path / "my-backbone"
    folder.mkdir()
    metrics["backbone"]["id"] = str(folder)
    metrics["corpus"]["name"] = str(folder)
    metrics["corpus"].pop("pretty_name")
    text = str(render_model_card(facts))
    assert str(tmp_path) not in text
    assert "`my-backbone`" in text
    assert "base_model" not in metadata(facts)
    assert "datasets" not in metadata(facts)
    assert "/home/somebody" not in text


def test_hub_dataset_id_is_used_when_there_is_one(facts):
    assert metadata(dataclasses.replace(facts, dataset_id="nvv/deeply"))["datasets"] == ["nvv/deeply"]


def test_hyper_parameters_are_those_of_the_method(facts, metrics):
    text = body(facts)
    assert "| `lora_rank` | 8 |" in text
    assert "| `learning_rate` | 0.0001 |" in text
    assert "adapter_bottleneck" not in text
    metrics["tuning"]["method"] = "combined"
    assert "| `adapter_bottleneck` | 64 |" in body(facts)


def test_stratified_split_warns_of_shared_speakers(facts, metrics):
    assert "may also be in the training clips" not in body(facts)
    metrics["corpus"]["config"] = "stratified"
    assert "may also be in the training clips" in body(facts)


def test_other_labels_than_the_models_are_refused(metrics, model_config):
    model_config["id2label"] = {"0": "laugh", "1": "cough", "2": "sigh"}
    with pytest.raises(ModelCardError, match=r"labels: config.json has \['laugh', 'cough', 'sigh'\]"):
        CardFacts(metrics=metrics, model_config=model_config)


def test_missing_files_and_fields_are_named(facts, metrics, tmp_path):
    with pytest.raises(ModelCardError, match=r"expected metrics.json, found none"):
        CardFacts.from_directory(tmp_path)
    del metrics["splits"]["test"]["per_class"]
    with pytest.raises(ModelCardError, match="has no field 'per_class'"):
        render_model_card(facts)


def test_template_variable_without_a_value_is_an_error(facts, monkeypatch):
    monkeypatch.setattr(model_card, "load_template", lambda: "{{ nobody_knows }}")
    with pytest.raises(ModelCardError, match="the template: 'nobody_knows' is undefined"):
        render_model_card(facts)
