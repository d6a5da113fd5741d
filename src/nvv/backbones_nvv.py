"""The six families of speech encoders, made exact for clips of any length.

Each class is the stock transformers encoder with its own `forward`: parameters, names, initialisation and loading stay
the stock ones; what changes is that padding is masked everywhere (Whisper's convolutions and attention, the group norm
of base-sized wav2vec 2.0-like encoders), that layers after the last one asked for are not computed, and that WavLM's
attention calls its projections as modules (so that LoRA on them acts). Heads, pooling and the choice of layers are in
the siblings. Part of the remote-code bundle: imports only torch, transformers and its siblings.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import islice
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F
from transformers import (
    HubertModel,
    PreTrainedConfig,
    PreTrainedModel,
    UniSpeechModel,
    UniSpeechSatModel,
    Wav2Vec2Model,
    WavLMModel,
)
from transformers.models.wavlm.modeling_wavlm import WavLMAttention
from transformers.models.whisper.modeling_whisper import WhisperEncoder

from .frontend_nvv import HOP_LENGTH, log_mel_spectrogram
from .spec_augment_nvv import mask_frames

HiddenStates = tuple[torch.Tensor, ...]


def frame_mask_of(num_frames: torch.Tensor, max_frames: int) -> torch.Tensor:
    """`(batch,)` counts → `(batch, max_frames)`, true on each clip's first `num_frames` frames."""
    return torch.arange(max_frames, device=num_frames.device) < num_frames.unsqueeze(-1)


def additive_mask(frame_mask: torch.Tensor | None, dtype: torch.dtype) -> torch.Tensor | None:
    """`(batch, frames)` → `(batch, 1, 1, frames)`: 0 where visible, the dtype's lowest number on padding."""
    if frame_mask is None:
        return None
    mask = torch.zeros(frame_mask.shape, dtype=dtype, device=frame_mask.device)
    return mask.masked_fill(~frame_mask, torch.finfo(dtype).min)[:, None, None, :]


def run_layers(
    layers: Iterable[nn.Module],
    hidden_states: torch.Tensor,
    *,
    wanted: Sequence[int],
    layerdrop: float,
    final_norm: nn.Module | None,
    num_layers: int,
    training: bool,
    **layer_arguments: Any,
) -> HiddenStates:
    """Runs the transformer layers up to the last hidden state that is wanted.

    Args:
        layers: The encoder's layers.
        hidden_states: The embedding output `(batch, frames, width)`: hidden state 0.
        wanted: Numbers of the hidden states to return; `i` is the output of layer `i`.
        layerdrop: Probability of skipping a layer in training (Fan et al. 2020); its hidden state then repeats the one
            before.
        final_norm: Applied to the output of the very last layer, as pre-norm encoders do.
        num_layers: How many layers there are.
        training: Whether LayerDrop is on.
        layer_arguments: Handed to each layer.

    Returns:
        One tensor `(batch, frames, width)` for each entry of `wanted`, in its order.
    """
    last = max(wanted)
    kept = {0: hidden_states} if 0 in wanted else {}
    for number, layer in enumerate(islice(layers, last), start=1):
        skipped = training and layerdrop > 0 and float(torch.rand([])) < layerdrop
        if not skipped:
            if getattr(layer, "gradient_checkpointing", False) and training and not hidden_states.requires_grad:
                # Reentrant checkpointing gives no gradients inside a layer none of whose inputs asks for them.
                hidden_states = hidden_states.detach().requires_grad_()
            output = layer(hidden_states, **layer_arguments)
            hidden_states = output[0] if isinstance(output, tuple) else output
        if number == num_layers and final_norm is not None:
            hidden_states = final_norm(hidden_states)
        if number in wanted:
            kept[number] = hidden_states
    return tuple(kept[number] for number in wanted)


class NvvWhisperEncoder(WhisperEncoder):
    """Whisper's encoder on waveforms of any length up to its position table.

    The log-mel front-end is inside, so that all families take waveforms. The frames after a clip's end are zero before
    each convolution and masked in attention, and the position table is cut to the batch. Frame `i` covers the 20 ms
    from `i` · 320 samples on.
    """

    # Decoder weights and the like: what is missing is an error (see `load_backbone`), what is left over is not.
    _keys_to_ignore_on_load_unexpected = [r".*"]  # noqa: RUF012
    # Masks here are additive tensors, which the flash-attention kernels do not take.
    _supports_flash_attn = False
    _supports_flex_attn = False

    def num_frames(self, num_samples: torch.Tensor) -> torch.Tensor:
        """Encoder positions `(batch,)` that clips of `num_samples` samples fill; at least one."""
        return (_log_mel_frames(num_samples) + 1) // 2

    def forward(
        self,
        input_values: torch.Tensor,
        num_samples: torch.Tensor | None = None,
        *,
        layers: Sequence[int],
        normalise_last: bool = True,  # noqa: ARG002 - Whisper's last hidden state is always the normalised one
        own_samples: torch.Tensor | None = None,
    ) -> tuple[HiddenStates, torch.Tensor | None]:
        """Encodes clips.

        Args:
            input_values: `(batch, samples)`, 16 kHz, not normalised; zeros after each clip's end. Anything shorter than
                a hop (10 ms) is continued with zeros to one.
            num_samples: `(batch,)`, each clip's length in samples; `None` where the whole tensor is heard.
            layers: Which hidden states to return; 0 is the embedding output.
            normalise_last: Without effect, as in the stock encoder: Whisper's last hidden state has passed the final
                norm.
            own_samples: `(batch,)`, where `num_samples` is `None` because silence after the clips is heard, too: the
                clips' own lengths in samples, for SpecAugment.

        Returns:
            The hidden states, each `(batch, frames, width)`, and the mask of valid frames `(batch, frames)` or `None`.

        Raises:
            ValueError: The clips are longer than the position table.
        """
        features = log_mel_spectrogram(
            input_values, num_mel_bins=self.num_mel_bins, continue_with_silence=num_samples is not None
        ).to(self.conv1.weight.dtype)
        max_frames = (features.shape[-1] + 1) // 2
        if max_frames > self.max_source_positions:
            raise ValueError(
                f"A clip of {input_values.shape[-1] / 16_000:.2f} s is longer than this Whisper encoder's "
                f"{self.max_source_positions * 0.02:g} s; lower max_seconds."
            )
        log_mel_mask = frame_mask = None
        if num_samples is not None:
            log_mel_mask = frame_mask_of(_log_mel_frames(num_samples), features.shape[-1])
            frame_mask = frame_mask_of(self.num_frames(num_samples), max_frames)
        if self.training:
            # As in the stock model: frames of 10 ms and mel bands become 0, which is -40 dB in the log-mel scale.
            own = num_samples if own_samples is None else own_samples
            own_frames = None if own is None else _log_mel_frames(own)
            features = mask_frames(features.transpose(1, 2), own_frames, config=self.config).transpose(1, 2)
        hidden_states = F.gelu(self.conv1(_zero_padding(features, log_mel_mask)))
        hidden_states = F.gelu(self.conv2(_zero_padding(hidden_states, log_mel_mask)))
        hidden_states = hidden_states.transpose(1, 2) + self.embed_positions.weight[:max_frames]
        hidden_states = F.dropout(hidden_states, p=self.dropout, training=self.training)
        states = run_layers(
            self.layers,
            hidden_states,
            wanted=layers,
            layerdrop=self.layerdrop,
            final_norm=self.layer_norm,
            num_layers=len(self.layers),
            training=self.training,
            attention_mask=additive_mask(frame_mask, hidden_states.dtype),
        )
        return states, frame_mask


def _log_mel_frames(num_samples: torch.Tensor) -> torch.Tensor:
    """Log-mel frames `(batch,)` that clips of `num_samples` samples fill; at least one."""
    return ((num_samples + HOP_LENGTH - 1) // HOP_LENGTH).clamp(min=1)


def _zero_padding(channels_first: torch.Tensor, frame_mask: torch.Tensor | None) -> torch.Tensor:
    """Zeroes `(batch, channels, frames)` where the mask `(batch, frames)` is false."""
    if frame_mask is None:
        return channels_first
    return channels_first.masked_fill(~frame_mask.unsqueeze(1), 0.0)


def _group_norm_layer(layer: nn.Module, hidden_states: torch.Tensor, num_frames: torch.Tensor) -> torch.Tensor:
    """A stock group-norm convolution layer with statistics over each clip's own `num_frames` output frames.

    One call of the fused kernel a clip: four times as fast on a CPU as masked sums, and no more memory than the output.
    """
    hidden_states = layer.conv(hidden_states)
    max_frames = hidden_states.shape[-1]
    clips = [
        F.pad(layer.layer_norm(hidden_states[index : index + 1, :, :frames]), (0, max_frames - frames))
        for index, frames in enumerate(num_frames.tolist())
    ]
    return layer.activation(torch.cat(clips))


class _ConvolutionalBackbone:
    """What wav2vec 2.0, HuBERT, WavLM, UniSpeech and UniSpeech-SAT share: put before the stock model class."""

    _keys_to_ignore_on_load_unexpected = [r".*"]  # noqa: RUF012
    _supports_sdpa = True
    _supports_flash_attn = False
    _supports_flex_attn = False

    @property
    def receptive_field(self) -> int:
        """Samples that one frame sees (400 for all published checkpoints): the shortest input."""
        samples = 1
        for kernel, stride in zip(reversed(self.config.conv_kernel), reversed(self.config.conv_stride), strict=True):
            samples = (samples - 1) * stride + kernel
        return samples

    def num_frames(self, num_samples: torch.Tensor) -> torch.Tensor:
        """Frames `(batch,)` that clips of `num_samples` samples fill; at least one."""
        frames = num_samples.clamp(min=self.receptive_field)
        for kernel, stride in zip(self.config.conv_kernel, self.config.conv_stride, strict=True):
            frames = (frames - kernel) // stride + 1
        return frames

    def forward(
        self,
        input_values: torch.Tensor,
        num_samples: torch.Tensor | None = None,
        *,
        layers: Sequence[int],
        normalise_last: bool = True,
        own_samples: torch.Tensor | None = None,
    ) -> tuple[HiddenStates, torch.Tensor | None]:
        """Encodes clips.

        Args:
            input_values: `(batch, samples)`, 16 kHz, normalised as the checkpoint expects; zeros after each clip's end.
                Clips shorter than `receptive_field` (25 ms) are continued with zeros to it, which count as sound.
            num_samples: `(batch,)`, each clip's length in samples; `None` where the whole tensor is heard.
            layers: Which hidden states to return; 0 is the embedding output.
            normalise_last: Whether the last layer's output passes the final norm of pre-norm encoders: stock models do
                so for `last_hidden_state`, not for the tuple `hidden_states` that the weighted layer sum reads.
            own_samples: `(batch,)`, where `num_samples` is `None` because silence after the clips is heard, too: the
                clips' own lengths in samples, for SpecAugment.

        Returns:
            The hidden states, each `(batch, frames, width)`, and the mask of valid frames `(batch, frames)` or `None`.
        """
        missing = self.receptive_field - input_values.shape[-1]
        if missing > 0:
            input_values = F.pad(input_values, (0, missing))
        features = self._convolve(input_values.to(self.dtype), num_samples).transpose(1, 2)
        frame_mask = None
        if num_samples is not None:
            frame_mask = frame_mask_of(self.num_frames(num_samples), features.shape[1])
        projected = self.feature_projection(features)
        hidden_states = projected[0] if isinstance(projected, tuple) else projected
        if self.training:
            own = num_samples if own_samples is None else own_samples
            hidden_states = mask_frames(
                hidden_states,
                None if own is None else self.num_frames(own),
                config=self.config,
                # Not there in encoders whose config masks nothing.
                replacement=getattr(self, "masked_spec_embed", 0.0),
            )
        hidden_states = self._embed_positions(hidden_states, frame_mask)
        with_final_norm = normalise_last and self.config.do_stable_layer_norm
        states = run_layers(
            self.encoder.layers,
            hidden_states,
            wanted=layers,
            layerdrop=self.config.layerdrop,
            final_norm=self.encoder.layer_norm if with_final_norm else None,
            num_layers=len(self.encoder.layers),
            training=self.training,
            attention_mask=additive_mask(frame_mask, hidden_states.dtype),
            **self._layer_arguments(hidden_states),
        )
        return states, frame_mask

    def _convolve(self, input_values: torch.Tensor, num_samples: torch.Tensor | None) -> torch.Tensor:
        """`(batch, samples)` → `(batch, channels, frames)`; a group norm sees each clip's own frames only."""
        hidden_states = input_values.unsqueeze(1)
        first = self.feature_extractor.conv_layers[0]
        if self.training and first.gradient_checkpointing and first.conv.weight.requires_grad:
            hidden_states = hidden_states.detach().requires_grad_()
        if num_samples is not None:
            num_samples = num_samples.clamp(min=self.receptive_field)
        if hidden_states.device.type == "cpu" and not torch.compiler.is_compiling():
            return self._convolve_one_by_one(hidden_states, num_samples)
        return self._convolve_together(hidden_states, num_samples)

    def _convolve_one_by_one(self, hidden_states: torch.Tensor, num_samples: torch.Tensor | None) -> torch.Tensor:
        """The front-end on a CPU: `(batch, 1, samples)` → `(batch, channels, frames)`, zeros on padding.

        The first layer makes 13 MB of two seconds; that of a batch is far larger than any cache and mapped into memory
        anew each time. One clip after the other saves a quarter of a whole pass, and most of the memory.
        """
        width = hidden_states.shape[-1]
        max_frames = int(self.num_frames(torch.tensor([width])))
        clips = []
        for index, length in enumerate([width] * len(hidden_states) if num_samples is None else num_samples.tolist()):
            clip = hidden_states[index : index + 1, :, :length]
            for layer in self.feature_extractor.conv_layers:
                clip = layer(clip)
            clips.append(F.pad(clip, (0, max_frames - clip.shape[-1])))
        return torch.cat(clips)

    def _convolve_together(self, hidden_states: torch.Tensor, num_samples: torch.Tensor | None) -> torch.Tensor:
        """The front-end on all clips at once: `(batch, 1, samples)` → `(batch, channels, frames)`."""
        first, *others = self.feature_extractor.conv_layers
        if num_samples is None or self.config.feat_extract_norm != "group":
            hidden_states = first(hidden_states)
        else:
            num_frames = (num_samples - self.config.conv_kernel[0]) // self.config.conv_stride[0] + 1
            if first.gradient_checkpointing and self.training:
                checkpoint = first._gradient_checkpointing_func
                hidden_states = checkpoint(partial(_group_norm_layer, first), hidden_states, num_frames)
            else:
                hidden_states = _group_norm_layer(first, hidden_states, num_frames)
        for layer in others:
            hidden_states = layer(hidden_states)
        return hidden_states

    def _embed_positions(self, hidden_states: torch.Tensor, frame_mask: torch.Tensor | None) -> torch.Tensor:
        """Adds the convolutional position embedding; `(batch, frames, width)` in and out."""
        encoder = self.encoder
        if frame_mask is not None:
            hidden_states = hidden_states.masked_fill(~frame_mask.unsqueeze(-1), 0.0)
        hidden_states = hidden_states + encoder.pos_conv_embed(hidden_states)
        if not self.config.do_stable_layer_norm:
            hidden_states = encoder.layer_norm(hidden_states)
        return encoder.dropout(hidden_states)

    def _layer_arguments(self, hidden_states: torch.Tensor) -> dict[str, Any]:  # noqa: ARG002 - WavLM's needs it
        """What this family's layers take besides the mask."""
        return {}


class NvvWav2Vec2Model(_ConvolutionalBackbone, Wav2Vec2Model):
    """wav2vec 2.0 (XLSR-53 and XLS-R among them), exact for any length."""


class NvvHubertModel(_ConvolutionalBackbone, HubertModel):
    """HuBERT, exact for any length."""

    def __init__(self, config: PreTrainedConfig) -> None:
        if getattr(config, "conv_pos_batch_norm", False):
            raise ValueError(
                "HuBERT with conv_pos_batch_norm=True normalises over padding and over the batch; it is not supported."
            )
        super().__init__(config)


class NvvUniSpeechModel(_ConvolutionalBackbone, UniSpeechModel):
    """UniSpeech, exact for any length."""


class NvvUniSpeechSatModel(_ConvolutionalBackbone, UniSpeechSatModel):
    """UniSpeech-SAT, exact for any length."""


class PositionBias:
    """WavLM's relative position bias, for any number of frames.

    Stock WavLM computes it in the first layer and hands it on, which ties all layers to one length. Layers may differ
    here (deep prompts in some of them), so they are handed this object.

    Args:
        attention: The first layer's attention, which owns the embedding.
        num_frames: The length that most layers see: computed once.
        recompute: Compute it in every layer instead. Gradient checkpointing runs a layer again on its own, and what the
            layers share outside cannot be part of that.
    """

    def __init__(self, attention: WavLMAttention, num_frames: int, *, recompute: bool = False) -> None:
        self._compute = attention.compute_bias
        self._usual = None if recompute else self._compute(num_frames, num_frames)

    def __call__(self, num_frames: int) -> torch.Tensor:
        """The bias `(heads, num_frames, num_frames)`."""
        if self._usual is not None and num_frames == self._usual.shape[-1]:
            return self._usual
        return self._compute(num_frames, num_frames)


class NvvWavLMAttention(WavLMAttention):
    """WavLM's gated relative attention (Chen et al. 2022, section III-B) through `scaled_dot_product_attention`.

    The stock class reads `q_proj.weight` and its siblings, so that adapters wrapped around them have no effect.
    """

    def forward(
        self,
        hidden_states: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        position_bias: Callable[[int], torch.Tensor] | None = None,
        index: int = 0,  # noqa: ARG002 - the stock layers pass it
        **kwargs: Any,  # noqa: ARG002
    ) -> tuple[torch.Tensor, None, Callable[[int], torch.Tensor] | None]:
        """Self-attention over `(batch, frames, width)`; `attention_mask` is additive, `(batch, 1, 1, frames)`.

        Raises:
            ValueError: No position bias was handed over.
        """
        if position_bias is None:
            raise ValueError("WavLM's layers need position_bias, a PositionBias made from the first layer.")
        batch, frames, _ = hidden_states.shape
        by_head = (batch, frames, self.num_heads, self.head_dim)
        gates = self.gru_rel_pos_linear(hidden_states.view(by_head).transpose(1, 2))  # (batch, heads, frames, 8)
        gate_a, gate_b = torch.sigmoid(gates.view(batch, self.num_heads, frames, 2, 4).sum(-1)).chunk(2, dim=-1)
        gate = gate_a * (gate_b * self.gru_rel_pos_const - 1.0) + 2.0  # (batch, heads, frames, 1)
        bias = gate * position_bias(frames)  # (batch, heads, frames, frames)
        if attention_mask is not None:
            bias = bias + attention_mask
        query, key, value = (
            projection(hidden_states).view(by_head).transpose(1, 2)
            for projection in (self.q_proj, self.k_proj, self.v_proj)
        )
        attended = F.scaled_dot_product_attention(
            query, key, value, attn_mask=bias.to(query.dtype), dropout_p=self.dropout if self.training else 0.0
        )
        return self.out_proj(attended.transpose(1, 2).reshape(batch, frames, -1)), None, position_bias


class NvvWavLMModel(_ConvolutionalBackbone, WavLMModel):
    """WavLM, exact for any length."""

    def __init__(self, config: PreTrainedConfig) -> None:
        super().__init__(config)
        for layer in self.encoder.layers:
            # Same parameters, another forward: changing the class keeps the stock construction and initialisation.
            layer.attention.__class__ = NvvWavLMAttention

    def _layer_arguments(self, hidden_states: torch.Tensor) -> dict[str, Any]:
        # Found by search: a tuner may have wrapped the layer.
        modules = list(self.encoder.layers[0].modules())
        first = next(module for module in modules if isinstance(module, WavLMAttention))
        recompute = self.training and any(getattr(module, "gradient_checkpointing", False) for module in modules)
        return {"position_bias": PositionBias(first, hidden_states.shape[1], recompute=recompute)}


BACKBONE_CLASSES: dict[str, type[PreTrainedModel]] = {
    "whisper": NvvWhisperEncoder,
    "wav2vec2": NvvWav2Vec2Model,
    "hubert": NvvHubertModel,
    "wavlm": NvvWavLMModel,
    "unispeech": NvvUniSpeechModel,
    "unispeech-sat": NvvUniSpeechSatModel,
}
"""The class for each family, by its config's `model_type`."""
