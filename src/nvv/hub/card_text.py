"""The wording of a model card's parts, from the facts that `model_card` gathers.

Pure functions from recorded facts to Markdown. Scores are written in per cent with one decimal. Own work.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .model_card import CardFacts

PLOTS = ("confusion_matrix.png", "layer_weights.png", "layer_scores.png")

_SCORES = {
    "macro_f1": "macro-F1",
    "uar": "UAR (balanced accuracy)",
    "accuracy": "accuracy",
    "weighted_f1": "weighted F1",
    "macro_precision": "macro precision",
}

_METHODS = {
    "frozen": "frozen backbone, only the head trained (linear probe)",
    "full": "all parameters trained",
    "partial": "all parameters trained but the convolutional front-end's",
    "lora": "LoRA",
    "adapter": "bottleneck adapters",
    "prompt": "deep prompt tuning",
    "combined": "LoRA, bottleneck adapters and deep prompts together",
}

_TRAINING_FIELDS = (
    "num_train_epochs",
    "max_steps",
    "learning_rate",
    "lr_scheduler_type",
    "warmup_ratio",
    "warmup_steps",
    "optim",
    "weight_decay",
    "max_grad_norm",
    "per_device_train_batch_size",
    "gradient_accumulation_steps",
    "train_sampling_strategy",
    "class_balanced_loss",
    "label_smoothing",
    "early_stopping_patience",
    "bf16",
    "fp16",
    "layerdrop",
    "apply_spec_augment",
    "max_train_clips",
    "max_evaluation_clips",
)

# The options of each tuning method by the start of their names; a method's card lists its own only.
_TUNING_FIELDS = {
    "lora": ("lora_",),
    "adapter": ("adapter_",),
    "prompt": ("num_prompts", "prompt_"),
    "combined": ("lora_", "adapter_", "num_prompts", "prompt_"),
    "peft": ("peft_",),
}

_USAGE = """\
import soundfile
import torch
import torchaudio
from transformers import AutoFeatureExtractor, AutoModelForAudioClassification, pipeline

repository = {repository}{comment}
samples, sampling_rate = soundfile.read("clip.wav", dtype="float32", always_2d=True)
samples = samples.mean(axis=1)  # mono

# In one call; a clip at another rate is resampled.
classifier = pipeline("audio-classification", model=repository, trust_remote_code=True)
for answer in classifier({{"array": samples, "sampling_rate": sampling_rate}}, top_k=3):
    print(f"{{answer['label']}}: {{answer['score']:.3f}}")

# Step by step, with the model at hand.
feature_extractor = AutoFeatureExtractor.from_pretrained(repository)
model = AutoModelForAudioClassification.from_pretrained(repository, trust_remote_code=True).eval()
waveform = torchaudio.functional.resample(torch.from_numpy(samples), sampling_rate, feature_extractor.sampling_rate)
inputs = feature_extractor(waveform.numpy(), sampling_rate=feature_extractor.sampling_rate, return_tensors="pt")
with torch.inference_mode():
    probabilities = model(**inputs).logits.softmax(dim=-1)[0]
print(model.config.id2label[int(probabilities.argmax())])"""


def inline_code(text: str) -> str:
    """Set a text as code."""
    return f"`{text}`"


def _cell(value: Any) -> str:
    """Write a value into a table's cell."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return ", ".join(f"{name}: {_cell(item)}" for name, item in value.items())
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(str(item) for item in value)
    return str(value).replace("|", "\\|").replace("\n", " ")


def _table(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Write a Markdown table, numbers to the right of the first column."""
    lines = ["| " + " | ".join(header) + " |", "| --- |" + " ---: |" * (len(header) - 1)]
    lines += ["| " + " | ".join(_cell(value) for value in row) + " |" for row in rows]
    return "\n".join(lines)


def _facts_table(rows: Iterable[tuple[str, Any]]) -> str:
    """Write a table of names and values, leaving out what is not known."""
    known = [(name, value) for name, value in rows if value is not None and value != "" and value != []]
    lines = ["| | |", "| --- | --- |", *(f"| {name} | {_cell(value)} |" for name, value in known)]
    return "\n".join(lines)


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}"


def _setting(config: Any, name: str) -> Any:
    """Return a field of the resolved configuration, at the top or in one of its groups; None where it is absent."""
    if not isinstance(config, Mapping):
        return None
    if name in config:
        return config[name]
    for group in config.values():
        if isinstance(group, Mapping) and name in group:
            return group[name]
    return None


def _all_settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return every field of the resolved configuration by its name, groups opened."""
    settings: dict[str, Any] = {}
    for name, value in config.items():
        settings.update(value if isinstance(value, Mapping) and not name.startswith("peft_") else {name: value})
    return settings


def _corpus_name(facts: CardFacts) -> str:
    corpus = facts.metrics["corpus"]
    name = corpus.get("pretty_name") or Path(corpus["name"]).name
    return f"[{name}]({corpus['homepage']})" if corpus.get("homepage") else name


def _backbone_name(facts: CardFacts) -> str:
    """Name the backbone; of a folder only its last part, since where it stood on a machine says nothing."""
    name = facts.metrics["backbone"]["id"]
    return Path(name).name if Path(name).is_absolute() else name


def _warnings(facts: CardFacts) -> list[str]:
    warnings = []
    if facts.metrics["backbone"]["random_init"]:
        warnings.append(
            f"The backbone has the size of `{_backbone_name(facts)}` but random weights: it never heard speech. This "
            "model shows that the software runs; its scores say nothing about the backbone or the method."
        )
    if facts.metrics["corpus"].get("is_synthetic"):
        warnings.append(
            "The corpus is synthetic: every sound was computed, none was recorded. "
            "The scores say nothing about the voices of people."
        )
    return warnings


def _summary(facts: CardFacts) -> str:
    metrics = facts.metrics
    backbone, method = metrics["backbone"], metrics["tuning"]["method"]
    start = "with random weights" if backbone["random_init"] else "pretrained"
    what = "A model built on"
    if facts.adapter_only or facts.head_only:
        what = "An adapter and a head for" if facts.adapter_only else "A head for"
    return (
        f"{what} the speech encoder `{_backbone_name(facts)}` ({start}) that names the non-verbal vocalization in a "
        f"short recording: one of {len(metrics['labels'])} classes. Trained on {_corpus_name(facts)}; method: "
        f"{_METHODS.get(method, method)}."
    )


def _usage_notes(facts: CardFacts) -> str:
    backbone = facts.metrics["backbone"]
    sentences = ["`trust_remote_code=True` runs the Python files of this repository; read them first."]
    if (facts.adapter_only or facts.head_only) and backbone["random_init"]:
        sentences.append("Only what was trained is stored here; the random backbone is drawn again from its seed.")
    elif facts.adapter_only or facts.head_only:
        revision = f" at revision `{backbone['revision']}`" if backbone.get("revision") else ""
        sentences.append(
            f"Only what was trained is stored here: loading {'needs `peft` and ' if facts.adapter_only else ''}fetches "
            f"`{_backbone_name(facts)}`{revision}."
        )
    max_seconds = facts.model_config.get("max_seconds")
    if max_seconds is not None:
        sentences.append(f"Only the first {max_seconds:g} seconds of a clip are heard.")
    return " ".join(sentences)


def _results_caption(facts: CardFacts) -> str:
    parts = []
    for name, result in facts.metrics["splits"].items():
        speakers = f" by {result['num_speakers']} speakers" if result.get("num_speakers") else ""
        parts.append(f"{name} {result['num_clips']} clips{speakers}")
    has_two = any(len(result["interval"].get("units", ())) > 1 for result in facts.metrics["splits"].values())
    interval = "intervals" if has_two else "interval"
    return (
        f"{_corpus_name(facts)}, split protocol `{facts.metrics['corpus']['config']}`: {', '.join(parts)}. "
        f"Scores in per cent; in brackets the 95 % bootstrap {interval}."
    )


def _results_table(facts: CardFacts) -> str:
    splits = facts.metrics["splits"]
    header = ["score", *splits, *(["majority class (test)", "random guess (test)"] if "test" in splits else [])]
    rows = []
    for name, title in _SCORES.items():
        row = [title]
        for result in splits.values():
            score = result["scores"][name]
            cell = f"{_percent(score['value'])} [{_percent(score['low'])}, {_percent(score['high'])}]"
            if "speaker_low" in score:
                cell += f" [{_percent(score['speaker_low'])}, {_percent(score['speaker_high'])}]"
            row.append(cell)
        if "test" in splits:
            chance = splits["test"]["chance"]
            row += [_percent(chance["majority"][name]), _percent(chance["random"][name])]
        rows.append(row)
    return _table(header, rows)


def _results_notes(facts: CardFacts) -> str:
    interval = next(iter(facts.metrics["splits"].values()))["interval"]
    training = facts.metrics["training"]
    chosen = _SCORES.get(training["selection_metric"], training["selection_metric"])
    drawn = "whole speakers are" if interval["unit"] == "speaker" else "clips are"
    if len(interval.get("units", ())) > 1:
        drawn = "clips (first brackets) or whole speakers (second) are"
    note = facts.metrics["corpus"].get("protocol_note")
    fairness = note or (
        f"The validation split chose the checkpoint (by {chosen}), so its scores are optimistic; the test split was "
        "only reported."
    )
    return (
        f"{fairness} Intervals: {interval['method']}, {interval['num_resamples']:,} resamples in which {drawn} "
        "drawn. They cover the chance of which clips were tested, not that of another training run."
    )


def _class_table(facts: CardFacts) -> str:
    rows = [
        (row["label"], _percent(row["precision"]), _percent(row["recall"]), _percent(row["f1"]), row["num_references"])
        for row in facts.metrics["splits"]["test"]["per_class"]
    ]
    return _table(("class", "precision", "recall", "F1", "clips"), rows)


def _parameters(facts: CardFacts) -> str:
    tuning = facts.metrics["tuning"]
    trained, total = tuning["trainable_parameters"], tuning["total_parameters"]
    return f"{trained:,} of {total:,} ({100 * trained / total:.2f} %)"


def _duration(seconds: float | None) -> str | None:
    if seconds is None:
        return None
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{seconds:.1f} s"


def _training_table(facts: CardFacts) -> str:
    metrics, config = facts.metrics, facts.model_config
    backbone, tuning, training = metrics["backbone"], metrics["tuning"], metrics["training"]
    method = tuning["method"]
    best = f"step {training['best_step']}" if training.get("best_step") is not None else None
    if best and training.get("best_epoch") is not None:
        best += f", epoch {training['best_epoch']:g}"
    head = ", ".join(str(config[name]) for name in ("head", "pooling") if config.get(name))
    return _facts_table(
        [
            ("backbone", inline_code(_backbone_name(facts))),
            ("backbone revision", backbone.get("revision")),
            ("backbone weights", "random" if backbone["random_init"] else "pretrained"),
            ("backbone layers kept", config.get("num_backbone_layers")),
            ("method", _METHODS.get(method, method)),
            ("tuned layers", tuning.get("layers")),
            ("parameters trained", _parameters(facts)),
            ("head, pooling", head or None),
            ("hidden states summed", config.get("layers")),
            ("padding", config.get("padding")),
            ("corpus", _corpus_name(facts)),
            ("corpus revision", metrics["corpus"].get("revision")),
            ("columns of the corpus", metrics["corpus"].get("columns")),
            ("split protocol", metrics["corpus"]["config"]),
            ("split manifest (SHA-256)", metrics["corpus"].get("manifest_digest")),
            ("seed", training["seed"]),
            ("tested checkpoint", best),
            ("device", metrics["provenance"].get("device")),
            ("training time", _duration(metrics.get("timing", {}).get("wall_time_s"))),
            ("code commit", metrics["provenance"].get("git_commit")),
        ]
    )


def _hyperparameter_table(facts: CardFacts) -> str:
    config = facts.metrics["provenance"].get("config") or {}
    rows = [(name, _setting(config, name)) for name in _TRAINING_FIELDS]
    starts = _TUNING_FIELDS.get(facts.metrics["tuning"]["method"], ())
    rows += [(name, value) for name, value in _all_settings(config).items() if starts and name.startswith(starts)]
    known = [(inline_code(name), value) for name, value in rows if value is not None and value != ""]
    # max_steps is -1 where the epochs say how long
    known = [(name, value) for name, value in known if (name, value) != ("`max_steps`", -1)]
    return _facts_table(known) if known else ""


def _limits(facts: CardFacts) -> list[str]:
    metrics = facts.metrics
    limits = [
        f"It always answers with one of its {len(metrics['labels'])} classes, for speech, music, noise or silence too.",
        "Its probabilities were not calibrated.",
        "A sound is not a feeling: the classes name what was heard or acted, not what a person felt, and the model was "
        "not tested for decisions about people, medical ones among them.",
    ]
    test = metrics["splits"].get("test")
    if test is not None:
        smallest = min(row["num_references"] for row in test["per_class"])
        limits.insert(
            1,
            f"It was tested on {test['num_clips']} clips of one corpus, the smallest class with {smallest}: other "
            "microphones, rooms, languages and ages may give other scores.",
        )
    limits += _speaker_limits(metrics)
    limits += [f"On the corpus: {note}" for note in metrics["corpus"].get("notes") or ()]
    return limits


def _speaker_limits(metrics: Mapping[str, Any]) -> list[str]:
    """Say where test clips may be by speakers who were trained on."""
    shared = metrics["corpus"].get("num_shared_speakers")
    if shared:
        return [f"{shared} speakers are in more than one split: new voices may score lower."]
    test = metrics["splits"].get("test")
    are_unknown = test is not None and test.get("num_speakers") is None
    ignores_speakers = metrics["corpus"]["config"].startswith(("stratified", "voc2vec_fold_"))
    if ignores_speakers or are_unknown:
        return ["Speakers of the test clips may also be in the training clips: new voices may score lower."]
    return []


def _licence_text(facts: CardFacts) -> str:
    licence, corpus = facts.licence, facts.metrics["corpus"]
    sentences = [licence.reason, *licence.notes]
    if corpus.get("licence_url"):
        sentences.append(f"Terms of the corpus: {corpus['licence_url']}.")
    return " ".join(sentences)


def _citation_text(facts: CardFacts) -> str:
    corpus = facts.metrics["corpus"]
    if not corpus.get("citation"):
        return "Please cite the authors of the corpus and of the backbone."
    citation = corpus["citation"].strip()
    return f"Please cite the authors of the backbone, and those of the corpus:\n\n```bibtex\n{citation}\n```"


def sections(facts: CardFacts) -> dict[str, Any]:
    """Word every part that the template asks for.

    Args:
        facts: what the card is made from.

    Returns:
        The template's variables by name.

    Raises:
        KeyError: if `facts.metrics` lacks what every run records.
    """
    versions = facts.metrics["provenance"]["versions"]
    comment = "" if facts.repository_id else "  # this folder, or its id on the Hub"
    return {
        "warnings": _warnings(facts),
        "summary": _summary(facts),
        "labels": list(facts.metrics["labels"]),
        "requirements": "transformers torch torchaudio soundfile" + (" peft" if facts.adapter_only else ""),
        "usage": _USAGE.format(repository=json.dumps(facts.repository_id or "."), comment=comment),
        "usage_notes": _usage_notes(facts),
        "results_caption": _results_caption(facts),
        "results_table": _results_table(facts),
        "results_notes": _results_notes(facts),
        "class_table": _class_table(facts),
        "has_confusion_matrix": "confusion_matrix.png" in facts.plots,
        "has_layer_weights": "layer_weights.png" in facts.plots,
        "has_layer_scores": "layer_scores.png" in facts.plots,
        "training_table": _training_table(facts),
        "hyperparameter_table": _hyperparameter_table(facts),
        "versions_table": _facts_table((inline_code(name), text) for name, text in versions.items()),
        "limits": _limits(facts),
        "licence_text": _licence_text(facts),
        "citation_text": _citation_text(facts),
    }
