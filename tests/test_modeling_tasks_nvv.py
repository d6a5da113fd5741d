"""The model with each kind of head and task: batches, losses, embeddings, operating points, precision, LoRA."""

import inspect

import pytest
import torch
from peft import LoraConfig, get_peft_model, get_peft_model_state_dict
from transformers import AutoModelForAudioClassification, pipeline
from transformers.utils.generic import find_labels

from nvv import NvvConfig, NvvForAudioClassification
from nvv.contrastive_nvv import supervised_contrastive_loss
from nvv.losses_nvv import ccc_loss, task_loss

NAN = float("nan")
AFFECT = {"name": "affect", "kind": "regression", "outputs": ["arousal", "dominance", "valence"]}
TYPE = {"name": "type", "kind": "classification", "outputs": ["cry", "laugh"]}
LSTM = {"head": "lstm", "lstm_hidden_size": 8}
CONTRASTIVE = {"head": "embedding", "loss": "supervised_contrastive", "embedding_size": 6}
KINDS = {
    "lstm": {**LSTM, "use_weighted_layer_sum": False, "pooling": "last", "num_labels": 5},
    "bidirectional": {**LSTM, "lstm_bidirectional": True, "lstm_layers": 1, "pooling": "max", "num_labels": 5},
    "embedding": {**CONTRASTIVE, "num_labels": 5},
    "regression": {"head": "mlp", "num_backbone_layers": 2, "use_weighted_layer_sum": False, "tasks": [AFFECT]},
    "tasks": {"tasks": [AFFECT, TYPE], "task_weighting": "uncertainty"},
}


@pytest.fixture
def make(tiny_backbone_config):
    """The function that makes a small model of a kind and family, with random weights and centroids."""

    def make(kind: str, family: str = "wav2vec2", **fields) -> NvvForAudioClassification:
        fields = {"projection_size": 24, "max_seconds": 3.0, "padding_seconds": 3.0, **KINDS[kind], **fields}
        torch.manual_seed(0)
        model = NvvForAudioClassification(NvvConfig(backbone_config=tiny_backbone_config(family), **fields))
        with torch.no_grad():
            for name, weight in model.named_parameters():
                # Strong enough for a deaf head to be noticed.
                mean = 1.0 if "norm" in name and name.endswith("weight") else 0.0
                weight.normal_(mean, 0.3 if name.startswith("head") else 0.15)
            for name, buffer in model.named_buffers():
                if name.endswith("centroids"):
                    buffer.normal_()
        return model.eval()

    return make


def labels_for(config: NvvConfig) -> torch.Tensor:
    """Labels of three clips; the second has none, where the others' are enough for a loss."""
    if config.tasks is None:
        return torch.tensor([0, 1 if config.head == "embedding" else -100, 0])
    labels = torch.tensor([[0.1, 0.9, 0.4, 1.0], [NAN] * 4, [0.8, NAN, 0.6, 0.0]])
    return labels[:, : config.num_label_columns]


@pytest.mark.parametrize("family", ["whisper", "wav2vec2", "wavlm", "unispeech-sat"])
@pytest.mark.parametrize("kind", KINDS)
def test_answers_do_not_depend_on_the_batch(make, kind, family, unequal_clips, pad):
    model = make(kind, family)
    batch = pad(unequal_clips)
    with torch.no_grad():
        together = model(**batch, output_embeddings=True)
        noise = batch["input_values"] + 9 * torch.randn_like(batch["input_values"]) * (1 - batch["attention_mask"])
        beside_noise = model(noise, batch["attention_mask"]).logits
        for index, clip in enumerate(unequal_clips):
            alone = model(clip[None], output_embeddings=True)
            torch.testing.assert_close(together.logits[index], alone.logits[0], atol=1e-4, rtol=0)
            torch.testing.assert_close(together.embeddings[index], alone.embeddings[0], atol=1e-4, rtol=0)
    torch.testing.assert_close(beside_noise, together.logits, atol=1e-4, rtol=0)
    assert together.logits.std(dim=0).mean() > 0.01


@pytest.mark.parametrize("kind", ["lstm", "bidirectional"])
def test_lstm_head_hears_no_silence_that_is_not_pooled(make, kind, unequal_clips, pad):
    model = make(kind, padding="silence")
    with torch.no_grad():
        states, mask = model.encode(**pad(unequal_clips))
        expected = model.head(states, mask)
        for state in states:
            state[~mask] = NAN
        torch.testing.assert_close(model.head(states, mask), expected)


@pytest.mark.parametrize("kind", KINDS)
def test_loss_is_that_of_the_tasks(make, kind, batch):
    model = make(kind)
    labels = labels_for(model.config)
    output = model(**{**batch, "labels": labels}, output_embeddings=True)
    if kind == "embedding":
        expected = supervised_contrastive_loss(output.embeddings, labels, temperature=0.1)
    else:
        expected = task_loss(output.logits, labels, model.config, log_variances=model.head.log_variances)
    torch.testing.assert_close(output.loss, expected)
    output.loss.backward()
    assert all(torch.isfinite(weight.grad).all() for weight in model.head.parameters() if weight.grad is not None)
    assert any(weight.grad.abs().max() > 0 for weight in model.backbone.parameters() if weight.grad is not None)


def test_regression_loss_is_ccc_over_the_clips_with_targets(make, batch):
    model = make("regression")
    output = model(**{**batch, "labels": labels_for(model.config)})
    assert output.logits.shape == (3, 3)
    expected = ccc_loss(output.logits[[0, 2]], labels_for(model.config)[[0, 2]])
    torch.testing.assert_close(output.loss, expected)


def test_losses_of_mixed_clips_reach_the_model(make, batch):
    model = make("lstm")
    mixture = {"mixed_targets": torch.tensor([1, 2, 3]), "mixing_weights": torch.tensor([0.7, 0.5, 0.9])}
    output = model(**batch, **mixture)
    expected = task_loss(output.logits, batch["labels"], model.config, **mixture)
    torch.testing.assert_close(output.loss, expected)
    assert output.loss != model(**batch).loss
    with pytest.raises(ValueError, match="a mixture of two clips has no class"):
        make("embedding")(**batch, **mixture)


def test_trainers_take_the_labels_only_for_labels():
    # transformers' Trainer evaluates only where every argument that it takes for a label is given.
    assert find_labels(NvvForAudioClassification) == ["labels"]
    assert {"mixed_targets", "mixing_weights"} <= set(inspect.signature(NvvForAudioClassification.forward).parameters)


def test_embeddings_are_of_length_1_or_the_pooled_layers(make, unequal_clips, pad):
    batch = pad(unequal_clips)
    embeddings = make("embedding").embed(**batch)
    assert embeddings.requires_grad
    torch.testing.assert_close(embeddings.norm(dim=-1), torch.ones(5))
    model = make("regression")
    states, mask = model.encode(**batch)
    pooled = torch.stack([state[valid].mean(0) for state, valid in zip(states[0], mask, strict=True)])
    torch.testing.assert_close(model.embed(**batch), pooled, atol=1e-5, rtol=0)
    assert model(**batch).embeddings is None


@pytest.mark.parametrize("family", ["whisper", "hubert"])
@pytest.mark.parametrize("kind", KINDS)
def test_answers_hold_in_lower_precision(make, kind, family, batch, tmp_path):
    model = make(kind, family)
    labels = labels_for(model.config)
    inputs = {**batch, "labels": labels}
    expected = model(**inputs)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        lower = model(**inputs)
        lower.loss.backward()
    # bfloat16 keeps 8 bits of each number; the logits reach about 20 here (cosines over a temperature of 0.1).
    torch.testing.assert_close(lower.logits.float(), expected.logits, atol=0.3, rtol=0.05)
    torch.testing.assert_close(lower.loss, expected.loss, atol=0.3, rtol=0.05)
    assert all(torch.isfinite(weight.grad).all() for weight in model.parameters() if weight.grad is not None)
    model.save_pretrained(tmp_path)
    half = AutoModelForAudioClassification.from_pretrained(tmp_path, dtype=torch.bfloat16)
    with torch.no_grad():
        torch.testing.assert_close(half(**inputs).logits.float(), expected.logits, atol=0.5, rtol=0.1)


@pytest.mark.parametrize("kind", KINDS)
def test_lora_carries_all_of_the_head(make, kind, batch):
    model = make(kind)
    head = {name: value.clone() for name, value in model.head.state_dict().items()}
    tuned = get_peft_model(model, LoraConfig(target_modules=["q_proj"], modules_to_save=["head"]))
    saved = get_peft_model_state_dict(tuned)
    assert {name.split(".head.")[1] for name in saved if ".head." in name} == set(head)
    if kind == "embedding":
        # What is set on the head is set on the copy that is used and saved.
        tuned.get_base_model().head.centroids.copy_(torch.ones(5, 6))
        name = next(name for name in get_peft_model_state_dict(tuned) if name.endswith("centroids"))
        assert torch.equal(get_peft_model_state_dict(tuned)[name], torch.ones(5, 6))
        assert (tuned(**pad_free(batch)).logits.std(dim=-1) < 1e-5).all()
    if kind == "tasks":
        tuned(**{**batch, "labels": labels_for(model.config)}).loss.backward()
        assert tuned.get_base_model().head.log_variances.grad.abs().min() > 0


def pad_free(batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: value for name, value in batch.items() if name != "labels"}


def test_new_heads_start_without_weights_of_tasks_and_centroids(tiny_backbone_config):
    for kind, name in (("tasks", "log_variances"), ("embedding", "centroids")):
        model = NvvForAudioClassification.from_backbone(
            "tiny", random_init=True, backbone_config=tiny_backbone_config("hubert"), **KINDS[kind]
        )
        assert getattr(model.head, name).abs().sum() == 0
    model = NvvForAudioClassification.from_backbone(
        "tiny", random_init=True, backbone_config=tiny_backbone_config("hubert"), **KINDS["lstm"]
    )
    # torch draws an LSTM's weights and biases from ±1/√units, here 8; transformers would draw others when it fills in
    # what a checkpoint lacks.
    for drawn_again in (False, True):
        if drawn_again:
            for weight in model.head.lstm.parameters():
                weight.data.zero_()
            model._init_weights(model.head.lstm)
        for weight in model.head.lstm.parameters():
            assert 0.85 / 8**0.5 < weight.abs().max() <= 1 / 8**0.5


def test_temperature_divides_the_logits(make, tiny_model, tiny_backbone_config, batch):
    backbone_config = tiny_backbone_config("wav2vec2")
    plain = tiny_model(backbone_config)(**batch)
    calibrated = tiny_model(backbone_config, calibration_temperature=2.0)(**batch)
    torch.testing.assert_close(calibrated.logits, plain.logits / 2)
    expected = torch.nn.functional.cross_entropy(plain.logits / 2, batch["labels"])
    torch.testing.assert_close(calibrated.loss, expected)


def test_operating_point_is_applied_when_asked_for(tiny_model, tiny_backbone_config, unequal_clips, pad, tmp_path):
    inputs = pad(unequal_clips)
    labels = {0: "other", 1: "laughing", 2: "crying"}
    model = tiny_model(tiny_backbone_config("wav2vec2"), id2label=labels, calibration_temperature=0.5)
    with torch.no_grad():
        plain = model(**inputs).logits
        probabilities = plain.softmax(dim=-1)
        # Between the clips' probabilities, so that some reach it and some do not.
        threshold = probabilities[:, 1].sort().values[1:3].mean().item()
        expected = probabilities[:, 1] >= threshold
        assert expected.sum() == 3
        model.config.operating_points = {"laughing": {"threshold": threshold}}
        model.save_pretrained(tmp_path)

        loaded = AutoModelForAudioClassification.from_pretrained(tmp_path)
        torch.testing.assert_close(loaded(**inputs).logits, plain)
        assert loaded.detect(**inputs, label="laughing").tolist() == expected.tolist()

        applied = AutoModelForAudioClassification.from_pretrained(tmp_path, apply_operating_point="laughing")
        assert ((applied(**inputs).logits.softmax(dim=-1)[:, 1] >= 0.5) == expected).all()
        assert applied.detect(**inputs).tolist() == expected.tolist()
        torch.testing.assert_close(applied(**inputs, labels=torch.zeros(5).long()).logits, plain)
        applied.backbone.requires_grad_(False)  # so that training mode changes nothing but the decision
        torch.testing.assert_close(applied.train()(**inputs).logits, plain)
    own = NvvForAudioClassification.from_pretrained(tmp_path, apply_operating_point="laughing")
    assert own.config.apply_operating_point == "laughing"
    with pytest.raises(ValueError, match="there is an operating point for 'laughing'"):
        AutoModelForAudioClassification.from_pretrained(tmp_path, apply_operating_point="crying")
    with pytest.raises(ValueError, match="'crying' has no operating point"):
        loaded.detect(**inputs, label="crying")


@pytest.mark.parametrize("kind", ["regression", "tasks", "embedding"])
def test_pipeline_shows_numbers_of_a_regression_and_probabilities_of_a_class(make, kind, unequal_clips, tmp_path):
    from transformers import Wav2Vec2FeatureExtractor

    model = make(kind)
    model.save_pretrained(tmp_path)
    Wav2Vec2FeatureExtractor(return_attention_mask=True, do_normalize=False).save_pretrained(tmp_path)
    answers = pipeline("audio-classification", model=str(tmp_path))(unequal_clips[0].numpy(), top_k=None)
    with torch.no_grad():
        logits = model(unequal_clips[0][None]).logits[0]
    expected = logits.softmax(-1) if kind == "embedding" else logits
    scores = {answer["label"]: answer["score"] for answer in answers}
    assert scores == pytest.approx(
        {model.config.id2label[index]: value for index, value in enumerate(expected.tolist())}, abs=1e-4
    )


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["lstm", "bidirectional", "embedding", "tasks"])
def test_model_with_this_head_compiles(make, kind, batch):
    model = make(kind)
    inputs = {**batch, "labels": labels_for(model.config)}
    with torch.no_grad():
        expected = model(**inputs)
        compiled = torch.compile(model, dynamic=True, backend="aot_eager")(**inputs)
    torch.testing.assert_close(compiled.logits, expected.logits, atol=1e-4, rtol=0)
    torch.testing.assert_close(compiled.loss, expected.loss, atol=1e-4, rtol=0)
