"""The wording of a model card's parts, from the facts that `model_card` gathers.

Pure functions from recorded facts to Markdown. Here stand the short parts, and what the template gets of all of them;
the long ones are the neighbours `card_usage`, `card_outputs`, `card_results`, `card_tasks`, `card_decisions` and
`card_training`. Own work.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from .card_decisions import decisions_text, is_calibrated
from .card_format import backbone_name, corpus_name, facts_table, inline_code
from .card_outputs import answers_in_words, outputs_text
from .card_results import is_scored, result_sections, results_caption, results_notes, results_table
from .card_tasks import task_caption, task_notes, task_sections, task_table
from .card_training import METHODS, hyperparameter_table, training_table
from .card_usage import usage, usage_notes

if TYPE_CHECKING:
    from .model_card import CardFacts

PLOTS = ("confusion_matrix.png", "layer_weights.png", "layer_scores.png", "regression.png")
TASK_PLOTS = ("confusion_matrix_*.png", "regression_*.png")
"""Of several tasks each has its own picture."""


def _warnings(facts: CardFacts) -> list[str]:
    warnings = []
    if facts.metrics["backbone"]["random_init"]:
        warnings.append(
            f"The backbone has the size of `{backbone_name(facts)}` but random weights: it never heard speech. This "
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
        f"{what} the speech encoder `{backbone_name(facts)}` ({start}) that {answers_in_words(facts)}. Trained on "
        f"{corpus_name(facts)}; method: {METHODS.get(method, method)}."
    )


def _limits(facts: CardFacts) -> list[str]:
    metrics = facts.metrics
    tasks = facts.tasks
    if tasks is None:
        answers = f"one of its {len(metrics['labels'])} classes"
        meaning = "the classes name what was heard or acted, not what a person felt"
    else:
        answers = "a number for each target" if len(tasks) == 1 else "something for every task"
        meaning = "the answers follow how listeners rated or what was acted, not what a person felt"
    limits = [f"It always answers with {answers}, for speech, music, noise or silence too."]
    test = metrics["splits"].get("test")
    if test is not None:
        smallest = ""
        if tasks is None and is_scored(test):
            smallest = f", the smallest class with {min(row['num_references'] for row in test['per_class'])}"
        limits.append(
            f"It was tested on {test['num_clips']} clips of one corpus{smallest}: other microphones, rooms, languages "
            "and ages may give other scores."
        )
    if tasks is None:
        limits.append(
            "Its probabilities were calibrated on the validation clips of one corpus: of other recordings they may be "
            "wrong."
            if is_calibrated(facts)
            else "Its probabilities were not calibrated."
        )
    limits.append(
        f"A sound is not a feeling: {meaning}, and the model was not tested for decisions about people, medical ones "
        "among them."
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
    is_classifier = facts.tasks is None
    return {
        "warnings": _warnings(facts),
        "summary": _summary(facts),
        "outputs": outputs_text(facts),
        "requirements": "transformers torch torchaudio soundfile" + (" peft" if facts.adapter_only else ""),
        "usage": usage(facts),
        "usage_notes": usage_notes(facts),
        "decisions": decisions_text(facts),
        "results_caption": (results_caption if is_classifier else task_caption)(facts),
        "results_table": (results_table if is_classifier else task_table)(facts),
        "results_notes": (results_notes if is_classifier else task_notes)(facts),
        "result_sections": (result_sections if is_classifier else task_sections)(facts),
        "has_layer_weights": "layer_weights.png" in facts.plots,
        "has_layer_scores": "layer_scores.png" in facts.plots,
        "training_table": training_table(facts),
        "hyperparameter_table": hyperparameter_table(facts),
        "versions_table": facts_table((inline_code(name), text) for name, text in versions.items()),
        "limits": _limits(facts),
        "licence_text": _licence_text(facts),
        "citation_text": _citation_text(facts),
    }
