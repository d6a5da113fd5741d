"""`NvvConfig`: everything that defines an nvv classifier, saved with it as `config.json`.

Holds the backbone's own config, which of its layers are kept and summed, the head, the tasks, the loss, the labels,
the operating points and the front-end. How the fields act is in the sibling files (`backbones_nvv`, `heads_nvv`,
`losses_nvv`, `decisions_nvv`, `modeling_nvv`). Part of the remote-code bundle: imports only transformers and a sibling.
"""

from __future__ import annotations

import copy
import inspect
import math
from collections.abc import Mapping
from typing import Any

from transformers import CONFIG_MAPPING, AutoConfig, PreTrainedConfig

from .tasks_nvv import CLASSIFICATION_TASK, Task, check_class_weights, complete_tasks, list_tasks, output_names

BACKBONE_FAMILIES = ("whisper", "wav2vec2", "hubert", "wavlm", "unispeech", "unispeech-sat")
HEADS = ("linear", "mlp", "lstm", "embedding")
POOLINGS = ("mean", "max", "first", "last")
PADDINGS = ("mask", "silence")
SAVED_WEIGHTS = ("all", "head")
CONTRASTIVE_LOSS = "supervised_contrastive"
LOSSES = ("cross_entropy", "focal", CONTRASTIVE_LOSS)
TASK_WEIGHTINGS = ("fixed", "uncertainty")

SPEC_AUGMENT_FIELDS = tuple(
    f"mask_{axis}_{what}" for axis in ("time", "feature") for what in ("prob", "length", "min_masks")
)


class NvvConfig(PreTrainedConfig):
    """Configuration of [`NvvForAudioClassification`].

    Args:
        backbone_config: The speech encoder's own config (an object, or a dict with its `model_type`). One of the
            families whisper, wav2vec2, hubert, wavlm, unispeech, unispeech-sat. It is copied, never changed in place.
        backbone_id: Hub id or folder from which the backbone's weights come.
        backbone_revision: The commit of `backbone_id`, so that an adapter finds the weights it was trained on.
        random_init_seed: Set where the backbone never had pretrained weights: the seed its weights were drawn with.
        backbone_digest: Digest of a randomly initialised backbone's weights, compared when an adapter draws them again.
        num_backbone_layers: Keep only the first so many transformer layers (audEERING's 12 of 24). `None` keeps all.
        layers: Hidden states that the head sums: 0 is the embedding output, `i` the output of layer `i`. `None` takes
            all (with the weighted sum) or the last one (without). Layers after the last one named are not computed.
        use_weighted_layer_sum: Learn one softmax weight a hidden state (Yang et al. 2021, SUPERB). Otherwise `layers`
            has one entry, by default the last.
        head: `"linear"`: Linear to `projection_size`, pooling, Linear to the labels (the stock sequence-classification
            head, and the LINKS study's). `"mlp"`: pooling, dropout, Linear, tanh, dropout, Linear (Wagner et al. 2023).
            `"lstm"`: LSTM over the frames, Linear to the labels on each, pooling (Nguyen et al. 2022, SlabCNU).
            `"embedding"`: pooling, Linear, ReLU, Linear to a vector of length 1, whose nearest class centroid is the
            answer; goes with the loss `"supervised_contrastive"` (Khosla et al. 2020), and only with it.
        pooling: `"mean"`, `"max"`, `"first"` or `"last"` over the frames that count.
        projection_size: Width of the head's inner layer; the `"lstm"` head has none.
        head_dropout: Dropout probability in the `"mlp"` head.
        lstm_hidden_size: Units of each LSTM layer and direction.
        lstm_layers: LSTM layers; 0 for none, so that each frame's hidden state goes straight to the last Linear.
        lstm_bidirectional: Read the frames in both directions.
        embedding_size: Width of the embedding.
        contrastive_temperature: > 0; divides the cosine similarities, in the loss and in the logits.
        tasks: `None`: one classification of the labels `id2label`. Else a list of dicts, one a task: `name`, `kind`
            (`"regression"` or `"classification"`), `outputs` (targets or classes), `loss` (`"ccc"`, the default, or
            `"mse"`; `"cross_entropy"`, the default, or `"focal"`), `weight` (1.0) and `class_weights`. The labels are
            then the outputs of all tasks, `task/output` where there are several.
        task_weighting: How several tasks' losses are added: `"fixed"`, by their weights, or `"uncertainty"`, by learned
            variances (Kendall et al. 2018).
        loss: Without `tasks`: `"cross_entropy"`, `"focal"` or `"supervised_contrastive"`.
        focal_gamma: >= 0; how much the focal loss turns to the hard clips. 0 is cross-entropy.
        class_weights: Without `tasks`: one factor > 0 for each label, multiplied into its clips' losses (see
            `losses_nvv`).
        label_smoothing: In [0, 1), of every cross-entropy.
        calibration_temperature: > 0; the logits of a classification are divided by it, which calibrates their softmax.
        operating_points: For labels of a single classification: a dict with its `threshold` in (0, 1) on the calibrated
            probability, and whatever says how that was chosen.
        apply_operating_point: A label with an operating point. In evaluation its probability is then at least 0.5
            exactly where it reaches its threshold (see `decisions_nvv`).
        padding: `"mask"`: padding is masked everywhere, a clip's logits do not depend on the clips beside it.
            `"silence"`: every clip is continued with zeros up to `padding_seconds` and the model hears them.
        padding_seconds: Length that `"silence"` pads to, in seconds.
        pool_padding: Whether pooling includes the silence that `padding="silence"` added.
        sampling_rate: Hz. All supported backbones expect 16,000.
        max_seconds: Longer clips are cut to their first `max_seconds` seconds.
        normalize_cut_clips: Bring clips that were cut to zero mean and unit variance again. Set where the feature
            extractor normalises: it saw the whole clip, and a clip cut beforehand has to give the same logits.
        layerdrop: Probability of skipping a layer in training. 0, unlike in most checkpoints: with a frozen or
            light-weight tuned backbone a skipped layer is noise in the layer weights.
        saved_weights: What the repository's `model.safetensors` holds: `"all"`, or only the `"head"` (a linear probe,
            whose backbone is read from `backbone_id`).
        apply_spec_augment: Mask spans of frames in training, as the checkpoint's config says. Off, unlike in most
            checkpoints: their minimum of two spans of 10 frames erases most of a half-second vocalization.
        spec_augment: Settings that replace the checkpoint's: `mask_time_prob` (share of frames), `mask_time_length`
            (frames in a span: of 20 ms, in Whisper of 10 ms), `mask_time_min_masks` (spans at least), and the same
            with `mask_feature_` (of the hidden size, in Whisper of the mel bands). Goes with `apply_spec_augment`.
        kwargs: Fields of `PreTrainedConfig` such as `num_labels`, `id2label`, `label2id`.

    Raises:
        ValueError: A field has a value outside what is listed here, or two fields contradict each other.

    Example:
        >>> from transformers import WhisperConfig
        >>> config = NvvConfig(backbone_config=WhisperConfig(), num_labels=6, layers=[0, 1, 2])
        >>> config.num_hidden_states
        7
    """

    model_type = "nvv"
    sub_configs = {"backbone_config": AutoConfig}  # noqa: RUF012 - transformers reads this as a plain class attribute

    def __init__(
        self,
        backbone_config: PreTrainedConfig | dict[str, Any] | None = None,
        backbone_id: str | None = None,
        backbone_revision: str | None = None,
        random_init_seed: int | None = None,
        backbone_digest: str | None = None,
        num_backbone_layers: int | None = None,
        layers: list[int] | None = None,
        use_weighted_layer_sum: bool = True,
        head: str = "linear",
        pooling: str = "mean",
        projection_size: int = 256,
        head_dropout: float = 0.1,
        lstm_hidden_size: int = 512,
        lstm_layers: int = 2,
        lstm_bidirectional: bool = False,
        embedding_size: int = 128,
        contrastive_temperature: float = 0.1,
        tasks: list[dict[str, Any]] | None = None,
        task_weighting: str = "fixed",
        loss: str = "cross_entropy",
        focal_gamma: float = 2.0,
        class_weights: list[float] | None = None,
        label_smoothing: float = 0.0,
        calibration_temperature: float = 1.0,
        operating_points: dict[str, dict[str, Any]] | None = None,
        apply_operating_point: str | None = None,
        padding: str = "mask",
        padding_seconds: float = 7.0,
        pool_padding: bool = False,
        sampling_rate: int = 16_000,
        max_seconds: float = 7.0,
        normalize_cut_clips: bool = False,
        layerdrop: float = 0.0,
        apply_spec_augment: bool = False,
        spec_augment: dict[str, float | int] | None = None,
        saved_weights: str = "all",
        **kwargs: Any,
    ) -> None:
        self.backbone_config = _as_backbone_config(backbone_config)
        self.backbone_id = backbone_id
        self.backbone_revision = backbone_revision
        self.random_init_seed = random_init_seed
        self.backbone_digest = backbone_digest
        self.num_backbone_layers = num_backbone_layers
        self.layers = layers
        self.use_weighted_layer_sum = use_weighted_layer_sum
        self.head = head
        self.pooling = pooling
        self.projection_size = projection_size
        self.head_dropout = head_dropout
        self.lstm_hidden_size = lstm_hidden_size
        self.lstm_layers = lstm_layers
        self.lstm_bidirectional = lstm_bidirectional
        self.embedding_size = embedding_size
        self.contrastive_temperature = contrastive_temperature
        self.tasks = None if tasks is None else complete_tasks(tasks)
        self.task_weighting = task_weighting
        self.loss = loss
        self.focal_gamma = focal_gamma
        self.class_weights = class_weights
        self.label_smoothing = label_smoothing
        self.calibration_temperature = calibration_temperature
        self.operating_points = operating_points
        self.apply_operating_point = apply_operating_point
        self.padding = padding
        self.padding_seconds = padding_seconds
        self.pool_padding = pool_padding
        self.sampling_rate = sampling_rate
        self.max_seconds = max_seconds
        self.normalize_cut_clips = normalize_cut_clips
        self.layerdrop = layerdrop
        self.apply_spec_augment = apply_spec_augment
        self.spec_augment = None if spec_augment is None else dict(spec_augment)
        self.saved_weights = saved_weights
        super().__init__(**_with_labels_of(self.tasks, kwargs))
        self._check_values()
        self._check_head()
        self._check_losses()
        self._check_decisions()
        self._check_layers()
        self._check_spec_augment()
        self._configure_backbone()

    @classmethod
    def from_dict(cls, config_dict: dict[str, Any], **kwargs: Any) -> Any:
        """As in transformers, but fields given as keywords are checked, too, and not only set afterwards."""
        own = {name: kwargs.pop(name) for name in own_fields() if name in kwargs}
        return super().from_dict({**config_dict, **own}, **kwargs)

    @property
    def family(self) -> str:
        """The backbone's family: its config's `model_type`."""
        return self.backbone_config.model_type

    @property
    def hidden_size(self) -> int:
        """Width of the backbone's hidden states."""
        return self.backbone_config.hidden_size

    @property
    def num_hidden_states(self) -> int:
        """Hidden states that the backbone can give: the embedding output and one for each layer kept."""
        return num_layers_of(self.backbone_config) + 1

    @property
    def summed_layers(self) -> list[int]:
        """The hidden states that reach the head, `layers` with its default filled in."""
        if self.layers is not None:
            return list(self.layers)
        if self.use_weighted_layer_sum:
            return list(range(self.num_hidden_states))
        return [self.num_hidden_states - 1]

    @property
    def random_init(self) -> bool:
        """Whether the backbone never had pretrained weights."""
        return self.random_init_seed is not None

    @property
    def task_list(self) -> tuple[Task, ...]:
        """What is predicted; without `tasks` one classification named `label`."""
        if self.tasks is not None:
            return list_tasks(self.tasks)
        return (
            Task(
                name=CLASSIFICATION_TASK,
                kind="classification",
                outputs=tuple(self.id2label[index] for index in range(self.num_labels)),
                loss=self.loss,
                weight=1.0,
                class_weights=None if self.class_weights is None else tuple(self.class_weights),
                logits=slice(0, self.num_labels),
                labels=slice(0, 1),
            ),
        )

    @property
    def num_label_columns(self) -> int:
        """Columns of the labels: one a regression's target, one a classification."""
        return self.task_list[-1].labels.stop

    @property
    def is_classification(self) -> bool:
        """Whether one classification is all that is predicted."""
        return self.tasks is None or (len(self.tasks) == 1 and self.tasks[0]["kind"] == "classification")

    def _check_values(self) -> None:
        choices = {"head": HEADS, "pooling": POOLINGS, "padding": PADDINGS, "loss": LOSSES}
        choices |= {"saved_weights": SAVED_WEIGHTS, "task_weighting": TASK_WEIGHTINGS}
        for name, allowed in choices.items():
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name}={getattr(self, name)!r} is not one of {', '.join(allowed)}.")
        if self.family not in BACKBONE_FAMILIES:
            raise ValueError(
                f"A backbone of type {self.family!r} is not supported; choose one of {', '.join(BACKBONE_FAMILIES)}."
            )
        ranges = {
            "projection_size": self.projection_size >= 1,
            "head_dropout": 0 <= self.head_dropout < 1,
            "label_smoothing": 0 <= self.label_smoothing < 1,
            "padding_seconds": self.padding_seconds > 0,
            "max_seconds": self.max_seconds > 0,
            "layerdrop": 0 <= self.layerdrop < 1,
            "sampling_rate": self.sampling_rate == 16_000,
            "lstm_hidden_size": self.lstm_hidden_size >= 1,
            "lstm_layers": self.lstm_layers >= 0,
            "embedding_size": self.embedding_size >= 1,
            "contrastive_temperature": self.contrastive_temperature > 0,
            "focal_gamma": 0 <= self.focal_gamma < math.inf,
            "calibration_temperature": 0 < self.calibration_temperature < math.inf,
        }
        for name, holds in ranges.items():
            if not holds:
                raise ValueError(f"{name}={getattr(self, name)!r} is out of range; see NvvConfig's documentation.")
        if self.padding == "silence" and self.max_seconds > self.padding_seconds:
            raise ValueError(
                f"padding='silence' to {self.padding_seconds} s cannot hold clips of up to "
                f"max_seconds={self.max_seconds} s; lower max_seconds or raise padding_seconds."
            )
        if self.padding == "mask" and self.pool_padding:
            raise ValueError("pool_padding=True needs padding='silence'; masked padding is never pooled.")
        self._check_whisper_length()

    def _check_head(self) -> None:
        if self.lstm_bidirectional and self.lstm_layers == 0:
            raise ValueError("lstm_bidirectional=True needs at least one layer; lstm_layers=0 has no LSTM.")
        is_contrastive = self.loss == CONTRASTIVE_LOSS
        if (self.head == "embedding") != is_contrastive:
            raise ValueError(
                f"head={self.head!r} does not go with loss={self.loss!r}: head='embedding' and "
                "loss='supervised_contrastive' belong together."
            )
        if is_contrastive and (self.class_weights is not None or self.label_smoothing):
            raise ValueError("class_weights and label_smoothing have no effect on loss='supervised_contrastive'.")

    def _check_losses(self) -> None:
        if self.tasks is not None:
            if self.loss != "cross_entropy":
                raise ValueError(f"loss={self.loss!r}: with tasks, each names its own loss; leave this one out.")
            if self.class_weights is not None:
                raise ValueError("class_weights: with tasks, each classification names its own; leave these out.")
        elif self.class_weights is not None:
            check_class_weights(self.class_weights, num_labels=self.num_labels)
        if self.task_weighting == "uncertainty":
            if len(self.task_list) < 2:
                raise ValueError("task_weighting='uncertainty' weighs several tasks against each other; there is one.")
            if any(task.weight != 1 for task in self.task_list):
                raise ValueError("task_weighting='uncertainty' learns the weights; leave those of the tasks out.")
        if self.label_smoothing and not any(task.loss == "cross_entropy" for task in self.task_list):
            raise ValueError(f"label_smoothing={self.label_smoothing} goes with cross_entropy; no task has that loss.")

    def _check_decisions(self) -> None:
        given = [name for name in ("operating_points", "apply_operating_point") if getattr(self, name) is not None]
        given += ["calibration_temperature"] if self.calibration_temperature != 1 else []
        if given and not self.is_classification:
            raise ValueError(f"{given[0]} goes with a single classification; this model predicts something else.")
        points = {} if self.operating_points is None else self.operating_points
        for label, point in points.items():
            if label not in self.id2label.values():
                raise ValueError(
                    f"operating_points: {label!r} is not one of the labels {', '.join(self.id2label.values())}."
                )
            threshold = point.get("threshold") if isinstance(point, Mapping) else None
            if not isinstance(threshold, float) or not 0 < threshold < 1:
                raise ValueError(f"operating_points: {label!r} needs a threshold in (0, 1), found {point!r}.")
        if self.apply_operating_point is not None and self.apply_operating_point not in points:
            raise ValueError(
                f"apply_operating_point={self.apply_operating_point!r}: there is an operating point for "
                f"{', '.join(map(repr, points)) or 'no label'}."
            )

    def _masks_anything(self) -> bool:
        return self.backbone_config.mask_time_prob > 0 or self.backbone_config.mask_feature_prob > 0

    def _check_whisper_length(self) -> None:
        if self.family != "whisper":
            return
        limit = self.backbone_config.max_source_positions * 0.02
        longest = self.padding_seconds if self.padding == "silence" else self.max_seconds
        if longest > limit:
            field = "padding_seconds" if self.padding == "silence" else "max_seconds"
            raise ValueError(
                f"{field}={longest} s is more than this Whisper encoder's position table holds ({limit:g} s); lower it."
            )

    def _check_layers(self) -> None:
        available = num_layers_of(self.backbone_config)
        kept = self.num_backbone_layers
        if kept is not None and not 1 <= kept <= available:
            raise ValueError(f"num_backbone_layers={kept}: this backbone has layers 1 to {available}.")
        highest = available if kept is None else kept
        if self.layers is None:
            return
        if not self.layers:
            raise ValueError("layers=[] sums nothing; name at least one hidden state, or leave it None.")
        unknown = [layer for layer in self.layers if not 0 <= layer <= highest]
        if unknown:
            raise ValueError(f"layers={self.layers}: {unknown} are not hidden states of this backbone, 0 to {highest}.")
        if len(set(self.layers)) != len(self.layers):
            raise ValueError(f"layers={self.layers} names a hidden state twice.")
        if not self.use_weighted_layer_sum and len(self.layers) != 1:
            raise ValueError(f"layers={self.layers}: without the weighted layer sum exactly one hidden state is used.")

    def _check_spec_augment(self) -> None:
        if self.spec_augment is None:
            return
        if not self.apply_spec_augment:
            raise ValueError("spec_augment has no effect with apply_spec_augment=False; set that, or leave it out.")
        if not self.spec_augment:
            raise ValueError(f"spec_augment is empty; name some of {', '.join(SPEC_AUGMENT_FIELDS)}, or leave it out.")
        for name, value in self.spec_augment.items():
            if name not in SPEC_AUGMENT_FIELDS:
                raise ValueError(f"spec_augment: {name!r} is not one of {', '.join(SPEC_AUGMENT_FIELDS)}.")
            is_number = isinstance(value, int | float) and not isinstance(value, bool)
            if name.endswith("_prob"):
                if not (is_number and 0 <= value <= 1):
                    raise ValueError(f"spec_augment: {name}={value!r} is not a number in [0, 1].")
                continue
            lowest = 1 if name.endswith("_length") else 0
            if not (is_number and value == int(value) and value >= lowest):
                raise ValueError(f"spec_augment: {name}={value!r} is not a whole number from {lowest} on.")
            self.spec_augment[name] = int(value)

    def _configure_backbone(self) -> None:
        backbone = self.backbone_config
        if self.num_backbone_layers is not None:
            backbone.num_hidden_layers = self.num_backbone_layers
            if self.family == "whisper":
                backbone.encoder_layers = self.num_backbone_layers
        backbone.apply_spec_augment = self.apply_spec_augment
        for name, value in (self.spec_augment or {}).items():
            setattr(backbone, name, value)
        if self.apply_spec_augment and not self._masks_anything():
            raise ValueError(
                "apply_spec_augment=True masks nothing: mask_time_prob and mask_feature_prob of the backbone's config "
                "are 0. Set one of them in spec_augment."
            )
        if self.family == "whisper":
            backbone.encoder_layerdrop = self.layerdrop
        else:
            backbone.layerdrop = self.layerdrop
            # The convolutional adapter some checkpoints carry for CTC shortens the sequence after the last layer;
            # nothing here reads it.
            backbone.add_adapter = False


def num_layers_of(backbone_config: PreTrainedConfig) -> int:
    """Number of transformer layers of a backbone's encoder."""
    if backbone_config.model_type == "whisper":
        return backbone_config.encoder_layers
    return backbone_config.num_hidden_layers


def own_fields() -> tuple[str, ...]:
    """Names of the fields that `NvvConfig` adds to those of every config."""
    return tuple(name for name in inspect.signature(NvvConfig.__init__).parameters if name not in ("self", "kwargs"))


def _with_labels_of(tasks: list[dict[str, Any]] | None, fields: dict[str, Any]) -> dict[str, Any]:
    """The common fields, with the labels and the problem type that follow from the tasks."""
    problem_type = "single_label_classification"
    if tasks is not None and (len(tasks) > 1 or tasks[0]["kind"] == "regression"):
        problem_type = "regression"  # what tells transformers' pipeline to leave the outputs as they are
    if fields.get("problem_type") not in (None, problem_type):
        raise ValueError(f"problem_type={fields['problem_type']!r}: with these tasks it is {problem_type!r}.")
    if tasks is None:
        return fields
    labels = dict(enumerate(output_names(tasks)))
    given = fields.get("id2label")
    if given is not None and {int(index): name for index, name in given.items()} != labels:
        raise ValueError(f"id2label={given!r} differs from the outputs of the tasks, {labels!r}; leave it out.")
    if fields.get("num_labels") not in (None, len(labels)):
        raise ValueError(f"num_labels={fields['num_labels']}: the tasks have {len(labels)} outputs; leave it out.")
    derived = {"id2label": labels, "label2id": {name: index for index, name in labels.items()}}
    return {**fields, **derived, "problem_type": problem_type}


def _as_backbone_config(backbone_config: PreTrainedConfig | dict[str, Any] | None) -> PreTrainedConfig:
    if backbone_config is None:
        # transformers builds every config without arguments when it writes only what differs from the defaults.
        return CONFIG_MAPPING["whisper"]()
    if isinstance(backbone_config, PreTrainedConfig):
        return copy.deepcopy(backbone_config)
    if "model_type" not in backbone_config:
        raise ValueError("backbone_config has no 'model_type'; take it from the backbone's config.json.")
    if backbone_config["model_type"] not in CONFIG_MAPPING:
        raise ValueError(f"backbone_config: transformers knows no model_type {backbone_config['model_type']!r}.")
    return CONFIG_MAPPING[backbone_config["model_type"]](**backbone_config)
