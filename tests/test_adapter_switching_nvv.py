"""Several adapters of one backbone in one model: each as when it is loaded alone, whatever else is loaded."""

import copy
import json

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoModel, Wav2Vec2FeatureExtractor, pipeline

from nvv import NvvForAudioClassification, adapters_nvv
from nvv.hub.repository import save_repository
from nvv.training.tuning import TuningArguments, apply_tuning

AFFECT = {"name": "affect", "kind": "regression", "outputs": ["arousal", "valence"]}
TYPE = {"name": "type", "kind": "classification", "outputs": ["cry", "laugh", "sigh"], "loss": "focal"}


def labelled(*labels):
    return {"id2label": dict(enumerate(labels)), "label2id": {label: at for at, label in enumerate(labels)}}


def peft_method(**config):
    return {"method": "peft", "peft_config": config}


# Every method, with other labels, heads, summed layers, poolings and tasks in each.
KINDS = {
    "lora": ({"method": "lora", "lora_rank": 2}, labelled("laugh", "sigh", "cough")),
    "adapter": (
        {"method": "adapter", "adapter_bottleneck": 4, "tuned_layers": [0, 2]},
        {**labelled("other", "laughing"), "head": "mlp", "pooling": "max", "calibration_temperature": 1.7},
    ),
    "prompt": (
        {"method": "prompt", "num_prompts": 3},
        {**labelled(*"abcd"), "head": "lstm", "lstm_hidden_size": 6, "lstm_layers": 1, "pooling": "last"},
    ),
    "combined": (
        {"method": "combined", "lora_rank": 2, "adapter_bottleneck": 4, "num_prompts": 2},
        {
            **labelled("cry", "groan"),
            "head": "embedding",
            "loss": "supervised_contrastive",
            "embedding_size": 5,
            "layers": [1, 2],
        },
    ),
    "dora": (peft_method(peft_type="LORA", use_dora=True, r=2), labelled("dry", "wet")),
    "adalora": (
        peft_method(peft_type="ADALORA", total_step=10),
        {"tasks": [AFFECT, TYPE], "task_weighting": "uncertainty"},
    ),
    "ia3": (peft_method(peft_type="IA3"), {**labelled(*"xyz"), "use_weighted_layer_sum": False, "layers": [2]}),
    "vera": (peft_method(peft_type="VERA", r=4), labelled(*"uvwxyz")),
    "ln_tuning": (peft_method(peft_type="LN_TUNING"), {"tasks": [AFFECT], "projection_size": 12}),
    "probe": ({"method": "frozen"}, {**labelled("yes", "no", "perhaps"), "max_seconds": 0.8}),
    "regression_probe": ({"method": "frozen"}, {"tasks": [AFFECT], "head": "mlp", "layers": [0, 3]}),
}
FEW = ("lora", "adapter", "probe", "dora")


@pytest.fixture
def make_backbone(tiny_backbone_config, randomise, tmp_path):
    """Save a tiny pretrained encoder."""

    def make(family="whisper", variant="post_norm", *, name="backbone", seed=0):
        model = randomise(AutoModel.from_config(tiny_backbone_config(family, variant)), seed=seed)
        model.save_pretrained(tmp_path / name)
        return tmp_path / name

    return make


@pytest.fixture
def make_repository(tmp_path):
    """Save a classifier on a backbone, tuned in name by one of `KINDS`, with all that trained moved off its start."""

    def make(backbone, kind, *, name=None, **fields):
        tuning, own_fields = KINDS[kind]
        fields = {"max_seconds": 3.0, "projection_size": 8, **own_fields, **fields}
        model = NvvForAudioClassification.from_backbone(str(backbone), **fields)
        model = apply_tuning(model, TuningArguments(**tuning)).eval()
        generator = torch.Generator().manual_seed(sum(map(ord, kind)))
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.requires_grad:
                    parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
            if kind == "combined":
                head = model.get_base_model().head.modules_to_save["default"]
                head.centroids.copy_(torch.randn(head.centroids.shape, generator=generator))
        extractor = Wav2Vec2FeatureExtractor(return_attention_mask=True, do_normalize=False)
        folder = tmp_path / (name or kind)
        save_repository(model, extractor, folder)
        return folder

    return make


@pytest.fixture
def inputs(pad, unequal_clips):
    return pad([unequal_clips[1], unequal_clips[3], unequal_clips[2]])


@pytest.fixture
def answers(inputs):
    """Logits and embeddings of the clips."""

    def of(model):
        with torch.no_grad():
            output = model(**inputs, output_embeddings=True)
        return output.logits, output.embeddings

    return of


def load(folder, **arguments) -> NvvForAudioClassification:
    return NvvForAudioClassification.from_pretrained(folder, **arguments)


def assert_same(found, expected):
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=0)


def stock_weights(model) -> list[torch.nn.Parameter]:
    """The backbone's own weights, without those of an adapter."""
    with model._adapter_set.temporarily(model, None):
        return list(model.backbone.parameters())


# --- switching ---


@pytest.mark.parametrize(
    ("family", "variant"),
    [
        ("whisper", "pre_norm"),
        pytest.param("wav2vec2", "post_norm", marks=pytest.mark.slow),
        pytest.param("hubert", "pre_norm", marks=pytest.mark.slow),
        pytest.param("wavlm", "post_norm", marks=pytest.mark.slow),
    ],
)
def test_each_adapter_answers_as_when_loaded_alone(make_backbone, make_repository, answers, family, variant):
    backbone = make_backbone(family, variant)
    folders = {kind: make_repository(backbone, kind) for kind in KINDS}
    alone = {kind: load(folder, adapter_name=kind) for kind, folder in folders.items()}
    expected = {kind: answers(model) for kind, model in alone.items()}

    first, *others = KINDS
    model = load(folders[first], adapter_name=first)
    stock = {id(weight): weight.data_ptr() for weight in stock_weights(model)}
    for kind in others:
        model.load_adapter(folders[kind], adapter_name=kind)
        assert model.active_adapters() == [kind]
        assert_same(answers(model), expected[kind])
    assert model.loaded_adapters() == list(KINDS)
    order = [*KINDS, *reversed(KINDS), *list(KINDS)[::3]]
    for kind in order:
        model.set_adapter(kind)
        assert_same(answers(model), expected[kind])
        assert model.config.to_dict() == alone[kind].config.to_dict()
        assert model.state_dict().keys() == alone[kind].state_dict().keys()
    held = {id(weight): weight.data_ptr() for weight in model.parameters()}
    assert stock.items() <= held.items()


def test_backbone_is_held_once_and_read_once(make_backbone, make_repository, monkeypatch):
    backbone = make_backbone("wav2vec2")
    folders = [make_repository(backbone, kind) for kind in FEW]
    plain = NvvForAudioClassification.from_backbone(str(backbone))
    size = sum(weight.numel() for weight in plain.backbone.parameters())
    model = load(folders[0])
    monkeypatch.setattr("nvv.modeling_nvv.load_backbone", None)  # would fail
    for number, folder in enumerate(folders[1:]):
        model.load_adapter(str(folder), adapter_name=str(number))
    held = {id(weight): weight for adapter in model._adapter_set.adapters.values() for weight in weights_of(adapter)}
    held |= {id(weight): weight for weight in model.parameters()}
    assert size < sum(weight.numel() for weight in held.values()) < 1.5 * size


def weights_of(adapter):
    return [weight for module in adapter.modules() for weight in module.parameters(recurse=False)]


def test_pipeline_follows_the_active_adapter(make_backbone, make_repository, unequal_clips):
    backbone = make_backbone()
    kinds = ("lora", "adapter", "ln_tuning")  # three labels, two, two numbers
    folders = {kind: make_repository(backbone, kind) for kind in kinds}
    clip = {"array": unequal_clips[2].numpy(), "sampling_rate": 16_000}
    extractor = Wav2Vec2FeatureExtractor.from_pretrained(folders["lora"])

    def classifying(model):
        return pipeline("audio-classification", model=model, feature_extractor=extractor)

    expected = {kind: classifying(load(folder))(dict(clip)) for kind, folder in folders.items()}
    model = load(folders["lora"])
    model.load_adapter(folders["adapter"], "adapter")
    model.load_adapter(folders["ln_tuning"], "ln_tuning")
    classify = classifying(model)
    for name, kind in (("adapter", "adapter"), ("default", "lora"), ("ln_tuning", "ln_tuning"), ("default", "lora")):
        model.set_adapter(name)
        found = {answer["label"]: answer["score"] for answer in classify(dict(clip))}
        assert found == pytest.approx({answer["label"]: answer["score"] for answer in expected[kind]}, abs=1e-5)


def test_each_adapter_has_its_own_operating_points(make_backbone, make_repository, answers, inputs):
    backbone = make_backbone()
    points = {"operating_points": {"laughing": {"threshold": 0.9}}}
    detector = make_repository(backbone, "adapter", **points)
    model = load(make_repository(backbone, "lora"))
    model.load_adapter(detector, "detector", apply_operating_point="laughing")
    expected = load(detector, apply_operating_point="laughing")
    assert_same(answers(model), answers(expected))
    assert torch.equal(model.detect(**inputs), expected.detect(**inputs))
    model.config.apply_operating_point = None  # the active adapter's, and it stays so
    model.set_adapter("default")
    assert model.config.operating_points is None
    model.set_adapter("detector")
    assert_same(answers(model), answers(load(detector)))


def test_head_of_a_probe_and_adapters_take_turns(make_backbone, make_repository, answers):
    backbone = make_backbone("hubert")
    probe, lora = make_repository(backbone, "probe"), make_repository(backbone, "lora")
    model = load(probe, adapter_name="probe")
    assert (model.active_adapters(), model.loaded_adapters()) == (["probe"], ["probe"])
    model.set_adapter("probe")
    untouched = set(model.state_dict())
    model.load_adapter(lora, "lora")
    assert_same(answers(model), answers(load(lora)))
    model.set_adapter("probe")
    assert_same(answers(model), answers(load(probe)))
    assert set(model.state_dict()) == untouched
    assert all(weight.requires_grad for weight in model.parameters())


def test_adapters_are_added_to_a_classifier_on_the_same_backbone(make_backbone, make_repository, answers):
    backbone = make_backbone()
    lora, probe = make_repository(backbone, "lora"), make_repository(backbone, "probe")
    model = NvvForAudioClassification.from_backbone(str(backbone), num_labels=7, max_seconds=3.0)
    expected = answers(model)
    model.load_adapter(lora, "lora")
    model.load_adapter(probe, "probe")
    model.set_adapter("lora")
    assert_same(answers(model), answers(load(lora)))
    model.disable_adapters()
    assert_same(answers(model), expected)
    assert model.config.num_labels == 7
    model.enable_adapters()
    assert_same(answers(model), answers(load(lora)))
    model.delete_adapter(["probe", "lora"])
    assert_same(answers(model), expected)
    assert model.loaded_adapters() == []
    with pytest.raises(ValueError, match="No adapter loaded"):
        model.set_adapter("lora")


def test_deleting_the_active_adapter_activates_the_first_of_the_others(make_backbone, make_repository, answers):
    backbone = make_backbone()
    folders = [make_repository(backbone, kind) for kind in FEW]
    model = load(folders[0], adapter_name="0")
    for number, folder in enumerate(folders[1:], start=1):
        model.load_adapter(folder, str(number))
    model.set_adapter("2")
    model.delete_adapter("1")
    assert model.active_adapters() == ["2"]
    assert_same(answers(model), answers(load(folders[2])))
    model.delete_adapter("2")
    assert (model.active_adapters(), model.loaded_adapters()) == (["0"], ["0", "3"])
    assert_same(answers(model), answers(load(folders[0])))
    with pytest.raises(ValueError, match=r"name 1 not found.*\['0', '3'\]"):
        model.delete_adapter("1")


@pytest.mark.parametrize("kind", ["dora", "vera", "adalora"])
def test_adapter_saved_by_peft_is_loaded_with_all_its_weights(make_model, batch, tmp_path, kind):
    model = apply_tuning(make_model("wavlm", "post_norm"), TuningArguments(**KINDS[kind][0])).eval()
    generator = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data.add_(0.2 * torch.randn(parameter.shape, generator=generator))
    with torch.no_grad():
        expected = model(**batch).logits
        model.save_pretrained(tmp_path)
        plain = make_model("wavlm", "post_norm")
        plain.load_adapter(str(tmp_path), adapter_name="mine")
        torch.testing.assert_close(plain(**batch).logits, expected, atol=1e-6, rtol=0)


# --- precision, devices, copies, training ---


def test_moving_the_model_moves_adapters_that_are_not_active(make_backbone, make_repository, answers):
    backbone = make_backbone("wavlm")
    model = load(make_repository(backbone, "lora"))
    for kind in ("adapter", "vera", "probe"):
        model.load_adapter(make_repository(backbone, kind), kind)
    model.set_adapter("default")
    model.to(torch.float64)
    for kind in ("adapter", "vera", "probe", "default"):
        model.set_adapter(kind)
        assert {weight.dtype for weight in model.parameters()} == {torch.float64}
    model.to("meta")
    for kind in ("vera", "adapter", "default", "probe"):
        model.set_adapter(kind)
        assert all(weight.is_meta for weight in (*model.parameters(), *model.buffers()))


def test_adapters_have_the_precision_that_loading_alone_gives(make_backbone, make_repository, inputs):
    backbone = make_backbone()
    folders = {kind: make_repository(backbone, kind) for kind in ("lora", "combined", "probe")}
    model = load(folders["lora"], adapter_name="lora", dtype=torch.bfloat16)
    for kind in ("combined", "probe"):
        model.load_adapter(folders[kind], kind)
    for kind, folder in folders.items():
        alone = load(folder, dtype=torch.bfloat16, adapter_name=kind)
        model.set_adapter(kind)
        expected = {name: tensor.dtype for name, tensor in alone.state_dict().items()}
        assert {name: tensor.dtype for name, tensor in model.state_dict().items()} == expected
        with torch.no_grad():
            torch.testing.assert_close(model(**inputs).logits, alone(**inputs).logits)


def test_copy_of_a_model_switches_by_itself(make_backbone, make_repository, answers):
    backbone = make_backbone()
    lora, adapter = make_repository(backbone, "lora"), make_repository(backbone, "adapter")
    model = load(lora)
    model.load_adapter(adapter, "adapter")
    twin = copy.deepcopy(model)
    twin.set_adapter("default")
    assert_same(answers(model), answers(load(adapter)))
    assert_same(answers(twin), answers(load(lora)))
    assert model.backbone.conv1.weight is not twin.backbone.conv1.weight
    twin.to(torch.float64)
    assert model.dtype == torch.float32


def test_adapters_take_the_mode_that_the_model_has_when_they_become_active(make_backbone, make_repository):
    backbone = make_backbone()
    model = load(make_repository(backbone, "probe"))
    model.load_adapter(make_repository(backbone, "adapter"), "adapter", is_trainable=True)
    model.set_adapter("default")
    for is_training in (True, False):
        model.set_adapter("default")
        model.train(is_training)
        model.set_adapter("adapter")
        assert {module.training for module in model.modules()} == {is_training}


def test_only_an_adapter_loaded_for_training_trains(make_backbone, make_repository, inputs):
    backbone = make_backbone()
    model = load(make_repository(backbone, "lora"))
    model.load_adapter(make_repository(backbone, "adapter"), "trained", is_trainable=True)
    trainable = {name for name, weight in model.named_parameters() if weight.requires_grad}
    assert trainable
    assert all(".trained" in name for name in trainable)
    model.train()(**inputs, labels=torch.tensor([0, 1, 0])).loss.backward()
    assert all(weight.grad is not None for name, weight in model.named_parameters() if name in trainable)
    model.set_adapter("default")
    assert not any(weight.requires_grad for name, weight in model.backbone.named_parameters())


def test_settings_that_act_in_training_are_those_of_the_active_adapter(make_backbone, make_repository):
    backbone = make_backbone()
    masking = {"apply_spec_augment": True, "spec_augment": {"mask_time_prob": 0.4, "mask_feature_length": 3}}
    model = load(make_repository(backbone, "lora", layerdrop=0.5))
    usual = model.config.backbone_config.mask_feature_length
    model.load_adapter(make_repository(backbone, "adapter", **masking), "masked")

    def settings():
        config = model.backbone.config
        names = ("apply_spec_augment", "mask_time_prob", "mask_feature_length", "encoder_layerdrop")
        return [getattr(config, name) for name in names] + [model.backbone.layerdrop]

    assert settings() == [True, 0.4, 3, 0.0, 0.0]
    assert model.config.backbone_config is model.backbone.config
    model.set_adapter("default")
    assert settings() == [False, 0.05, usual, 0.5, 0.5]


def test_new_adapter_is_added_beside_loaded_ones_and_trains(make_backbone, make_repository, answers, inputs):
    backbone = make_backbone()
    lora = make_repository(backbone, "lora")
    model = load(lora)
    model.add_adapter(LoraConfig(r=2, target_modules=["fc1"], modules_to_save=["head"]), "new")
    assert model.active_adapters() == ["new"]
    trainable = [name for name, weight in model.named_parameters() if weight.requires_grad]
    assert any("fc1.lora_A.new" in name for name in trainable)
    assert any("head.modules_to_save.new" in name for name in trainable)
    with pytest.raises(ValueError, match="new already exists"):
        model.add_adapter(LoraConfig(target_modules=["fc1"]), "new")
    model.set_adapter("default")
    assert_same(answers(model), answers(load(lora)))


def test_training_through_peft_is_as_without_other_adapters(make_backbone, make_repository, inputs, answers):
    backbone = make_backbone()
    probe = make_repository(backbone, "probe")

    def tuned(model):
        torch.manual_seed(1)
        model = get_peft_model(model, LoraConfig(r=2, target_modules=["fc1", "fc2"], modules_to_save=["head"]))
        optimizer = torch.optim.SGD([weight for weight in model.parameters() if weight.requires_grad], lr=0.5)
        model.train()(**inputs, labels=torch.tensor([0, 1, 2])).loss.backward()
        optimizer.step()
        model.eval()
        return model

    plain = NvvForAudioClassification.from_backbone(
        str(backbone), projection_size=8, **KINDS["probe"][1], use_weighted_layer_sum=True
    )
    plain.head.load_state_dict(load(probe).head.state_dict())
    switched = load(probe)
    switched.load_adapter(make_repository(backbone, "lora"), "lora")
    switched.delete_adapter("lora")
    model = tuned(switched)
    assert isinstance(model, PeftModel)
    assert_same(answers(model), answers(tuned(plain)))


# --- saving ---


@pytest.mark.parametrize(
    "kind",
    ["lora", "combined", "vera"]
    + [
        pytest.param(kind, marks=pytest.mark.slow)
        for kind in ("adapter", "prompt", "dora", "adalora", "ia3", "ln_tuning")
    ],
)
def test_active_adapter_is_saved_as_a_repository_of_its_own(make_backbone, make_repository, answers, tmp_path, kind):
    backbone = make_backbone()
    other, folder = make_repository(backbone, "lora", name="other"), make_repository(backbone, kind)
    model = load(other)
    model.load_adapter(folder, "b")
    model.save_pretrained(tmp_path / "saved")
    names = {path.name for path in (tmp_path / "saved").iterdir()}
    assert {"config.json", "adapter_config.json", "adapter_model.safetensors", "adapters_nvv.py"} <= names
    assert "model.safetensors" not in names
    assert load_file(tmp_path / "saved" / "adapter_model.safetensors").keys() == (
        load_file(folder / "adapter_model.safetensors").keys()
    )
    assert_same(answers(load(tmp_path / "saved")), answers(load(folder)))
    assert model.get_adapter_state_dict("default").keys() == load(other).get_adapter_state_dict().keys()


def test_model_with_an_active_head_is_saved_whole(make_backbone, make_repository, answers, tmp_path):
    backbone = make_backbone()
    probe = make_repository(backbone, "probe")
    model = load(make_repository(backbone, "lora"))
    model.load_adapter(probe, "probe")
    assert set(model.get_adapter_state_dict()) == set(load_file(probe / "model.safetensors"))
    model.save_pretrained(tmp_path / "whole")
    assert_same(answers(load(tmp_path / "whole")), answers(load(probe)))
    model.set_adapter("default")
    with pytest.raises(ValueError, match=r"holds model\.safetensors of another model"):
        model.save_pretrained(tmp_path / "whole")


# --- what is refused, and that nothing changes then ---


@pytest.fixture
def two_lora(make_backbone, make_repository):
    """A model with one adapter, and its backbone."""
    backbone = make_backbone()
    return load(make_repository(backbone, "lora", name="first")), backbone


def refused(model, answers, folder, message, **arguments):
    before, names = answers(model), set(model.state_dict())
    with pytest.raises(ValueError, match=message):
        model.load_adapter(folder, "b", **arguments)
    assert (model.active_adapters(), model.loaded_adapters()) == (["default"], ["default"])
    assert set(model.state_dict()) == names
    assert_same(answers(model), before)


@pytest.mark.parametrize("kind", ["lora", "probe"])
def test_adapter_of_another_backbone_is_refused(two_lora, make_backbone, make_repository, answers, kind):
    model, _ = two_lora
    other = make_repository(make_backbone(name="other_backbone", seed=1), kind)
    refused(model, answers, other, r"is for another backbone, .*other_backbone at revision unknown; this model's is")


def test_adapter_with_other_kept_layers_is_refused(two_lora, make_repository, answers):
    model, backbone = two_lora
    cut = make_repository(backbone, "probe", num_backbone_layers=2)
    refused(model, answers, cut, r"with 2 layers; this model's is .* with 3")


def test_adapter_of_another_revision_is_refused(two_lora, make_repository, answers):
    model, backbone = two_lora
    folder = make_repository(backbone, "probe")
    settings = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**settings, "backbone_revision": "b" * 40}))
    refused(model, answers, folder, rf"at revision {'b' * 40}; this model's is .* at revision unknown")


def test_random_backbones_are_told_apart_by_their_weights(tiny_backbone_config, tmp_path, answers):
    def save(name, *, seed, method):
        model = NvvForAudioClassification.from_backbone(
            "x", random_init=True, seed=seed, backbone_config=tiny_backbone_config("whisper"), max_seconds=3.0
        )
        save_repository(
            apply_tuning(model, TuningArguments(method=method)), Wav2Vec2FeatureExtractor(), tmp_path / name
        )
        return tmp_path / name

    model = load(save("first", seed=0, method="lora"))
    other, same = save("other", seed=1, method="lora"), save("same", seed=0, method="adapter")
    refused(model, answers, other, r"x drawn at random \(seed 1, .*\); this model's is x drawn at random \(seed 0")
    model.load_adapter(same, "same")
    assert_same(answers(model), answers(load(same)))
    whole = load(save("whole", seed=0, method="full"))  # saved whole, and not trained in truth
    whole.load_adapter(same, "same")
    assert_same(answers(whole), answers(load(same)))
    with torch.no_grad():
        whole.delete_adapter("same")
        whole.backbone.conv1.bias.add_(1)
    with pytest.raises(ValueError, match="is for another backbone"):
        whole.load_adapter(same, "same")


def test_whole_models_are_refused_on_either_side(two_lora, make_repository, answers, tmp_path):
    model, backbone = two_lora
    whole = apply_tuning(
        NvvForAudioClassification.from_backbone(str(backbone), max_seconds=3.0), TuningArguments(method="full")
    )
    save_repository(whole, Wav2Vec2FeatureExtractor(), tmp_path / "whole")
    refused(model, answers, tmp_path / "whole", "holds a whole model, with a backbone of its own")
    loaded = load(tmp_path / "whole")
    with pytest.raises(ValueError, match=r"This model was saved whole, and its backbone may have been trained"):
        loaded.load_adapter(make_repository(backbone, "lora"), "b")
    assert loaded.loaded_adapters() == []


def test_adapter_with_a_missing_weight_is_refused(two_lora, make_repository, answers):
    model, backbone = two_lora
    folder = make_repository(backbone, "adapter")
    weights = load_file(folder / "adapter_model.safetensors")
    weights.pop(next(name for name in sorted(weights) if "nvv_adapter_up" in name))
    save_file(weights, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    refused(model, answers, folder, "1 of the adapter's weights do not fit; .*nvv_adapter_up.* is missing")


def test_adapter_that_trained_biases_of_the_backbone_is_refused(two_lora, make_backbone, tmp_path, answers):
    model, backbone = two_lora
    tuned = NvvForAudioClassification.from_backbone(str(backbone), num_labels=3, max_seconds=3.0)
    config = LoraConfig(r=2, target_modules=["fc1"], modules_to_save=["head"], bias="all")
    save_repository(get_peft_model(tuned, config), Wav2Vec2FeatureExtractor(), tmp_path / "biased")
    refused(model, answers, tmp_path / "biased", "LORA adapter changes weights of the backbone itself")
    load(tmp_path / "biased")


@pytest.mark.parametrize("start", ["pissa", "olora"])
def test_adapter_that_starts_from_changed_weights_of_the_backbone_is_refused(two_lora, tmp_path, answers, start):
    model, backbone = two_lora
    tuned = NvvForAudioClassification.from_backbone(str(backbone), num_labels=3, max_seconds=3.0)
    config = LoraConfig(r=2, target_modules=["fc1"], modules_to_save=["head"], init_lora_weights=start)
    save_repository(get_peft_model(tuned, config), Wav2Vec2FeatureExtractor(), tmp_path / "changed")
    refused(model, answers, tmp_path / "changed", "LORA adapter changes weights of the backbone itself")
    alone = load(tmp_path / "changed")
    with pytest.raises(ValueError, match="may have been trained"):
        alone.load_adapter(tmp_path / "first", "b")


def test_repository_of_newer_code_is_refused(two_lora, make_repository, answers):
    model, backbone = two_lora
    folder = make_repository(backbone, "probe")
    settings = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**settings, "attention_pooling_heads": 4}))
    refused(model, answers, folder, "saved by newer code than this model's, which does not know attention_pooling_he")


def test_other_models_names_and_arguments_are_refused(two_lora, make_backbone, make_repository, answers):
    model, backbone = two_lora
    refused(model, answers, backbone, "is a 'whisper' model, no adapter or head of an nvv model")
    probe = make_repository(backbone, "probe")
    with pytest.raises(ValueError, match="default already exists"):
        model.load_adapter(probe)
    with pytest.raises(TypeError, match="load_adapter has no argument revison"):
        model.load_adapter(probe, "b", revison="v1")
    refused(model, answers, probe, r"hotswap is for a model without other adapters", hotswap=True)
    with pytest.raises(ValueError, match="calibration_temperature=-1"):
        model.load_adapter(probe, "b", calibration_temperature=-1)
    with pytest.raises(ValueError, match="name c not found"):
        model.set_adapter("c")
    model.load_adapter(probe, "b")
    with pytest.raises(ValueError, match="expected one name, as each adapter has its own head"):
        model.set_adapter(["default", "b"])
    model.set_adapter(["default"])
    assert model.active_adapters() == ["default"]


def test_repository_is_refused_beside_an_adapter_that_was_not_loaded(make_backbone, make_repository):
    backbone = make_backbone()
    model = NvvForAudioClassification.from_backbone(str(backbone), num_labels=3, max_seconds=3.0)
    model.add_adapter(LoraConfig(target_modules=["fc1"]), "own")
    with pytest.raises(ValueError, match="carries 'own' already"):
        model.load_adapter(make_repository(backbone, "lora"), "b")
    assert model.active_adapters() == ["own"]


@pytest.mark.parametrize("differs", [True, False])
def test_another_feature_extractor_is_warned_of(two_lora, make_repository, monkeypatch, differs):
    model, backbone = two_lora
    folder = make_repository(backbone, "probe")
    settings = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**settings, "normalize_cut_clips": differs}))
    warnings = []
    monkeypatch.setattr(adapters_nvv.logger, "warning", warnings.append)
    model.load_adapter(folder, "b")
    assert ["normalises clips otherwise than that of 'default'" in warning for warning in warnings] == [True] * differs


# --- where nvv is not installed ---

ELSEWHERE = """
import json, sys
sys.modules["nvv"] = None
import torch
from transformers import AutoModelForAudioClassification, pipeline

batch, saved, first, *others = sys.argv[1:]
batch = torch.load(batch)
model = AutoModelForAudioClassification.from_pretrained(first, trust_remote_code=True, adapter_name=first)
weight = model.backbone.feature_extractor.conv_layers[0].conv.weight
for folder in others:
    model.load_adapter(folder, adapter_name=folder)
results = {}
for folder in [first, *others, *reversed(others), first]:
    model.set_adapter(folder)
    with torch.no_grad():
        results.setdefault(folder, []).append(model(**batch).logits.tolist())
    assert weight is model.backbone.feature_extractor.conv_layers[0].conv.weight
model.set_adapter(others[0])
model.save_pretrained(saved)
again = AutoModelForAudioClassification.from_pretrained(saved, trust_remote_code=True)
with torch.no_grad():
    results["saved"] = [again(**batch).logits.tolist()]
assert not any(name.startswith("nvv") for name, module in sys.modules.items() if module is not None)
print(json.dumps(results))
"""


@pytest.mark.slow
def test_adapters_are_switched_where_nvv_is_not_installed(
    make_backbone, make_repository, answers, inputs, run_elsewhere, tmp_path
):
    backbone = make_backbone("wav2vec2")
    folders = [make_repository(backbone, kind) for kind in ("probe", "combined", "dora", "lora")]
    torch.save(inputs, tmp_path / "batch.pt")
    results = run_elsewhere(ELSEWHERE, tmp_path / "batch.pt", tmp_path / "saved", *folders)
    results[str(folders[1])] += results.pop("saved")
    for folder in folders:
        expected = answers(load(folder))[0]
        found = results[str(folder)]
        assert len(found) >= 2
        for logits in found:
            torch.testing.assert_close(torch.tensor(logits), expected, atol=1e-5, rtol=0)
