"""Bottleneck adapters, deep prompts and their combination in encoder layers of every family and layout."""

import json

import pytest
import torch
from peft import LoraConfig, PeftConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file

from nvv import tuner_layers_nvv, tuners_nvv
from nvv.tuners_nvv import NvvAdapterConfig, NvvCombinedConfig, NvvPromptConfig, find_encoder_layers, load_adapter

FAMILY_VARIANTS = [("whisper", "pre_norm")] + [
    (family, variant)
    for family in ("wav2vec2", "hubert", "wavlm", "unispeech", "unispeech-sat")
    for variant in ("post_norm", "pre_norm")
]
# One family for each way a layer is laid out and called.
LAYOUTS = [("whisper", "pre_norm"), ("hubert", "post_norm"), ("wav2vec2", "pre_norm"), ("wavlm", "post_norm")]
CONFIGS = {
    "parallel": lambda **options: NvvAdapterConfig(bottleneck=4, modules_to_save=["head"], **options),
    "sequential": lambda **options: NvvAdapterConfig(
        bottleneck=4, placement="sequential", modules_to_save=["head"], **options
    ),
    "prompt": lambda **options: NvvPromptConfig(num_prompts=3, modules_to_save=["head"], **options),
    "combined": lambda **options: NvvCombinedConfig(
        num_prompts=3, rank=2, bottleneck=4, modules_to_save=["head"], **options
    ),
}


def train_a_little(model, seed=1):
    """Move every trainable parameter, so that zero initialisations hide nothing."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return model


def logits_of(model, batch):
    with torch.no_grad():
        return model.eval()(**batch).logits


def gradients(model, batch):
    model.zero_grad()
    model(**batch).loss.backward()
    return {name: parameter.grad for name, parameter in model.named_parameters() if parameter.requires_grad}


# --- what an untrained tuner does ---


@pytest.mark.parametrize(("family", "variant"), FAMILY_VARIANTS)
@pytest.mark.parametrize("placement", ["parallel", "sequential"])
def test_adapter_leaves_logits_unchanged_when_untrained(make_model, batch, family, variant, placement):
    # Also compares the layer's forward, repeated in the wrapper, with the stock layer's.
    expected = logits_of(make_model(family, variant), batch)
    model = get_peft_model(make_model(family, variant), CONFIGS[placement]())
    torch.testing.assert_close(logits_of(model, batch), expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize(("family", "variant"), LAYOUTS)
def test_layers_draw_the_stock_dropouts_when_training(make_model, batch, family, variant):
    # With a dropout of 0 in the adapter, the same seed has to drop the same activations in both.
    dropouts = {"dropout": 0.3, "activation_dropout": 0.3, "attention_dropout": 0.3}
    if family != "whisper":
        dropouts = {"hidden_dropout": 0.3, "activation_dropout": 0.3, "attention_dropout": 0.3}
    stock = make_model(family, variant, backbone=dropouts).train()
    tuned = get_peft_model(
        make_model(family, variant, backbone=dropouts), NvvAdapterConfig(adapter_dropout=0.0)
    ).train()
    outputs = []
    for model in (stock, tuned):
        torch.manual_seed(3)
        outputs.append(model(**batch).logits)
    torch.testing.assert_close(outputs[1], outputs[0], atol=1e-6, rtol=0)


def test_published_adapter_doubles_the_stream_when_untrained_in_whisper(make_model, batch):
    # Update 0, so every layer adds its own attended stream once more: 2x in place of x, on top of the feed-forward.
    layer = make_model().backbone.layers[0]
    states = torch.randn(2, 7, 32)
    wrapped = tuners_nvv.AdapterLayer(layer).eval()
    wrapped.set_adapter("default")
    wrapped.update_layer("default", NvvAdapterConfig(bottleneck=4, add_input=True))
    attended = states + layer.self_attn(layer.self_attn_layer_norm(states), attention_mask=None)[0]
    torch.testing.assert_close(wrapped(states), layer(states, None) + attended)


@pytest.mark.parametrize(
    ("family", "placement", "changes"),
    [
        ("whisper", "parallel", True),
        ("whisper", "sequential", True),
        ("hubert", "parallel", True),
        # A post-norm layer's last norm takes the doubling away: norm(2x) = norm(x).
        ("hubert", "sequential", False),
    ],
)
def test_published_adapter_is_no_identity_when_untrained(make_model, batch, family, placement, changes):
    variant = "pre_norm" if family == "whisper" else "post_norm"
    expected = logits_of(make_model(family, variant), batch)
    model = get_peft_model(make_model(family, variant), CONFIGS[placement](add_input=True))
    difference = (logits_of(model, batch) - expected).abs().max()
    assert bool(difference > 1e-4) == changes


@pytest.mark.parametrize(("family", "variant"), FAMILY_VARIANTS)
@pytest.mark.parametrize("kind", ["prompt", "combined"])
def test_prompts_change_logits_but_not_the_length(make_model, batch, family, variant, kind):
    base = make_model(family, variant)
    expected = logits_of(base, batch)
    with torch.no_grad():
        states = base.encode(batch["input_values"], batch["attention_mask"])[0]
        model = get_peft_model(base, CONFIGS[kind]())
        tuned_states = model.base_model.model.encode(batch["input_values"], batch["attention_mask"])[0]
    assert [state.shape for state in tuned_states] == [state.shape for state in states]
    assert (logits_of(model, batch) - expected).abs().max() > 1e-4


# --- arithmetic, by hand ---


def test_parallel_adapter_follows_the_formula_in_a_post_norm_layer(make_model):
    layer = make_model("hubert", "post_norm").backbone.encoder.layers[0]
    states = torch.randn(2, 7, 32)
    wrapped = tuners_nvv.AdapterLayer(layer).eval()
    wrapped.set_adapter("default")
    wrapped.update_layer("default", NvvAdapterConfig(bottleneck=4, scale=0.5))
    train_a_little(wrapped.nvv_adapter_down), train_a_little(wrapped.nvv_adapter_up)
    down, up = wrapped.nvv_adapter_down["default"], wrapped.nvv_adapter_up["default"]
    # Márquez Villacís et al. 2025: reads the stream after attention, before its norm; added before the last norm.
    stream = states + layer.attention(states)[0]
    normed = layer.layer_norm(stream)
    update = 0.5 * (torch.relu(stream @ down.weight.T + down.bias) @ up.weight.T + up.bias)
    expected = layer.final_layer_norm(normed + layer.feed_forward(normed) + update)
    torch.testing.assert_close(wrapped(states), expected)


def test_sequential_adapter_follows_the_formula_in_a_pre_norm_layer_with_a_stock_adapter(make_model):
    layer = make_model("wav2vec2", "pre_norm", backbone={"adapter_attn_dim": 4}).backbone.encoder.layers[0]
    assert layer.adapter_layer is not None
    states = torch.randn(2, 7, 32)
    wrapped = tuners_nvv.AdapterLayer(layer).eval()
    wrapped.set_adapter("default")
    wrapped.update_layer("default", NvvAdapterConfig(bottleneck=4, placement="sequential"))
    train_a_little(wrapped.nvv_adapter_down), train_a_little(wrapped.nvv_adapter_up)
    down, up = wrapped.nvv_adapter_down["default"], wrapped.nvv_adapter_up["default"]
    stream = states + layer.attention(layer.layer_norm(states))[0]
    result = layer.feed_forward(layer.final_layer_norm(stream))
    result = result + 0.1 * up(torch.relu(down(result)))
    expected = stream + result
    expected = expected + layer.adapter_layer(expected)
    torch.testing.assert_close(wrapped(states), expected)


def test_prompts_equal_a_longer_sequence_with_more_visible_columns(make_model):
    layer = make_model("wav2vec2", "post_norm").backbone.encoder.layers[0]
    states = torch.randn(2, 7, 32)
    mask = torch.zeros(2, 1, 1, 7)
    mask[1, ..., 5:] = torch.finfo(torch.float32).min
    wrapped = tuners_nvv.PromptLayer(layer).eval()
    wrapped.set_adapter("default")
    wrapped.update_layer("default", NvvPromptConfig(num_prompts=3))
    prompts = wrapped.nvv_prompt_prompts["default"]
    longer = torch.cat([torch.stack([prompts, prompts]), states], dim=1)
    longer_mask = torch.cat([torch.zeros(2, 1, 1, 3), mask], dim=-1)
    expected = layer(longer, attention_mask=longer_mask)[:, 3:]
    torch.testing.assert_close(wrapped(states, attention_mask=mask), expected)
    visible = wrapped(states, attention_mask=mask == 0)  # boolean masks are True where visible
    torch.testing.assert_close(visible, expected, atol=1e-6, rtol=1e-5)


def test_prompts_refuse_masks_with_several_queries(make_model):
    wrapped = tuners_nvv.PromptLayer(make_model("hubert", "post_norm").backbone.encoder.layers[0])
    wrapped.set_adapter("default")
    wrapped.update_layer("default", NvvPromptConfig())
    with pytest.raises(ValueError, match=r"shape \(batch, 1, 1, frames\), found \(2, 1, 7, 7\)"):
        wrapped(torch.randn(2, 7, 32), attention_mask=torch.zeros(2, 1, 7, 7))


@pytest.mark.parametrize(("family", "variant"), LAYOUTS)
def test_combined_low_rank_part_equals_peft_lora_when_weights_are_the_same(make_model, batch, family, variant):
    linears = ["fc1", "fc2"] if family == "whisper" else ["intermediate_dense", "output_dense"]
    lora = get_peft_model(make_model(family, variant), LoraConfig(r=2, lora_alpha=3, target_modules=linears))
    train_a_little(lora)
    # Prompts that attention cannot see do nothing, adapters start at nothing: what is left is the low-rank part.
    combined = get_peft_model(
        make_model(family, variant), NvvCombinedConfig(num_prompts=1, rank=2, alpha=3, bottleneck=4, layers=[0, 1, 2])
    )
    source = lora.state_dict()
    with torch.no_grad():
        for name, parameter in combined.named_parameters():
            for which, linear in zip(("in", "out"), linears, strict=True):
                for part in "AB":
                    if f"nvv_combined_lora_{which}_{part}" in name:
                        layer_name = name.split(".nvv_combined")[0]
                        block = "" if family == "whisper" else "feed_forward."
                        parameter.copy_(source[f"{layer_name}.{block}{linear}.lora_{part}.default.weight"])
    for module in combined.modules():
        if isinstance(module, tuner_layers_nvv.CombinedLayer):
            module._prepend_prompts = lambda states, mask: (states, mask, 0)
    expected = logits_of(lora, batch)
    assert (expected - logits_of(make_model(family, variant), batch)).abs().max() > 1e-3
    torch.testing.assert_close(logits_of(combined, batch), expected, atol=1e-6, rtol=0)


# --- training ---


@pytest.mark.parametrize(("family", "variant"), FAMILY_VARIANTS)
@pytest.mark.parametrize("kind", CONFIGS)
def test_gradients_reach_exactly_the_added_parameters_and_the_head(make_model, batch, family, variant, kind):
    model = get_peft_model(make_model(family, variant), CONFIGS[kind]())
    trainable = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert all(".nvv_" in name or ".head.modules_to_save." in name for name in trainable)
    holders = {"parallel": 4, "sequential": 4, "prompt": 1, "combined": 9}[kind]  # tensors a layer
    assert sum(".nvv_" in name for name in trainable) == 3 * holders
    for name, gradient in gradients(train_a_little(model), batch).items():
        assert gradient is not None, name
        assert gradient.abs().max() > 0, name


@pytest.mark.parametrize("use_reentrant", [True, False])
@pytest.mark.parametrize("kind", CONFIGS)
@pytest.mark.parametrize(("family", "variant"), LAYOUTS)
@pytest.mark.filterwarnings("ignore:`gradient_checkpointing_enable`:FutureWarning")
def test_gradients_are_the_same_with_gradient_checkpointing(make_model, batch, family, variant, kind, use_reentrant):
    names = ("dropout",) if family == "whisper" else ("hidden_dropout", "feat_proj_dropout")
    no_dropout = dict.fromkeys((*names, "attention_dropout", "activation_dropout"), 0.0)
    config = CONFIGS[kind]() if kind == "prompt" else CONFIGS[kind](adapter_dropout=0.0)
    plain = train_a_little(get_peft_model(make_model(family, variant, backbone=no_dropout), config)).train()
    expected = gradients(plain, batch)
    for enabled_first in (True, False):
        model = make_model(family, variant, backbone=no_dropout)
        if enabled_first:
            model.gradient_checkpointing_enable({"use_reentrant": use_reentrant})
        model = get_peft_model(model, config)
        if not enabled_first:
            model.gradient_checkpointing_enable({"use_reentrant": use_reentrant})
        model.load_state_dict(plain.state_dict())
        calls = count_attention_calls(model)
        found = gradients(model.train(), batch)
        assert calls == [0, 1, 2, 2, 1, 0]  # forward, and once more each in backward
        assert found.keys() == expected.keys()
        for name in expected:
            torch.testing.assert_close(found[name], expected[name], atol=1e-6, rtol=1e-3)


def count_attention_calls(model):
    """Record each time that a layer's attention runs: forward, and again in backward where it is recomputed."""
    calls = []
    for number, (_, layer) in enumerate(find_encoder_layers(model)):
        stock = layer.get_base_layer()
        attention = stock.self_attn if hasattr(stock, "self_attn") else stock.attention
        attention.register_forward_hook(lambda *_, number=number: calls.append(number))
    return calls


# --- chosen layers, several adapters ---


def test_only_chosen_layers_are_wrapped(make_model):
    model = get_peft_model(make_model("hubert", "post_norm"), NvvPromptConfig(layers=[2, 0]))
    wrapped = [isinstance(layer, tuners_nvv.PromptLayer) for _, layer in find_encoder_layers(model)]
    assert wrapped == [True, False, True]
    assert model.targeted_module_names == ["backbone.encoder.layers.0", "backbone.encoder.layers.2"]


@pytest.mark.parametrize("layers", [[3], [-1], [0, 7], [True], [1.0]])
def test_layer_number_is_refused_when_the_encoder_lacks_it(make_model, layers):
    with pytest.raises(ValueError, match=rf"no layer {layers[-1]!r}; the encoder's 3 layers are 0 to 2"):
        get_peft_model(make_model(), NvvAdapterConfig(layers=layers))


@pytest.mark.parametrize("layers", [[], [1, 1]])
def test_layers_are_refused_when_empty_or_repeated(make_model, layers):
    with pytest.raises(ValueError, match="each once"):
        get_peft_model(make_model(), NvvAdapterConfig(layers=layers))


def test_model_is_refused_when_it_has_no_encoder_layers():
    with pytest.raises(ValueError, match=r"expected one stack of Whisper .* encoder layers, found none"):
        get_peft_model(torch.nn.Sequential(torch.nn.Linear(2, 2)), NvvAdapterConfig())


@pytest.mark.parametrize("kind", CONFIGS)
def test_adapters_switch_without_touching_each_other(make_model, batch, kind):
    base_logits = logits_of(make_model("wavlm", "post_norm"), batch)
    model = train_a_little(get_peft_model(make_model("wavlm", "post_norm"), CONFIGS[kind]()))
    first = logits_of(model, batch)
    model.add_adapter("second", CONFIGS[kind](layers=[1]))
    torch.testing.assert_close(logits_of(model, batch), first)  # the new one is not active yet
    model.set_adapter("second")
    assert all(".second" in name for name, parameter in model.named_parameters() if parameter.requires_grad)
    second = logits_of(train_a_little(model, seed=2), batch)
    assert (second - first).abs().max() > 1e-3
    model.set_adapter("default")
    torch.testing.assert_close(logits_of(model, batch), first)
    with model.disable_adapter():
        torch.testing.assert_close(logits_of(model, batch), base_logits)
    model.set_adapter("second")
    model.delete_adapter("default")
    torch.testing.assert_close(logits_of(model, batch), second)
    assert not any(".default" in name for name, _ in model.named_parameters())
    torch.testing.assert_close(
        logits_of(with_stock_head(model.unload(), make_model("wavlm", "post_norm")), batch), base_logits
    )


def with_stock_head(model, stock):
    """`unload` keeps the trained head; put the untouched copy back to compare with the base model."""
    assert [name for name, _ in model.named_parameters()] == [name for name, _ in stock.named_parameters()]
    model.head.load_state_dict(stock.head.state_dict())
    return model


def test_two_adapters_add_up_when_both_are_active(make_model):
    layer = make_model().backbone.layers[0]
    states = torch.randn(1, 5, 32)
    wrapped = tuners_nvv.AdapterLayer(layer).eval()
    wrapped.set_adapter(["one", "two"])
    for seed, name in enumerate(("one", "two")):
        wrapped.update_layer(name, NvvAdapterConfig(bottleneck=4))
        train_a_little(wrapped.nvv_adapter_up[name], seed)
    both = wrapped(states) - layer(states, None)
    alone = []
    for name in ("one", "two"):
        wrapped.set_adapter([name])
        alone.append(wrapped(states) - layer(states, None))
    torch.testing.assert_close(both, alone[0] + alone[1], atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("call", ["merge_and_unload", "merge_adapter"])
def test_merging_is_refused(make_model, call):
    model = get_peft_model(make_model(), NvvAdapterConfig())
    with pytest.raises(ValueError, match="NVV_ADAPTER: cannot be merged into the backbone"):
        getattr(model, call)()


# --- saving and loading ---


@pytest.mark.parametrize(("family", "variant"), FAMILY_VARIANTS)
@pytest.mark.parametrize("kind", CONFIGS)
def test_saved_adapter_gives_the_same_logits_when_loaded(make_model, batch, tmp_path, family, variant, kind):
    model = train_a_little(get_peft_model(make_model(family, variant), CONFIGS[kind](layers=[0, 2])))
    expected = logits_of(model, batch)
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    model.save_pretrained(tmp_path)
    assert len(load_file(tmp_path / "adapter_model.safetensors")) == len(trained)  # nothing else is saved
    again = PeftModel.from_pretrained(make_model(family, variant), tmp_path)
    torch.testing.assert_close(logits_of(again, batch), expected, atol=1e-6, rtol=0)
    lazily = PeftModel.from_pretrained(make_model(family, variant), tmp_path, low_cpu_mem_usage=True)
    torch.testing.assert_close(logits_of(lazily, batch), expected, atol=1e-6, rtol=0)
    plain = make_model(family, variant)
    plain.load_adapter(str(tmp_path))
    torch.testing.assert_close(logits_of(plain, batch), expected, atol=1e-6, rtol=0)
    own = make_model(family, variant)
    load_adapter(own, str(tmp_path))
    torch.testing.assert_close(logits_of(own, batch), expected, atol=1e-6, rtol=0)
    assert not any(parameter.requires_grad for _, layer in find_encoder_layers(own) for parameter in layer.parameters())


def test_loaded_model_deletes_its_adapter_through_transformers(make_model, batch, tmp_path):
    model = train_a_little(get_peft_model(make_model(), NvvAdapterConfig(bottleneck=4)))
    model.save_pretrained(tmp_path)
    plain = make_model()
    plain.load_adapter(str(tmp_path))
    assert plain.active_adapters() == ["default"]
    plain.delete_adapter("default")
    torch.testing.assert_close(logits_of(plain, batch), logits_of(make_model(), batch))


@pytest.mark.parametrize("part", ["nvv_adapter_up", "head.classifier"])
def test_loading_is_refused_when_weights_are_missing(make_model, tmp_path, part):
    get_peft_model(make_model(), CONFIGS["parallel"]()).save_pretrained(tmp_path)
    file = tmp_path / "adapter_model.safetensors"
    weights = load_file(file)
    dropped = next(name for name in sorted(weights) if part in name)
    save_file({name: weight for name, weight in weights.items() if name != dropped}, file)
    with pytest.raises(ValueError, match=rf"1 of the adapter's weights do not fit; {dropped} is missing"):
        load_adapter(make_model(), str(tmp_path))


def test_loading_is_refused_when_the_model_carries_an_adapter(make_model, tmp_path):
    model = get_peft_model(make_model(), NvvAdapterConfig())
    model.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="carries the adapter 'default' already"):
        load_adapter(model.get_base_model(), str(tmp_path))


def test_config_survives_a_round_trip_through_json(tmp_path):
    config = NvvCombinedConfig(rank=3, layers=[1], placement="parallel", add_input=True, alpha=2.5)
    config.save_pretrained(tmp_path)
    assert json.loads((tmp_path / "adapter_config.json").read_text())["peft_type"] == "NVV_COMBINED"
    again = PeftConfig.from_pretrained(tmp_path)
    assert again == config
    assert isinstance(again, NvvCombinedConfig)


@pytest.mark.parametrize(
    ("config_class", "field", "value"),
    [
        (NvvAdapterConfig, "bottleneck", 0),
        (NvvAdapterConfig, "adapter_dropout", 1.0),
        (NvvAdapterConfig, "placement", "beside"),
        (NvvAdapterConfig, "activation", "no such function"),
        (NvvAdapterConfig, "scale", float("nan")),
        (NvvPromptConfig, "num_prompts", 0),
        (NvvCombinedConfig, "rank", 1.5),
        (NvvCombinedConfig, "alpha", 0.0),
        (NvvCombinedConfig, "lora_dropout", -0.1),
    ],
)
def test_config_names_field_and_value_when_out_of_range(config_class, field, value):
    with pytest.raises(ValueError, match=rf"{config_class.__name__}\.{field}: expected .* found {value!r}"):
        config_class(**{field: value})


# --- precision and devices ---


@pytest.mark.parametrize("kind", CONFIGS)
def test_parameters_are_fp32_on_a_bf16_backbone_unless_told_otherwise(make_model, batch, kind):
    for autocast, expected in ((True, torch.float32), (False, torch.bfloat16)):
        model = get_peft_model(make_model().to(torch.bfloat16), CONFIGS[kind](), autocast_adapter_dtype=autocast)
        added = {parameter.dtype for name, parameter in model.named_parameters() if ".nvv_" in name}
        assert added == {expected}
        assert torch.isfinite(logits_of(model, batch)).all()


@pytest.mark.parametrize("kind", CONFIGS)
def test_training_step_is_finite_under_autocast(make_model, batch, kind):
    model = get_peft_model(make_model("hubert", "post_norm"), CONFIGS[kind]()).train()
    with torch.autocast("cpu", torch.bfloat16):
        loss = model(**batch).loss
    loss.backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in model.parameters() if p.requires_grad)


def test_added_parameters_follow_a_backbone_on_the_meta_device(make_model):
    with torch.device("meta"):
        model = make_model()
    model = get_peft_model(model, NvvCombinedConfig())
    assert all(parameter.is_meta for parameter in model.parameters())


# --- options that change the outcome ---


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("parallel", {"scale": 0.4}),
        ("parallel", {"activation": "gelu"}),
        ("combined", {"alpha": 4.0}),
        ("combined", {"placement": "parallel"}),
        ("combined", {"add_input": True}),
    ],
)
def test_option_changes_logits(make_model, batch, kind, options):
    default, again, changed = (
        logits_of(train_a_little(get_peft_model(make_model(), CONFIGS[kind](**chosen))), batch)
        for chosen in ({}, {}, options)
    )
    torch.testing.assert_close(again, default)
    assert (changed - default).abs().max() > 1e-4


@pytest.mark.parametrize(("kind", "dropout"), [("parallel", "adapter_dropout"), ("combined", "lora_dropout")])
def test_dropout_acts_in_training_only(make_model, batch, kind, dropout):
    options = {"adapter_dropout": 0.0, dropout: 0.5}
    backbone = {"dropout": 0.0, "attention_dropout": 0.0, "activation_dropout": 0.0}
    model = train_a_little(get_peft_model(make_model(backbone=backbone), CONFIGS[kind](**options)))
    with torch.no_grad():
        assert (model.train()(**batch).logits - model(**batch).logits).abs().max() > 1e-6
        torch.testing.assert_close(model.eval()(**batch).logits, model(**batch).logits)


# --- registration ---


def test_first_registration_stays_when_a_second_copy_is_imported(make_model, batch, tmp_path):
    import importlib.util
    import sys

    import peft.mapping

    model = train_a_little(get_peft_model(make_model(), NvvAdapterConfig(bottleneck=4)))
    model.save_pretrained(tmp_path)
    spec = importlib.util.spec_from_file_location("nvv.second_tuners_nvv", tuners_nvv.__file__)
    copy = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = copy
    try:
        spec.loader.exec_module(copy)
        copy.register_tuners()
    finally:
        del sys.modules[spec.name]
    assert peft.mapping.PEFT_TYPE_TO_TUNER_MAPPING["NVV_ADAPTER"] is tuners_nvv.NvvAdapterModel
    assert sum(key == "NVV_ADAPTER" for key in peft.mapping.PEFT_TYPE_TO_TUNER_MAPPING) == 1
    # The copy's configuration and loader work with the first one's classes.
    assert isinstance(get_peft_model(make_model(), copy.NvvAdapterConfig()).base_model, tuners_nvv.NvvAdapterModel)
    plain = make_model()
    copy.load_adapter(plain, str(tmp_path))
    torch.testing.assert_close(logits_of(plain, batch), logits_of(model, batch), atol=1e-6, rtol=0)
