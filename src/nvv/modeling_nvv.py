"""`NvvForAudioClassification`: a speech encoder, a weighted sum of its layers, and a head for vocalization labels.

Leaves the encoders to `backbones_nvv`, the head to `heads_nvv`, where weights come from to `loading_nvv` and adapters
to `tuners_nvv` and PEFT. Input is always the 16 kHz waveform. Entry file of the remote-code bundle.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F
from transformers import PreTrainedConfig, PreTrainedModel
from transformers import initialization as init
from transformers.modeling_outputs import SequenceClassifierOutput
from transformers.utils import is_peft_available

from .adapters_nvv import (
    HUB_ARGUMENTS,
    AdapterSwitching,
    is_adapter_only,
    pin_revision,
    register_tuners_with_peft,
)
from .backbones_nvv import BACKBONE_CLASSES, frame_mask_of
from .configuration_nvv import CONTRASTIVE_LOSS, NvvConfig, own_fields
from .contrastive_nvv import supervised_contrastive_loss
from .decisions_nvv import at_operating_point, detected
from .heads_nvv import NvvHead
from .loading_nvv import (
    backbone_digest,
    draw_backbone,
    load_backbone,
    load_backbone_config,
    load_head_weights,
    resolve_backbone_revision,
)
from .losses_nvv import task_loss

_NORMALIZATION_EPSILON = 1e-7  # of transformers' Wav2Vec2FeatureExtractor


@dataclass
class NvvOutput(SequenceClassifierOutput):
    """What the model answers: as in transformers, and the clips' embeddings `(batch, size)`, if asked for."""

    embeddings: torch.Tensor | None = None


class NvvForAudioClassification(AdapterSwitching, PreTrainedModel):
    """Classifies clips of non-verbal vocalizations, or predicts numbers from them, or both.

    Args:
        config: See [`NvvConfig`].

    Example:
        >>> import torch
        >>> model = NvvForAudioClassification.from_backbone("openai/whisper-tiny", random_init=True, num_labels=6)
        >>> model(torch.zeros(2, 8000)).logits.shape
        torch.Size([2, 6])
    """

    config_class = NvvConfig
    base_model_prefix = "backbone"
    main_input_name = "input_values"
    input_modalities = ("audio",)
    supports_gradient_checkpointing = True
    _supports_sdpa = True

    def __init__(self, config: NvvConfig) -> None:
        super().__init__(config)
        self.backbone = BACKBONE_CLASSES[config.family](config.backbone_config)
        self.head = NvvHead(config)
        self.post_init()

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, nn.LSTM):
            bound = module.hidden_size**-0.5  # torch's own; transformers would draw others
            for weight in module.parameters():
                init.uniform_(weight, -bound, bound)
            return
        super()._init_weights(module)
        if not isinstance(module, NvvHead):
            return
        if module.layer_weights is not None:
            init.constant_(module.layer_weights, 1.0 / len(module.layer_weights))
        for name in ("log_variances", "centroids"):
            if getattr(module, name, None) is not None:
                init.zeros_(getattr(module, name))

    def get_input_embeddings(self) -> nn.Module:
        """The first convolution, where gradient checkpointing of a frozen backbone may ask for gradients."""
        if self.config.family == "whisper":
            return self.backbone.conv1
        return self.backbone.feature_extractor.conv_layers[0].conv

    def train(self, mode: bool = True) -> NvvForAudioClassification:
        """Training mode; a backbone with nothing to train stays in evaluation mode.

        No dropout, LayerDrop or SpecAugment then stands between the frozen features and the head, so that features
        computed once equal those of every step.
        """
        super().train(mode)
        if mode and not any(parameter.requires_grad for parameter in self.backbone.parameters()):
            self.backbone.eval()
        return self

    def forward(
        self,
        input_values: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        mixed_targets: torch.Tensor | None = None,
        mixing_weights: torch.Tensor | None = None,
        output_embeddings: bool = False,
    ) -> NvvOutput | tuple[torch.Tensor, ...]:
        """Answers for a batch of clips.

        A clip's logits do not depend on the others. Clips longer than `config.max_seconds` are cut to their start.
        Clips shorter than what the encoder's front-end needs (25 ms for the convolutional families, 10 ms for Whisper)
        are continued with zeros to that length, and an empty clip counts as one of that length.

        The logits of a classification have been divided by `config.calibration_temperature`, which calibrates their
        softmax. In evaluation and without labels they are moved to the operating point that
        `config.apply_operating_point` names.

        Args:
            input_values: `(batch, samples)`, 16 kHz, as the saved feature extractor gives them; padded on the right.
            attention_mask: `(batch, samples)`, 1 on the clips' own samples; `None` where nothing is padding.
            labels: `(batch,)`, class indices, -100 where missing; with `config.tasks` `(batch, num_label_columns)` in
                floating point, NaN where missing.
            output_hidden_states: Also return all hidden states.
            return_dict: `False` for a tuple.
            mixed_targets: Labels of the clips that were mixed into these (mixup); see `losses_nvv.task_loss`. Named so
                because transformers' Trainer takes every argument named like a label for one that is always there.
            mixing_weights: `(batch,)`, the share of `labels` in the mixture.
            output_embeddings: Also return the embeddings of `embed`, from the same pass as the logits.

        Returns:
            `logits` `(batch, num_labels)`; `loss` where labels are given; `hidden_states`, if asked for, of the
            embedding output and each layer, `(batch, frames, width)`; `embeddings` `(batch, size)`, if asked for.

        Raises:
            ValueError: `input_values` has not two dimensions, the mask another shape, or the labels another than the
                config's tasks have.
        """
        summed = self.config.summed_layers
        wanted = list(range(self.config.num_hidden_states)) if output_hidden_states else summed
        states, frame_mask = self.encode(input_values, attention_mask, layers=wanted)
        logits, embeddings = self.head(
            [states[wanted.index(layer)] for layer in summed], frame_mask, with_embeddings=True
        )
        logits = self._calibrate(logits)
        loss = None if labels is None else self._loss(logits, embeddings, labels, mixed_targets, mixing_weights)
        if self.config.apply_operating_point is not None and labels is None and not self.training:
            logits = at_operating_point(logits, self.config)
        output = NvvOutput(
            loss=loss,
            logits=logits,
            hidden_states=states if output_hidden_states else None,
            embeddings=embeddings if output_embeddings else None,
        )
        return output.to_tuple() if return_dict is False else output

    def embed(self, input_values: torch.Tensor, attention_mask: torch.Tensor | None = None) -> torch.Tensor:
        """Embeddings of a batch of clips.

        Args:
            input_values: As for `forward`.
            attention_mask: As for `forward`.

        Returns:
            `(batch, size)`: for the head `"embedding"` of length 1; for the others the pooled layer sum (`"mlp"`), its
            projection (`"linear"`), or the pooled outputs of the LSTM (`"lstm"`).
        """
        states, frame_mask = self.encode(input_values, attention_mask)
        return self.head(states, frame_mask, with_embeddings=True)[1]

    @torch.no_grad()
    def detect(
        self,
        input_values: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        *,
        label: str | None = None,
    ) -> torch.Tensor:
        """Whether each clip is of a label, at the label's operating point.

        Args:
            input_values: As for `forward`.
            attention_mask: As for `forward`.
            label: A label with an operating point; `None` for the one to apply, or the only one there is.

        Returns:
            `(batch,)`, bool.

        Raises:
            ValueError: The label has no operating point.
        """
        logits = self._calibrate(self.head(*self.encode(input_values, attention_mask)))
        return detected(logits, self.config, label)

    def _loss(
        self,
        logits: torch.Tensor,
        embeddings: torch.Tensor,
        labels: torch.Tensor,
        mixed_targets: torch.Tensor | None,
        mixing_weights: torch.Tensor | None,
    ) -> torch.Tensor:
        labels = labels.to(logits.device)
        if self.config.loss == CONTRASTIVE_LOSS:
            if mixed_targets is not None:
                raise ValueError("mixed_targets: a mixture of two clips has no class for the contrastive loss.")
            return supervised_contrastive_loss(embeddings, labels, temperature=self.config.contrastive_temperature)
        return task_loss(
            logits,
            labels,
            self.config,
            log_variances=self.head.log_variances,
            mixed_targets=None if mixed_targets is None else mixed_targets.to(logits.device),
            mixing_weights=None if mixing_weights is None else mixing_weights.to(logits.device),
        )

    def _calibrate(self, logits: torch.Tensor) -> torch.Tensor:
        """The head's logits as they are answered, with a calibrated softmax."""
        temperature = self.config.calibration_temperature
        return logits if temperature == 1 else logits / temperature

    def encode(
        self, input_values: torch.Tensor, attention_mask: torch.Tensor | None = None, *, layers: list[int] | None = None
    ) -> tuple[tuple[torch.Tensor, ...], torch.Tensor | None]:
        """Hidden states and the frames that pooling covers, under the configured padding policy.

        Args:
            input_values: As for `forward`.
            attention_mask: As for `forward`.
            layers: Which hidden states, 0 being the embedding output; `None` for those that the head sums.

        Returns:
            The hidden states, each `(batch, frames, width)`, and the mask `(batch, frames)` of the frames to pool
            over, `None` for all. As in the stock models the last one has passed a pre-norm encoder's final norm where
            the head reads it alone; in a weighted sum it has only in Whisper.
        """
        layers = self.config.summed_layers if layers is None else layers
        waveform, num_samples = self._cut(input_values, attention_mask)
        choice = {"layers": layers, "normalise_last": not self.config.use_weighted_layer_sum}
        if self.config.padding == "mask":
            return self.backbone(waveform, num_samples, **choice)
        heard = round(self.config.padding_seconds * self.config.sampling_rate)
        if num_samples is None:
            num_samples = torch.full((len(waveform),), waveform.shape[-1], device=waveform.device)
        padded = F.pad(waveform, (0, heard - waveform.shape[-1]))
        states, _ = self.backbone(padded, None, own_samples=num_samples, **choice)
        if self.config.pool_padding:
            return states, None
        return states, frame_mask_of(self.backbone.num_frames(num_samples), states[0].shape[1])

    def _cut(
        self, input_values: torch.Tensor, attention_mask: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Cuts to `max_seconds`, zeroes padding, and reads each clip's length in samples off the mask."""
        _check_inputs(input_values, attention_mask)
        max_samples = round(self.config.max_seconds * self.config.sampling_rate)
        waveform = input_values[:, :max_samples]
        if self.config.normalize_cut_clips and input_values.shape[-1] > max_samples:
            # A clip that reaches the last sample kept is sound throughout; the others keep what they were.
            cut = slice(None) if attention_mask is None else attention_mask[:, max_samples] == 1
            waveform = waveform.clone()
            variance, mean = torch.var_mean(waveform[cut], dim=-1, correction=0, keepdim=True)
            waveform[cut] = (waveform[cut] - mean) / torch.sqrt(variance + _NORMALIZATION_EPSILON)
        if attention_mask is None:
            if self.config.padding == "mask" and self.config.family == "whisper":
                # The last analysis window then sees what it would see beside a longer clip.
                return waveform, torch.full((len(waveform),), waveform.shape[-1], device=waveform.device)
            return waveform, None
        attention_mask = attention_mask[:, :max_samples]
        waveform = waveform.masked_fill(attention_mask == 0, 0.0)
        return waveform, attention_mask.sum(dim=-1).long()

    @classmethod
    def from_backbone(
        cls,
        backbone_id: str,
        *,
        family: str | None = None,
        revision: str | None = None,
        random_init: bool = False,
        seed: int = 0,
        backbone_config: PreTrainedConfig | None = None,
        token: str | bool | None = None,
        cache_dir: str | None = None,
        local_files_only: bool = False,
        **config_fields: Any,
    ) -> NvvForAudioClassification:
        """A classifier on a pretrained speech encoder, with a new head, in fp32.

        Args:
            backbone_id: Hub id or folder.
            family: If given, the family the checkpoint has to be of.
            revision: Branch, tag or commit; the commit it stands for is stored in the config.
            random_init: Random weights instead, for a known Hub id or a folder with a `config.json`; nothing is
                downloaded.
            seed: For `random_init`, and for the head.
            backbone_config: The backbone's architecture, with `random_init`, for one that is neither.
            token: Hub token.
            cache_dir: Where downloads are kept.
            local_files_only: Never ask the Hub.
            config_fields: Fields of [`NvvConfig`].

        Raises:
            TypeError: A field is unknown.
            ValueError: The checkpoint is not of the family asked for or not complete.
        """
        _check_config_fields(config_fields)
        hub_arguments = {"token": token, "cache_dir": cache_dir, "local_files_only": local_files_only}
        if backbone_config is not None and not random_init:
            raise ValueError("backbone_config goes with random_init=True; pretrained backbones bring their own.")
        if backbone_config is None:
            backbone_config = load_backbone_config(
                backbone_id, family=family, random_init=random_init, revision=revision, **hub_arguments
            )
        config = NvvConfig(
            backbone_config=backbone_config,
            backbone_id=backbone_id,
            random_init_seed=seed if random_init else None,
            **config_fields,
        )
        if random_init:
            backbone = draw_backbone(config)
            config.backbone_digest = backbone_digest(backbone)
        else:
            config.backbone_revision = resolve_backbone_revision(backbone_id, revision=revision, **hub_arguments)
            backbone = load_backbone(config, **hub_arguments)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            with torch.device("meta"):
                model = cls(config)
            model.backbone = backbone
            model.head = NvvHead(config)
            model.head.apply(model._init_weights)
        model._has_named_backbone = True
        return model.eval()

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | None,
        *model_args: Any,
        config: NvvConfig | str | None = None,
        adapter_kwargs: dict[str, Any] | None = None,
        adapter_name: str = "default",
        **kwargs: Any,
    ) -> Any:
        """Loads a saved classifier: a full model, or an adapter or a head together with the backbone that it names.

        Arguments and result are those of `PreTrainedModel.from_pretrained`; fields of [`NvvConfig`], such as
        `apply_operating_point`, replace those of the repository.

        Raises:
            ValueError: The backbone's weights are incomplete or not those the adapter was trained on, or weights of the
                adapter are missing.
        """
        hub_arguments = {name: kwargs[name] for name in HUB_ARGUMENTS if kwargs.get(name) is not None}
        path = pretrained_model_name_or_path
        stock = {"config": config, "adapter_kwargs": adapter_kwargs, "adapter_name": adapter_name}
        if path is None or kwargs.get("state_dict") is not None:
            return super().from_pretrained(path, *model_args, **stock, **kwargs)
        if not isinstance(config, PreTrainedConfig):
            fields = {name: kwargs.pop(name) for name in own_fields() if name in kwargs}
            stock["config"] = config = NvvConfig.from_pretrained(config or path, **hub_arguments, **fields)
        hub_arguments = pin_revision(path, hub_arguments)
        is_adapter = is_adapter_only(path, hub_arguments)
        if is_adapter and not is_peft_available():
            raise ImportError(f"{path} holds an adapter, which takes the peft library to load: pip install peft")
        if not is_adapter and config.saved_weights == "all":
            if is_peft_available():
                register_tuners_with_peft()
            return super().from_pretrained(path, *model_args, **stock, **kwargs)

        # The backbone's weights are elsewhere. What the repository lacks is put together first, so that transformers
        # places all of it (dtype, device) as it would a full checkpoint.
        for name in ("revision", "subfolder"):  # the repository's, not the backbone's
            kwargs.pop(name, None)
        output_loading_info = kwargs.pop("output_loading_info", False)
        own = {name: value for name, value in hub_arguments.items() if name not in ("revision", "subfolder")}
        try:
            backbone = load_backbone(config, **own)
        except OSError as error:  # gone, private, or not in the cache
            raise OSError(
                f"The backbone of {path}, {config.backbone_id} at revision {config.backbone_revision or 'main'}, "
                f"cannot be loaded: {error}"
            ) from error
        weights = {f"backbone.{name}": weight for name, weight in backbone.state_dict().items()}
        head = NvvHead(config).state_dict() if is_adapter else load_head_weights(path, **hub_arguments)
        weights.update({f"head.{name}": weight for name, weight in head.items()})
        config = copy.deepcopy(config)
        config.saved_weights = "all"
        model, report = super().from_pretrained(
            None, *model_args, config=config, state_dict=weights, output_loading_info=True, **kwargs
        )
        if report["missing_keys"]:
            raise ValueError(f"{path} lacks the weight {sorted(report['missing_keys'])[0]} and perhaps others.")
        model._adopt_first(adapter_name, str(path), hub_arguments, is_adapter=is_adapter)
        model.config.name_or_path = str(path)
        return (model, report) if output_loading_info else model


def _check_inputs(input_values: torch.Tensor, attention_mask: torch.Tensor | None) -> None:
    if input_values.dim() != 2:
        raise ValueError(f"input_values must be (batch, samples), found the shape {tuple(input_values.shape)}.")
    if attention_mask is None:
        return
    if attention_mask.shape != input_values.shape:
        raise ValueError(
            f"attention_mask {tuple(attention_mask.shape)} and input_values {tuple(input_values.shape)} differ in "
            "shape; the mask counts samples, not frames."
        )
    # Frames are counted from the clip's start, so padding before or inside it would be heard. A compiled graph cannot
    # branch on values.
    if not torch.compiler.is_compiling() and bool((attention_mask[:, 1:] > attention_mask[:, :-1]).any()):
        raise ValueError("attention_mask must be 1 on each clip's samples and 0 after them: pad on the right.")


def _check_config_fields(fields: dict[str, Any]) -> None:
    own = set(own_fields())
    common = {"num_labels", "id2label", "label2id", "problem_type"}
    unknown = sorted(set(fields) - own - common)
    if unknown:
        raise TypeError(f"NvvConfig has no field {', '.join(unknown)}; it has {', '.join(sorted(own | common))}.")


NvvConfig.register_for_auto_class()
NvvForAudioClassification.register_for_auto_class("AutoModelForAudioClassification")
