"""`NvvConfig`: everything that defines an nvv classifier, saved with it as `config.json`.

Holds the backbone's own config, which of its layers are kept and summed, the head, the loss, the labels and the
front-end. How the fields act is in the sibling files (`backbones_nvv`, `heads_nvv`, `losses_nvv`, `modeling_nvv`).
Part of the remote-code bundle: imports only transformers.
"""

from __future__ import annotations

import copy
from typing import Any

from transformers import CONFIG_MAPPING, AutoConfig, PreTrainedConfig

BACKBONE_FAMILIES = ("whisper", "wav2vec2", "hubert", "wavlm", "unispeech", "unispeech-sat")
HEADS = ("linear", "mlp")
POOLINGS = ("mean", "max", "first", "last")
PADDINGS = ("mask", "silence")
SAVED_WEIGHTS = ("all", "head")
LOSSES = ("cross_entropy",)


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
        pooling: `"mean"`, `"max"`, `"first"` or `"last"` over the frames that count.
        projection_size: Width of the head's inner layer.
        head_dropout: Dropout probability in the `"mlp"` head.
        loss: `"cross_entropy"`.
        class_weights: One factor > 0 for each label, multiplied into its clips' losses (see `losses_nvv`).
        label_smoothing: In [0, 1).
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
        loss: str = "cross_entropy",
        class_weights: list[float] | None = None,
        label_smoothing: float = 0.0,
        padding: str = "mask",
        padding_seconds: float = 7.0,
        pool_padding: bool = False,
        sampling_rate: int = 16_000,
        max_seconds: float = 7.0,
        normalize_cut_clips: bool = False,
        layerdrop: float = 0.0,
        apply_spec_augment: bool = False,
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
        self.loss = loss
        self.class_weights = class_weights
        self.label_smoothing = label_smoothing
        self.padding = padding
        self.padding_seconds = padding_seconds
        self.pool_padding = pool_padding
        self.sampling_rate = sampling_rate
        self.max_seconds = max_seconds
        self.normalize_cut_clips = normalize_cut_clips
        self.layerdrop = layerdrop
        self.apply_spec_augment = apply_spec_augment
        self.saved_weights = saved_weights
        super().__init__(**kwargs)
        self._check_values()
        self._check_layers()
        self._configure_backbone()

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

    def _check_values(self) -> None:
        choices = {"head": HEADS, "pooling": POOLINGS, "padding": PADDINGS, "loss": LOSSES}
        choices["saved_weights"] = SAVED_WEIGHTS
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
        if self.class_weights is not None and len(self.class_weights) != self.num_labels:
            raise ValueError(f"class_weights has {len(self.class_weights)} values for {self.num_labels} labels.")
        if self.class_weights is not None and min(self.class_weights) <= 0:
            raise ValueError(f"class_weights must be positive, found {min(self.class_weights)}.")
        self._check_whisper_length()

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

    def _configure_backbone(self) -> None:
        backbone = self.backbone_config
        if self.num_backbone_layers is not None:
            backbone.num_hidden_layers = self.num_backbone_layers
            if self.family == "whisper":
                backbone.encoder_layers = self.num_backbone_layers
        if self.family == "whisper":
            backbone.encoder_layerdrop = self.layerdrop
        else:
            backbone.layerdrop = self.layerdrop
            backbone.apply_spec_augment = self.apply_spec_augment
            # The convolutional adapter some checkpoints carry for CTC shortens the sequence after the last layer;
            # nothing here reads it.
            backbone.add_adapter = False


def num_layers_of(backbone_config: PreTrainedConfig) -> int:
    """Number of transformer layers of a backbone's encoder."""
    if backbone_config.model_type == "whisper":
        return backbone_config.encoder_layers
    return backbone_config.num_hidden_layers


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
