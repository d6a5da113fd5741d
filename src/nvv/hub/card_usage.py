"""The part of a model card on how to use the model: code to paste, and what to know about it.

A classifier's example prints classes, a regression's each target with its value, that of several tasks the answer of
each. Own work.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from .card_format import backbone_name

if TYPE_CHECKING:
    from .model_card import CardFacts

_START = """\
import soundfile
import torch
import torchaudio
from transformers import AutoFeatureExtractor, AutoModelForAudioClassification{pipeline}

repository = {repository}{comment}
samples, sampling_rate = soundfile.read("clip.wav", dtype="float32", always_2d=True)
samples = samples.mean(axis=1)  # mono

"""

_PIPELINE = """\
# In one call; a clip at another rate is resampled.
classifier = pipeline("audio-classification", model=repository, trust_remote_code=True)
for answer in classifier({"array": samples, "sampling_rate": sampling_rate}, top_k=3):
    print(f"{answer['label']}: {answer['score']:.3f}")

# Step by step, with the model at hand.
"""

_MODEL = """\
feature_extractor = AutoFeatureExtractor.from_pretrained(repository)
model = AutoModelForAudioClassification.from_pretrained(repository, trust_remote_code=True).eval()
waveform = torchaudio.functional.resample(torch.from_numpy(samples), sampling_rate, feature_extractor.sampling_rate)
inputs = feature_extractor(waveform.numpy(), sampling_rate=feature_extractor.sampling_rate, return_tensors="pt")
with torch.inference_mode():
"""

_CLASSES = """\
    probabilities = model(**inputs).logits.softmax(dim=-1)[0]
print(model.config.id2label[int(probabilities.argmax())])"""

_EMBEDDING = """

# The embedding itself: clips of one class have a high cosine similarity.
with torch.inference_mode():
    embedding = model.embed(**inputs)[0]  # ({size},)"""

_TARGETS = """\
    values = model(**inputs).logits[0].tolist()
for index, value in enumerate(values):
    print(f"{model.config.id2label[index]}: {value:.3f}")"""

_TASKS = """\
    outputs = model(**inputs).logits[0]
for task in model.config.task_list:
    values = outputs[task.logits]
    if task.kind == "classification":
        print(f"{task.name}: {task.outputs[int(values.argmax())]}")
    else:
        for target, value in zip(task.outputs, values.tolist()):
            print(f"{task.name}, {target}: {value:.3f}")"""


def usage(facts: CardFacts) -> str:
    """Write the code to paste."""
    is_classifier = facts.tasks is None
    start = _START.format(
        pipeline=", pipeline" if is_classifier else "",
        repository=json.dumps(facts.repository_id or "."),
        comment="" if facts.repository_id else "  # this folder, or its id on the Hub",
    )
    if not is_classifier:
        return start + _MODEL + (_TARGETS if len(facts.tasks) == 1 else _TASKS)
    code = start + _PIPELINE + _MODEL + _CLASSES
    if facts.model_config.get("head") == "embedding":
        code += _EMBEDDING.format(size=facts.model_config["embedding_size"])
    return code


def usage_notes(facts: CardFacts) -> str:
    """Say what a user has to know."""
    backbone = facts.metrics["backbone"]
    sentences = ["`trust_remote_code=True` runs the Python files of this repository; read them first."]
    if (facts.adapter_only or facts.head_only) and backbone["random_init"]:
        sentences.append("Only what was trained is stored here; the random backbone is drawn again from its seed.")
    elif facts.adapter_only or facts.head_only:
        revision = f" at revision `{backbone['revision']}`" if backbone.get("revision") else ""
        sentences.append(
            f"Only what was trained is stored here: loading {'needs `peft` and ' if facts.adapter_only else ''}fetches "
            f"`{backbone_name(facts)}`{revision}."
        )
    max_seconds = facts.model_config.get("max_seconds")
    if max_seconds is not None:
        sentences.append(f"Only the first {max_seconds:g} seconds of a clip are heard.")
    return " ".join(sentences)
