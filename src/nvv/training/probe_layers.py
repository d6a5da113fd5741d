"""The heads of a probe: on the weighted sum of hidden states and on each state alone, and which weight decay they get.

Gives `Probed` for each of them. How heads train is the neighbour `probe_heads`' business, where features come from
`features`', what is written of them `probe_results`'. Own work.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm.auto import tqdm

from ..configuration_nvv import NvvConfig
from ..heads_nvv import NvvHead
from ..metrics import classification_scores
from ..modeling_nvv import NvvForAudioClassification
from .arguments import NvvTrainingArguments
from .dataset import ClipDataset
from .features import PooledFeatures
from .probe_arguments import ProbeArguments
from .probe_heads import HeadPlan, LabelledFeatures, TrainedHead, train_heads
from .steps import EVALUATION_SPLITS


@dataclass(frozen=True, kw_only=True)
class ScoredHead:
    """A trained head and its answers.

    Args:
        trained: the head.
        logits: (clips, labels) on `validation` and `test`.
        scores: every score on both.
    """

    trained: TrainedHead
    logits: Mapping[str, NDArray[np.float32]]
    scores: Mapping[str, Mapping[str, float]]


@dataclass(frozen=True, kw_only=True)
class Probed:
    """All heads that read the same hidden states.

    Args:
        config: the config of a classifier with such a head.
        heads: for each weight decay one head a seed, in the order of the seeds.
        weight_decay: the one with the best mean validation score; of equals the smallest.
    """

    config: NvvConfig
    heads: Mapping[float, Sequence[ScoredHead]]
    weight_decay: float

    @property
    def chosen(self) -> Sequence[ScoredHead]:
        """The heads of the chosen weight decay, one a seed."""
        return self.heads[self.weight_decay]

    @property
    def layer_weights(self) -> NDArray[np.float64] | None:
        """Learned weights after softmax (seeds, states) of the chosen heads, or None without a weighted sum."""
        weights = [head.trained.head.layer_weights for head in self.chosen]
        if weights[0] is None:
            return None
        return torch.stack([torch.softmax(row.detach().double(), dim=-1) for row in weights]).numpy()


def probe_configs(config: NvvConfig, *, single_layers: bool) -> list[NvvConfig]:
    """Return the configs of the heads to train: the run's own first, then one for each hidden state.

    Args:
        config: the run's own.
        single_layers: whether each hidden state is probed by itself.
    """
    configs = [config]
    for layer in range(config.num_hidden_states) if single_layers else ():
        alone = copy.deepcopy(config)
        alone.layers, alone.use_weighted_layer_sum = [layer], False
        configs.append(alone)
    return configs


def train_probes(
    model: NvvForAudioClassification,
    features: PooledFeatures,
    clips: Mapping[str, ClipDataset],
    *,
    training: NvvTrainingArguments,
    probe_arguments: ProbeArguments,
) -> list[Probed]:
    """Train every head of a probe.

    Args:
        model: the classifier; is not changed.
        features: of `clips`, computed with the model's backbone.
        clips: `train`, `validation` and `test`.
        training: settings of the training loop, and the first seed.
        probe_arguments: how many seeds, which weight decays and layers.

    Returns:
        The run's own head (the weighted sum, where the config has it), then the single states in their order.

    Raises:
        ArgumentsError: as `train_heads`.
    """
    configs = probe_configs(model.config, single_layers=probe_arguments.single_layers)
    progress = tqdm(configs, desc="Training heads", unit="probe", disable=training.disable_tqdm)
    return [
        _train_probe(model, config, features=features, clips=clips, training=training, probe_arguments=probe_arguments)
        for config in progress
    ]


def _train_probe(
    model: NvvForAudioClassification,
    config: NvvConfig,
    *,
    features: PooledFeatures,
    clips: Mapping[str, ClipDataset],
    training: NvvTrainingArguments,
    probe_arguments: ProbeArguments,
) -> Probed:
    """Train the heads of one config and choose the weight decay."""
    decays = sorted(probe_arguments.weight_decays)
    split_features = {
        name: LabelledFeatures(
            features=features.select(name, config), labels=torch.from_numpy(split.labels), lengths=split.lengths
        )
        for name, split in clips.items()
    }
    plans = [
        HeadPlan(head=new_head(model, config, seed=seed), seed=seed, weight_decay=decay)
        for decay in decays
        for seed in range(training.seed, training.seed + probe_arguments.num_seeds)
    ]
    trained = train_heads(
        plans,
        training,
        train=split_features["train"],
        validation=split_features["validation"],
        class_weights=config.class_weights,
        label_smoothing=config.label_smoothing,
        # A CPU beside a GPU of another kind than CUDA is the safer place: the fused update is not everywhere.
        device=training.device if training.device.type == "cuda" else None,
    )
    heads: dict[float, list[ScoredHead]] = {decay: [] for decay in decays}
    for head in trained:
        heads[head.weight_decay].append(_score(head, split_features))
    return Probed(config=config, heads=heads, weight_decay=_best_decay(heads, training=training))


def new_head(model: NvvForAudioClassification, config: NvvConfig, *, seed: int) -> NvvHead:
    """Make a head with the weights that `NvvForAudioClassification.from_backbone` draws for this seed.

    Args:
        model: knows how its parts are initialised.
        config: of the head.
        seed: of its weights; the global random state is left as it is.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        head = NvvHead(config)
        head.apply(model._init_weights)
    return head


@torch.no_grad()
def _score(trained: TrainedHead, split_features: Mapping[str, LabelledFeatures]) -> ScoredHead:
    """Classify validation and test."""
    logits, scores = {}, {}
    for split in EVALUATION_SPLITS:
        of_split = split_features[split]
        logits[split] = trained.head.forward_pooled(of_split.features).numpy()
        scores[split] = classification_scores(
            of_split.labels.numpy(), logits[split].argmax(axis=-1), num_labels=logits[split].shape[-1]
        )
    return ScoredHead(trained=trained, logits=logits, scores=scores)


def _best_decay(heads: Mapping[float, Sequence[ScoredHead]], *, training: NvvTrainingArguments) -> float:
    """Choose by the mean over seeds of the validation score; test has no say."""
    means = {decay: np.mean([head.trained.best_score for head in of_decay]) for decay, of_decay in heads.items()}
    choose = max if training.greater_is_better else min
    return choose(means, key=means.__getitem__)  # the first of equals, and decays come in rising order
