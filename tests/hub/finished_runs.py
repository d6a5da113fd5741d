"""Folders of finished runs to push: a real model repository of a tiny encoder, with the results that a run leaves."""

import json

import pytest
from transformers import CONFIG_MAPPING, Wav2Vec2FeatureExtractor

from nvv import NvvForAudioClassification
from nvv.hub.model_card import write_model_card
from nvv.hub.repository import save_repository
from nvv.training.tuning import TuningArguments, apply_tuning

LABELS = ("laugh", "sigh", "cough")
CORPORA = {
    "vivae": {"pretty_name": "VIVAE", "licence": "cc-by-nc-4.0"},  # copies may be public
    "cnvve": {"pretty_name": "CNVVE", "licence": "unknown"},  # they may not
}
# Three layers of 32 channels; the position table holds 3 s.
_ENCODER = {"d_model": 32, "encoder_layers": 3, "encoder_attention_heads": 4, "encoder_ffn_dim": 64}
_ENCODER |= {"decoder_layers": 1, "decoder_attention_heads": 4, "decoder_ffn_dim": 64, "num_mel_bins": 16}
_ENCODER |= {"max_source_positions": 150, "vocab_size": 64, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
_ENCODER |= {"decoder_start_token_id": 1}


def _metrics(corpus, method):
    score = {"value": 0.5, "low": 0.4, "high": 0.6}
    names = ("accuracy", "uar", "macro_f1", "weighted_f1", "macro_precision", "macro_recall", "weighted_precision")
    row = {"precision": 0.5, "recall": 0.5, "f1": 0.5, "num_references": 2, "num_predictions": 2}
    split = {
        "num_clips": 6,
        "num_speakers": 3,
        "scores": dict.fromkeys(names, score),
        "interval": {"method": "bootstrap", "unit": "clip", "confidence": 0.95, "num_resamples": 20, "seed": 0},
        "chance": {"majority": dict.fromkeys(names, 1 / 3), "random": dict.fromkeys(names, 1 / 3)},
        "per_class": [{"label": label, **row} for label in LABELS],
        "confusion_matrix": [[1, 1, 0], [0, 1, 1], [1, 0, 1]],
    }
    return {
        "format_version": 1,
        "corpus": {"name": corpus, "is_synthetic": False, "config": "speaker", "notes": [], **CORPORA[corpus]},
        "backbone": {"id": "openai/whisper-tiny", "revision": "169d4a4", "random_init": True},
        "tuning": {"method": method, "layers": None, "total_parameters": 8000, "trainable_parameters": 100},
        "training": {
            "seed": 42,
            "selection_metric": "macro_f1",
            "best_validation_score": 0.6,
            "best_step": 20,
            "best_epoch": 2.0,
        },
        "labels": list(LABELS),
        "splits": {"validation": split, "test": split},
        "provenance": {"config": {"training": {}}, "versions": {}, "git_commit": None, "device": "cpu"},
        "timing": {"training_s": 1.0},
    }


@pytest.fixture
def make_run(tmp_path):
    """The function that makes a finished run's folder: model by method, results, card, and what a run leaves behind."""

    def make(method="lora", *, corpus="vivae", name="run"):
        backbone, folder = tmp_path / "tiny_whisper", tmp_path / name
        CONFIG_MAPPING["whisper"](**_ENCODER).save_pretrained(backbone)
        model = NvvForAudioClassification.from_backbone(
            str(backbone), random_init=True, max_seconds=3.0, id2label=dict(enumerate(LABELS))
        )
        model = apply_tuning(model, TuningArguments(method=method))
        save_repository(model, Wav2Vec2FeatureExtractor(return_attention_mask=True, do_normalize=False), folder)
        for file, content in {
            "metrics.json": json.dumps(_metrics(corpus, method)),
            "predictions.csv": "split,file,reference\ntest,S1/a.wav,laugh\n",
            "config_resolved.yaml": f"method: {method}\n",
            "confusion_matrix.png": "a picture",
        }.items():
            (folder / file).write_text(content)
        # What is never uploaded.
        for file in ("checkpoint-20/model.safetensors", ".cache/notes", "runs/events", ".incomplete-7-metrics.json"):
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            (folder / file).write_text("left behind")
        write_model_card(folder)
        return folder

    return make
