"""The tuning methods on whole classifiers: what trains, what is saved, and that nothing else changes."""

import dataclasses
import json
import logging

import peft
import pytest
import torch
from peft import PeftModel
from transformers import HfArgumentParser, Trainer, TrainingArguments, WhisperConfig

from nvv.configuration_nvv import NvvConfig
from nvv.modeling_nvv import NvvForAudioClassification
from nvv.training.tuning import METHODS, TuningArguments, apply_tuning, trainable_parameters, tuning_callbacks
from nvv.tuners_nvv import load_adapter

FAMILY_VARIANTS = [("whisper", "pre_norm")] + [
    (family, variant)
    for family in ("wav2vec2", "hubert", "wavlm", "unispeech", "unispeech-sat")
    for variant in ("post_norm", "pre_norm")
]
PEFT_CONFIGS = {
    "dora": {"peft_type": "LORA", "use_dora": True, "r": 2},
    "adalora": {"peft_type": "ADALORA", "total_step": 10},
    "ia3": {"peft_type": "IA3"},
    "vera": {"peft_type": "VERA", "r": 4},
    "ln_tuning": {"peft_type": "LN_TUNING"},
}
SMALL = {"lora_rank": 2, "adapter_bottleneck": 4, "num_prompts": 3}


def arguments_for(name: str, **options) -> TuningArguments:
    """The arguments of a named method, or of a PEFT method of `PEFT_CONFIGS`, at a small size."""
    if name in PEFT_CONFIGS:
        return TuningArguments(method="peft", peft_config=PEFT_CONFIGS[name], **options)
    belongs = {
        "lora_rank": ("lora", "combined"),
        "adapter_bottleneck": ("adapter", "combined"),
        "num_prompts": ("prompt", "combined"),
    }
    small = {option: value for option, value in SMALL.items() if name in belongs[option]}
    return TuningArguments(method=name, **{**small, **options})


def train_a_little(model, seed=1):
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return model


def logits_of(model, batch):
    with torch.no_grad():
        return model.eval()(**batch).logits


# --- what trains ---


@pytest.mark.parametrize(("family", "variant"), FAMILY_VARIANTS)
@pytest.mark.parametrize("name", [*(method for method in METHODS if method != "peft"), *PEFT_CONFIGS])
def test_gradients_reach_all_that_trains_and_nothing_else(make_model, batch, family, variant, name):
    model = apply_tuning(make_model(family, variant), arguments_for(name))
    before = {key: value.clone() for key, value in model.state_dict().items()}
    trainable = {key for key, parameter in model.named_parameters() if parameter.requires_grad}
    groups = {
        "frozen": {"head"},
        "full": {"head", "backbone", "front_end"},
        "partial": {"head", "backbone"},
        "lora": {"head", "lora"},
        "adapter": {"head", "adapter"},
        "prompt": {"head", "prompt"},
        "combined": {"head", "lora", "adapter", "prompt"},
        "dora": {"head", "lora"},
        "adalora": {"head", "lora"},
    }
    assert set(trainable_parameters(model).counts) == groups.get(name, {"head", name})
    train_a_little(model).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model(**batch).loss.backward()
    for key, parameter in model.named_parameters():
        if not parameter.requires_grad:
            assert parameter.grad is None, key
            continue
        assert parameter.grad is not None, key
        # Attention does not change when all keys move by the same vector: their bias has no gradient but rounding.
        assert parameter.grad.abs().max() > 0 or key.endswith("k_proj.bias"), key
    optimizer.step()
    changed = {key for key, value in model.state_dict().items() if not torch.equal(value, before[key])}
    assert changed == trainable


def test_whisper_positions_and_unread_parameters_stay_fixed_when_full(make_model):
    whisper = apply_tuning(make_model(layers=[0, 2]), TuningArguments(method="full"))
    fixed = {name for name, parameter in whisper.backbone.named_parameters() if not parameter.requires_grad}
    # Hidden state 2 is the output of layer 1: layer 2 and the norm behind it are never computed.
    assert {name.split(".")[0] for name in fixed} == {"embed_positions", "layer_norm", "layers"}
    assert {name.split(".")[1] for name in fixed if name.startswith("layers.")} == {"2"}
    large = apply_tuning(make_model("hubert", "pre_norm", layers=[1]), TuningArguments(method="full"))
    fixed = {name for name, parameter in large.backbone.named_parameters() if not parameter.requires_grad}
    assert "encoder.layer_norm.weight" in fixed
    assert "masked_spec_embed" in fixed
    base = apply_tuning(make_model("hubert", "post_norm", layers=[1]), TuningArguments(method="full"))
    assert base.backbone.encoder.layer_norm.weight.requires_grad  # comes before the layers there


def test_final_norm_trains_when_the_head_reads_it(make_model, batch):
    for layers, reads_it in ((None, True), ([1], False)):
        model = make_model("hubert", "pre_norm", use_weighted_layer_sum=False, layers=layers)
        model = apply_tuning(model, TuningArguments(method="full")).train()
        model(**batch).loss.backward()
        norm = model.backbone.encoder.layer_norm.weight
        assert norm.requires_grad == reads_it
        assert (norm.grad is not None) == reads_it


def test_spec_augment_vector_trains_when_it_is_used(make_model):
    model = make_model("wav2vec2", "post_norm", apply_spec_augment=True)
    assert apply_tuning(model, TuningArguments(method="full")).backbone.masked_spec_embed.requires_grad


def test_partial_trains_only_the_chosen_layers_when_layers_are_given(make_model):
    model = apply_tuning(make_model("hubert", "post_norm"), TuningArguments(method="partial", tuned_layers=[1]))
    trainable = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert {name for name in trainable if not name.startswith("head.")} == {
        f"backbone.encoder.layers.1.{name}" for name, _ in model.backbone.encoder.layers[1].named_parameters()
    }


@pytest.mark.parametrize("name", ["lora", "adapter", "prompt", "combined", *PEFT_CONFIGS])
def test_method_touches_only_chosen_layers(make_model, name):
    model = apply_tuning(make_model("wavlm", "post_norm"), arguments_for(name, tuned_layers=[2, 0]))
    names = [name for group, names in trainable_parameters(model).names.items() if group != "head" for name in names]
    assert {name.split(".layers.")[1].split(".")[0] for name in names} == {"0", "2"}


@pytest.mark.parametrize("name", ["lora", "adapter", "prompt", "combined", "vera"])
def test_method_leaves_out_layers_that_are_not_computed(make_model, batch, name):
    model = apply_tuning(make_model(layers=[0, 2]), arguments_for(name))
    names = [name for group, names in trainable_parameters(model).names.items() if group != "head" for name in names]
    assert {name.split(".layers.")[1].split(".")[0] for name in names} == {"0", "1"}
    with pytest.raises(
        ValueError, match="layer 2 is not computed, as the last hidden state that the head reads is number 2"
    ):
        apply_tuning(make_model(layers=[0, 2]), arguments_for(name, tuned_layers=[1, 2]))
    with pytest.raises(ValueError, match="the head reads no layer's output"):
        apply_tuning(make_model(layers=[0]), arguments_for(name))


@pytest.mark.parametrize("method", [name for name in METHODS[:-1] if name != "full"])  # full refuses any number
@pytest.mark.parametrize("layers", [[3], [-1]])
def test_layer_number_is_refused_when_the_encoder_lacks_it(make_model, method, layers):
    with pytest.raises(ValueError, match=f"no layer {layers[0]}; the encoder's 3 layers are 0 to 2"):
        apply_tuning(make_model(), TuningArguments(method=method, tuned_layers=layers))


def test_frozen_warns_when_layers_are_given(make_model, caplog):
    with caplog.at_level(logging.WARNING):
        model = apply_tuning(make_model(), TuningArguments(method="frozen", tuned_layers=[0]))
    assert "'frozen' tunes no layer" in caplog.text
    assert set(trainable_parameters(model).counts) == {"head"}


def test_model_is_refused_when_it_carries_an_adapter(make_model):
    model = apply_tuning(make_model(), TuningArguments(method="lora"))
    for tuned in (model, model.get_base_model()):
        with pytest.raises(TypeError, match="expected a classifier without adapters"):
            apply_tuning(tuned, TuningArguments(method="lora"))


# --- numbers ---


@pytest.mark.parametrize(
    ("width", "layers", "feed_forward", "expected"),
    [
        # methods.md (a), "Added parameters in the encoder", and the head for six classes.
        (384, 4, 1536, {"lora": 122_880, "adapter": 198_400, "prompt": 15_360, "head": 100_107}),
        (512, 6, 2048, {"lora": 245_760, "adapter": 396_672, "prompt": 30_720, "head": 132_877}),
        (768, 12, 3072, {"lora": 737_280, "adapter": 1_189_632, "prompt": 92_160, "head": 198_419}),
    ],
)
def test_added_parameters_are_as_many_as_published(width, layers, feed_forward, expected):
    backbone = WhisperConfig(
        d_model=width, encoder_layers=layers, encoder_ffn_dim=feed_forward, encoder_attention_heads=width // 64
    )
    # A layer: LoRA 2r(d + f) with r = 8, adapter 2 · 64 d + 64 + d, prompts 10 d.
    assert expected["lora"] == layers * 16 * (width + feed_forward)
    assert expected["adapter"] == layers * (128 * width + 64 + width)
    assert expected["prompt"] == layers * 10 * width
    for method in ("lora", "adapter", "prompt", "combined"):
        with torch.device("meta"):
            model = NvvForAudioClassification(NvvConfig(backbone_config=backbone, num_labels=6))
        counts = trainable_parameters(apply_tuning(model, TuningArguments(method=method))).counts
        groups = ("lora", "adapter", "prompt") if method == "combined" else (method,)
        assert counts == {group: expected[group] for group in (*groups, "head")}


def test_defaults_are_the_published_hyper_parameters(make_model):
    config = apply_tuning(make_model(), TuningArguments()).peft_config["default"]
    assert (config.r, config.lora_alpha, config.lora_dropout, config.use_dora) == (8, 1, 0.0, False)
    assert {name.split(".")[-1] for name in config.target_modules} == {"fc1", "fc2"}
    parallel = apply_tuning(make_model(), TuningArguments(method="adapter")).peft_config["default"]
    assert (parallel.bottleneck, parallel.adapter_dropout, parallel.scale) == (64, 0.1, 0.1)
    assert (parallel.placement, parallel.activation, parallel.add_input) == ("parallel", "relu", False)
    combined = apply_tuning(make_model(), TuningArguments(method="combined")).peft_config["default"]
    assert (combined.placement, combined.num_prompts, combined.rank, combined.alpha) == ("sequential", 10, 8, 1)


def test_counts_leave_out_untouched_copies_and_add_up(make_model):
    plain = sum(parameter.numel() for parameter in make_model().parameters())
    report = trainable_parameters(apply_tuning(make_model(), TuningArguments(method="lora")))
    assert report.total == plain + report.counts["lora"]
    assert report.trainable == report.counts["lora"] + report.counts["head"]
    assert report.percentage == pytest.approx(100 * report.trainable / report.total)
    assert len(report.names["lora"]) == 3 * 4  # layers, and two matrices for each of two linears


# --- what must hold for every method ---


@pytest.mark.parametrize(("family", "variant"), FAMILY_VARIANTS)
@pytest.mark.parametrize("name", ["lora", "adapter", "prompt", "combined", *PEFT_CONFIGS])
def test_logits_do_not_depend_on_the_clips_beside(make_model, batch, unequal_clips, family, variant, name):
    model = train_a_little(apply_tuning(make_model(family, variant), arguments_for(name)))
    together = logits_of(model, batch)
    for number, clip in enumerate((unequal_clips[1], unequal_clips[3], unequal_clips[2])):
        alone = logits_of(
            model, {"input_values": clip[None], "attention_mask": torch.ones(1, len(clip), dtype=torch.long)}
        )
        torch.testing.assert_close(alone[0], together[number], atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("family", "variant"), [("whisper", "pre_norm"), ("wavlm", "post_norm"), ("hubert", "pre_norm")]
)
@pytest.mark.parametrize("name", ["lora", "adapter", "prompt", "combined", *PEFT_CONFIGS])
def test_saved_adapter_gives_the_same_logits_when_loaded(make_model, batch, tmp_path, family, variant, name):
    model = train_a_little(apply_tuning(make_model(family, variant), arguments_for(name, tuned_layers=[0, 1])))
    expected = logits_of(model, batch)
    assert (expected - logits_of(make_model(family, variant), batch)).abs().max() > 1e-3
    model.save_pretrained(tmp_path)
    again = PeftModel.from_pretrained(make_model(family, variant), tmp_path)
    torch.testing.assert_close(logits_of(again, batch), expected, atol=1e-6, rtol=0)
    own = make_model(family, variant)
    load_adapter(own, str(tmp_path))
    assert type(own) is NvvForAudioClassification
    torch.testing.assert_close(logits_of(own, batch), expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize(("family", "variant"), FAMILY_VARIANTS)
def test_lora_starts_as_identity_and_merges_with_the_same_logits(make_model, batch, family, variant):
    model = apply_tuning(make_model(family, variant), TuningArguments(method="lora", lora_alpha=16))
    plain = logits_of(make_model(family, variant), batch)
    torch.testing.assert_close(logits_of(model, batch), plain, atol=1e-6, rtol=0)
    tuned = logits_of(train_a_little(model), batch)
    assert (tuned - plain).abs().max() > 1e-3
    merged = model.merge_and_unload()
    torch.testing.assert_close(logits_of(merged, batch), tuned, atol=1e-5, rtol=0)
    assert merged.state_dict().keys() == make_model(family, variant).state_dict().keys()


@pytest.mark.parametrize("variant", ["post_norm", "pre_norm"])
def test_lora_on_attention_acts_in_wavlm(make_model, batch, variant):
    # Stock WavLM reads the projections' weights past the modules, so that an update there would do nothing.
    arguments = TuningArguments(method="lora", lora_target_modules=["q_proj", "v_proj"], lora_alpha=8)
    model = train_a_little(apply_tuning(make_model("wavlm", variant), arguments))
    names = trainable_parameters(model).names["lora"]
    assert {name.split(".")[-4] for name in names} == {"q_proj", "v_proj"}
    model(**batch).loss.backward()
    gradients = {name: parameter.grad for name, parameter in model.named_parameters() if name in set(names)}
    assert all(gradient is not None and gradient.abs().max() > 0 for gradient in gradients.values())
    tuned = logits_of(model, batch)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.zero_()
    assert (logits_of(model, batch) - tuned).abs().max() > 1e-3


@pytest.mark.parametrize("use_reentrant", [True, False])
@pytest.mark.parametrize("name", ["lora", "adapter", "prompt", "combined", "ia3", "ln_tuning"])
@pytest.mark.filterwarnings("ignore:`gradient_checkpointing_enable`:FutureWarning")
def test_gradients_are_the_same_with_gradient_checkpointing(make_model, batch, name, use_reentrant):
    backbone = {"hidden_dropout": 0.0, "feat_proj_dropout": 0.0, "attention_dropout": 0.0, "activation_dropout": 0.0}
    options = {"adapter_dropout": 0.0} if name in ("adapter", "combined") else {}
    models = []
    for checkpointing in (False, True):
        model = make_model("wavlm", "post_norm", backbone=backbone)
        if checkpointing:
            model.gradient_checkpointing_enable({"use_reentrant": use_reentrant})
        model = train_a_little(apply_tuning(model, arguments_for(name, **options))).train()
        model(**batch).loss.backward()
        models.append(model)
    for (key, expected), found in zip(models[0].named_parameters(), models[1].parameters(), strict=True):
        if expected.requires_grad:
            torch.testing.assert_close(
                found.grad, expected.grad, atol=1e-6, rtol=1e-3, msg=lambda text, key=key: f"{key}: {text}"
            )


@pytest.mark.parametrize(
    ("method", "option"),
    [
        ("lora", {"lora_rank": 4}),
        ("lora", {"lora_alpha": 5}),
        ("lora", {"lora_target_modules": ["q_proj"]}),
        ("adapter", {"adapter_scale": 0.5}),
        ("adapter", {"adapter_placement": "sequential"}),
        ("adapter", {"adapter_adds_input": True}),
        ("adapter", {"adapter_bottleneck": 5}),
        ("prompt", {"num_prompts": 4}),
        ("combined", {"adapter_placement": "parallel"}),
        ("combined", {"lora_rank": 3}),
        ("combined", {"lora_alpha": 5}),
        ("combined", {"num_prompts": 4}),
    ],
)
def test_option_changes_logits(make_model, batch, method, option):
    default, again, changed = (
        logits_of(train_a_little(apply_tuning(make_model(), arguments_for(method, **options))), batch)
        for options in ({}, {}, option)
    )
    torch.testing.assert_close(again, default)
    assert (changed - default).abs().max() > 1e-4


@pytest.mark.parametrize("option", [{"lora_dropout": 0.5}, {"adapter_dropout": 0.5}])
def test_dropout_option_reaches_the_configuration(make_model, option):
    method = "lora" if "lora_dropout" in option else "adapter"
    config = apply_tuning(make_model(), TuningArguments(method=method, **option)).peft_config["default"]
    assert getattr(config, next(iter(option))) == 0.5


# --- any method of the PEFT library ---


def test_peft_targets_default_to_what_the_methods_papers_name(make_model):
    def targets(peft_type, family, **options):
        config = {"peft_type": peft_type, **options}
        model = apply_tuning(make_model(family), TuningArguments(method="peft", peft_config=config))
        return {name.split("layers.")[-1][2:] for name in model.targeted_module_names}, model.peft_config["default"]

    assert targets("LN_TUNING", "whisper")[0] == {"self_attn_layer_norm", "final_layer_norm"}
    assert targets("LN_TUNING", "hubert")[0] == {"layer_norm", "final_layer_norm"}
    assert targets("VERA", "hubert")[0] == {"feed_forward.intermediate_dense", "feed_forward.output_dense"}
    found, config = targets("IA3", "wavlm")
    assert found == {"attention.k_proj", "attention.v_proj", "feed_forward.output_dense"}
    assert all(name.endswith("output_dense") for name in config.feedforward_modules)
    assert targets("LORA", "whisper", target_modules=["q_proj"])[0] == {"self_attn.q_proj"}


def test_own_tuners_can_be_named_as_peft_methods(make_model):
    config = {"peft_type": "NVV_PROMPT", "num_prompts": 2}
    model = apply_tuning(make_model(layers=[1]), TuningArguments(method="peft", peft_config=config))
    assert trainable_parameters(model).counts["prompt"] == 1 * 2 * 32  # one layer is computed


def test_peft_config_reads_json_text_and_files(tmp_path):
    config = {"peft_type": "IA3", "target_modules": ["fc2"]}
    file = tmp_path / "ia3.json"
    file.write_text(json.dumps(config))
    for value in (config, json.dumps(config), str(file)):
        assert TuningArguments(method="peft", peft_config=value).peft_config == config


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (None, "needs a mapping with a peft_type"),
        ({"r": 8}, "needs a mapping with a peft_type"),
        ("no_such_file.json", "the path of a JSON file, found 'no_such_file.json'"),
        ('{"peft_type": ', "expected JSON, found"),
        ({"peft_type": "NO_SUCH"}, "expected a peft_type of .*LORA.*; found 'NO_SUCH'"),
    ],
)
def test_peft_config_is_refused_when_unreadable(value, message):
    with pytest.raises(ValueError, match=message):
        TuningArguments(method="peft", peft_config=value)


@pytest.mark.parametrize(
    ("config", "layers", "message"),
    [
        ({"peft_type": "LORA", "rank": 8}, None, "LORA has no option rank; it has .*lora_alpha"),
        (
            {"peft_type": "LORA", "target_modules": ["fc3"]},
            [0],
            "no module of the layers is named 'fc3'; they have .*fc1",
        ),
        ({"peft_type": "LORA", "target_modules": "all-linear"}, [0], "is a pattern, which tuned_layers cannot confine"),
        (
            {"peft_type": "LORA", "layers_to_transform": [0]},
            None,
            "leave out layers_to_transform; tuned_layers chooses",
        ),
        ({"peft_type": "PROMPT_TUNING"}, None, "For learned vectors before the sequence use method 'prompt'"),
        ({"peft_type": "PREFIX_TUNING"}, None, "For learned vectors before the sequence use method 'prompt'"),
        ({"peft_type": "ADALORA"}, None, "ADALORA needs total_step"),
    ],
)
def test_peft_config_is_refused_when_it_does_not_fit(make_model, config, layers, message):
    with pytest.raises(ValueError, match=message):
        apply_tuning(make_model(), TuningArguments(method="peft", peft_config=config, tuned_layers=layers))


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_adalora_lowers_ranks_through_the_callback(make_model, batch, tmp_path, monkeypatch):
    config = {"peft_type": "ADALORA", "init_r": 4, "target_r": 2, "tinit": 1, "deltaT": 1}
    arguments = TuningArguments(method="peft", peft_config=config)
    model = apply_tuning(make_model(), arguments, num_training_steps=6)
    assert model.peft_config["default"].total_step == 6
    (callback,) = tuning_callbacks(model)
    assert tuning_callbacks(make_model()) == []
    steps = []
    allocate = model.base_model.update_and_allocate
    monkeypatch.setattr(model.base_model, "update_and_allocate", lambda step: (steps.append(step), allocate(step)))
    clips = [{key: value[number] for key, value in batch.items()} for number in (0, 1, 2)] * 4
    options = {
        "output_dir": str(tmp_path),
        "max_steps": 6,
        "per_device_train_batch_size": 3,
        "report_to": [],
        "use_cpu": True,
    }
    trainer = Trainer(
        model,
        TrainingArguments(save_strategy="no", disable_tqdm=True, **options),
        train_dataset=clips,
        callbacks=[callback],
    )
    trainer.train()
    assert steps == [1, 2, 3, 4, 5, 6]  # the ranks become final when the step equals total_step
    ranks = [sum(kept) for kept in model.peft_config["default"].rank_pattern.values()]
    assert len(ranks) == 6  # two linears in each of three layers
    assert sum(ranks) == 6 * 2  # target_r on average
    expected = logits_of(model, batch)
    model.save_pretrained(tmp_path / "adapter")
    again = PeftModel.from_pretrained(make_model(), tmp_path / "adapter")
    torch.testing.assert_close(logits_of(again, batch), expected, atol=1e-6, rtol=0)
    own = make_model()
    load_adapter(own, str(tmp_path / "adapter"))
    torch.testing.assert_close(logits_of(own, batch), expected, atol=1e-6, rtol=0)


# --- arguments ---


def test_every_option_has_help_and_no_name_of_the_trainers():
    trainers = {field.name for field in dataclasses.fields(TrainingArguments)}
    for field in dataclasses.fields(TuningArguments):
        assert field.metadata["help"]
        assert field.name not in trainers


def test_arguments_parse_from_a_command_line_beside_the_trainers(tmp_path):
    parser = HfArgumentParser((TuningArguments, TrainingArguments))
    line = ["--method", "combined", "--tuned_layers", "0", "2", "--adapter_placement", "parallel", "--num_prompts", "4"]
    arguments, _ = parser.parse_args_into_dataclasses([*line, "--output_dir", str(tmp_path), "--lora_alpha", "2"])
    assert arguments == TuningArguments(
        method="combined", tuned_layers=[0, 2], adapter_placement="parallel", num_prompts=4, lora_alpha=2
    )
    line = ["--method", "peft", "--peft_config", '{"peft_type": "IA3"}', "--output_dir", str(tmp_path)]
    assert parser.parse_args_into_dataclasses(line)[0].peft_config == {"peft_type": "IA3"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "lroa"}, "method: expected one of frozen, .*peft, found 'lroa'"),
        (
            {"method": "adapter", "lora_rank": 4},
            "lora_rank=4 has no effect with method 'adapter'; .* lora and combined",
        ),
        ({"method": "frozen", "num_prompts": 4}, "num_prompts=4 has no effect with method 'frozen'"),
        ({"method": "lora", "adapter_adds_input": True}, "adapter_adds_input=True has no effect"),
        ({"method": "lora", "peft_config": {"peft_type": "IA3"}}, "has no effect with method 'lora'"),
        ({"method": "combined", "lora_target_modules": ["q_proj"]}, "lora_target_modules=.* has no effect"),
        ({"method": "full", "tuned_layers": [0]}, "'full' trains every layer; choose 'partial'"),
    ],
)
def test_arguments_are_refused_when_the_method_would_ignore_them(options, message):
    with pytest.raises(ValueError, match=message):
        TuningArguments(**options)


def test_peft_registers_no_method_of_ours_under_a_name_of_its_own():
    assert not {"NVV_ADAPTER", "NVV_PROMPT", "NVV_COMBINED"} & {member.value for member in peft.PeftType}
