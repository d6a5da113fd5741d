from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from sklearn.metrics import f1_score
from torch.nn import functional as F
from transformers import get_linear_schedule_with_warmup, set_seed

from nvv import NvvConfig
from nvv.heads_nvv import NvvHead
from nvv.loading_nvv import load_feature_extractor
from nvv.losses_nvv import weighted_cross_entropy
from nvv.modeling_nvv import NvvForAudioClassification
from nvv.training.arguments import ArgumentsError, NvvTrainingArguments
from nvv.training.dataset import ClipDataset
from nvv.training.probe_heads import HeadPlan, LabelledFeatures, selection_metric, train_heads
from nvv.training.samplers import TrainingSampler
from nvv.training.trainer import NvvTrainer
from nvv.training.tuning import TuningArguments, apply_tuning

# 11 clips in batches of 2 × 3: an epoch is a step of 6 clips and one of 2 + 2 + 1.
LENGTHS = [0.5, 0.2, 0.9, 0.3, 0.7, 0.25, 0.6, 0.8, 0.35, 0.45, 0.55]
CLASS_WEIGHTS = [0.5, 1.0, 3.0]


def _arguments(tmp_path, **options):
    options = {
        "num_train_epochs": 8,
        "learning_rate": 0.05,
        "weight_decay": 0.5,
        "warmup_steps": 2,
        "max_grad_norm": 0.3,
        "per_device_train_batch_size": 2,
        "gradient_accumulation_steps": 3,
        "seed": 3,
        **options,
    }
    return NvvTrainingArguments(output_dir=str(tmp_path / "run"), disable_tqdm=True, **options)


@pytest.fixture
def make_features(tiny_backbone_config):
    """Make a head and features of three classes that lie apart a little, in several hidden states."""

    def make(*, num_clips=11, states=3, seed=0, num_heads=1, **fields):
        fields = {"projection_size": 8, "num_labels": 3, "layers": list(range(states)), **fields}
        config = NvvConfig(
            backbone_config=tiny_backbone_config("whisper"),
            max_seconds=2.0,
            use_weighted_layer_sum=states > 1,
            **fields,
        )
        generator = torch.Generator().manual_seed(seed)
        labels = torch.arange(num_clips) % 3
        features = torch.randn(num_clips, states, 32, generator=generator)
        features[:, :, :3] += 1.5 * F.one_hot(labels, 3).unsqueeze(1)
        lengths = torch.randint(1, 100, (num_clips,), generator=generator).tolist()
        heads = []
        for at in range(num_heads):
            torch.manual_seed(10 + at)
            heads.append(NvvHead(config))
        return heads, LabelledFeatures(features=features, labels=labels, lengths=lengths)

    return make


# ----------------------------------------------------------------------------------------------------------------------
# The same as training live
# ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("family", "variant", "fields", "options"),
    [
        ("whisper", "pre_norm", {"class_weights": CLASS_WEIGHTS}, {}),
        ("wav2vec2", "pre_norm", {"label_smoothing": 0.1, "layers": [0, 2, 3]}, {"lr_scheduler_type": "cosine"}),
        ("wavlm", "post_norm", {"use_weighted_layer_sum": False}, {"early_stopping_patience": 1}),
        ("hubert", "pre_norm", {"use_weighted_layer_sum": False, "pooling": "last"}, {"max_grad_norm": 0.0}),
        ("whisper", "pre_norm", {"head": "mlp", "head_dropout": 0.0}, {"metric_for_best_model": "loss"}),
    ],
)
def test_head_equals_the_one_trained_live(
    make_split, tiny_backbone_config, randomise, tmp_path, family, variant, fields, options
):
    """Contract 3 of the design: features computed once train the head that the backbone in every step trains."""
    arguments = _arguments(tmp_path, **options)
    config = tiny_backbone_config(family, variant)
    model = NvvForAudioClassification.from_backbone(
        family, backbone_config=config, random_init=True, seed=arguments.seed, num_labels=3, projection_size=8,
        max_seconds=2.0, **fields,
    )  # fmt: skip
    randomise(model.backbone)  # as initialised, a tiny encoder gives every clip the same features
    extractor = load_feature_extractor("openai/whisper-tiny", random_init=True)
    train, validation = (ClipDataset(make_split(LENGTHS, seed=at), max_seconds=2.0) for at in (0, 1))
    split_features = [_pooled(model, extractor, clips) for clips in (train, validation)]
    start = copy.deepcopy(model.head)

    set_seed(arguments.seed)
    trainer = NvvTrainer(
        apply_tuning(model, TuningArguments(method="frozen")), arguments, feature_extractor=extractor,
        train_dataset=train, eval_dataset=validation,
    )  # fmt: skip
    trainer.train()
    expected = trainer.predict(validation).predictions

    # Beside heads of another seed and another decay, on which it must not depend.
    plans = [
        HeadPlan(head=start, seed=seed, weight_decay=decay)
        for seed, decay in ((4, 0.5), (arguments.seed, arguments.weight_decay), (arguments.seed, 0.0))
    ]
    _, head, other = train_heads(
        plans, arguments, train=split_features[0], validation=split_features[1],
        class_weights=fields.get("class_weights"), label_smoothing=fields.get("label_smoothing", 0.0),
    )  # fmt: skip
    with torch.no_grad():
        logits = head.head.forward_pooled(split_features[1].features).numpy()
        logits_of_other = other.head.forward_pooled(split_features[1].features).numpy()
    np.testing.assert_allclose(logits, expected, atol=1e-4)
    assert np.abs(logits_of_other - expected).max() > 1e-2  # another decay is another head
    assert np.abs(expected - expected.mean(axis=0)).max() > 0.1  # clips are told apart
    state = trainer.state
    assert (head.best_step, head.best_score) == (state.best_global_step, pytest.approx(state.best_metric, abs=1e-6))
    for name in ("loss", "eval_loss", "eval_macro_f1"):
        logged = [(entry["epoch"], entry[name]) for entry in state.log_history if name in entry]
        ours = [(entry["epoch"], entry[name]) for entry in head.history if name in entry]
        assert np.array(ours) == pytest.approx(np.array(logged), abs=2e-4)  # the Trainer rounds to four digits
    if "early_stopping_patience" in options:
        assert len(head.history) < 8  # it did stop


def _pooled(model, extractor, clips):
    """Pool the hidden states of each clip alone."""
    pooled = []
    with torch.no_grad():
        for at in range(len(clips)):
            inputs = extractor(clips[at]["input_values"], sampling_rate=16_000, return_tensors="pt").input_values
            pooled.append(model.head.pool(*model.encode(inputs)))
    return LabelledFeatures(features=torch.cat(pooled), labels=torch.from_numpy(clips.labels), lengths=clips.lengths)


@pytest.mark.parametrize("states", [1, 3])
@pytest.mark.parametrize("fields", [{}, {"head": "mlp", "head_dropout": 0.0}])
def test_heads_equal_a_plain_loop(make_features, tmp_path, states, fields):
    heads, train = make_features(states=states, num_heads=2, **fields)
    _, validation = make_features(num_clips=9, states=states, seed=1)
    arguments = _arguments(tmp_path)
    plans = [HeadPlan(head=head, seed=at, weight_decay=(0.0, 3.0)[at]) for at, head in enumerate(heads)]
    trained = train_heads(plans, arguments, train=train, validation=validation, class_weights=CLASS_WEIGHTS)
    for plan, ours in zip(plans, trained, strict=True):
        scores, best = _plain_loop(plan, arguments, train=train, validation=validation)
        assert ours.best_epoch == int(np.argmax(scores)) + 1  # the first of the best
        assert [entry["eval_macro_f1"] for entry in ours.history if "eval_macro_f1" in entry] == pytest.approx(scores)
        expected = dict(best.named_parameters())
        for name, weight in ours.head.named_parameters():
            torch.testing.assert_close(weight, expected[name], atol=2e-5, rtol=0)


def _plain_loop(plan, arguments, *, train, validation):
    """Train one head by autograd, one batch at a time; return macro-F1 of each epoch and the head at its first best."""
    head, best, scores = copy.deepcopy(plan.head).train(), None, []
    named = list(head.named_parameters())
    optimiser = torch.optim.AdamW(
        [
            {"params": [weight for name, weight in named if "bias" not in name], "weight_decay": plan.weight_decay},
            {"params": [weight for name, weight in named if "bias" in name], "weight_decay": 0.0},
        ],
        lr=arguments.learning_rate,
    )
    schedule = get_linear_schedule_with_warmup(optimiser, 2, 16)  # 8 epochs of 2 steps
    sampler = TrainingSampler(train.lengths, strategy="group_by_length", batch_size=2, seed=plan.seed)
    for epoch in range(8):
        sampler.set_epoch(epoch)
        order = [index for index, _ in sampler]
        batches = [order[at : at + 2] for at in range(0, len(order), 2)]
        for accumulated in (batches[:3], batches[3:]):
            optimiser.zero_grad()
            for batch in accumulated:
                logits = head.forward_pooled(train.features[batch])
                loss = weighted_cross_entropy(logits, train.labels[batch], class_weights=CLASS_WEIGHTS)
                (loss / 3).backward()
            norm = torch.nn.utils.clip_grad_norm_(head.parameters(), 0.3)
            assert norm > 0.3 or epoch > 0  # clipping acts
            optimiser.step()
            schedule.step()
        with torch.no_grad():
            predicted = head.forward_pooled(validation.features).argmax(-1)
        scores.append(f1_score(validation.labels, predicted, average="macro", zero_division=0))
        if scores[-1] > max(scores[:-1], default=-1):
            best = copy.deepcopy(head)
    return scores, best


# ----------------------------------------------------------------------------------------------------------------------
# Its parts
# ----------------------------------------------------------------------------------------------------------------------


def test_heads_do_not_depend_on_those_beside_them(make_features, tmp_path, monkeypatch):
    heads, train = make_features(num_heads=3, head="mlp", head_dropout=0.3)
    plans = [HeadPlan(head=head, seed=at, weight_decay=float(at)) for at, head in enumerate(heads)]
    arguments = _arguments(tmp_path)
    together = train_heads(plans, arguments, train=train, validation=train)
    monkeypatch.setattr("nvv.training.probe_heads._CPU_BYTES", 1)  # one at a time
    alone = train_heads(plans, arguments, train=train, validation=train)
    for left, right in zip(together, alone, strict=True):
        assert (left.seed, left.weight_decay, left.best_step) == (right.seed, right.weight_decay, right.best_step)
        for one, other in zip(left.head.parameters(), right.head.parameters(), strict=True):
            torch.testing.assert_close(one, other, atol=1e-5, rtol=0)


def test_initial_weights_and_the_number_of_threads_are_left_alone(make_features, tmp_path):
    heads, train = make_features()
    before = copy.deepcopy(heads[0].state_dict())
    threads = torch.get_num_threads()
    state = torch.random.get_rng_state()
    trained = train_heads(
        [HeadPlan(head=heads[0], seed=0, weight_decay=0.0)], _arguments(tmp_path), train=train, validation=train
    )
    assert all(torch.equal(weight, before[name]) for name, weight in heads[0].state_dict().items())
    assert not torch.equal(trained[0].head.projector.weight, before["projector.weight"])
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.random.get_rng_state(), state)


@pytest.mark.parametrize(
    ("options", "epochs", "steps"),
    [
        ({"num_train_epochs": 2.5}, [1, 2, 2 + 3 / 6], [2, 4, 5]),  # half an epoch is one of its two steps: 3 batches
        ({"max_steps": 3}, [1, 1 + 3 / 6], [2, 3]),
        ({"max_steps": 4, "num_train_epochs": 9}, [1, 2], [2, 4]),
    ],
)
def test_training_ends_where_the_trainer_ends(make_features, tmp_path, options, epochs, steps):
    heads, train = make_features()
    arguments = _arguments(tmp_path, **options)
    [trained] = train_heads(
        [HeadPlan(head=heads[0], seed=0, weight_decay=0.0)], arguments, train=train, validation=train
    )
    evaluated = [entry for entry in trained.history if "eval_loss" in entry]
    assert [entry["epoch"] for entry in evaluated] == epochs
    assert [entry["step"] for entry in evaluated] == steps


def test_data_seed_orders_the_clips_of_every_head(make_features, tmp_path):
    heads, train = make_features()
    plans = [HeadPlan(head=heads[0], seed=seed, weight_decay=0.0) for seed in (0, 1)]
    weights = {}
    for data_seed in (None, 5):
        trained = train_heads(plans, _arguments(tmp_path, data_seed=data_seed), train=train, validation=train)
        weights[data_seed] = [head.head.projector.weight for head in trained]
    assert not torch.equal(*weights[None])
    torch.testing.assert_close(*weights[5], atol=1e-6, rtol=0)


def test_first_of_equal_epochs_is_kept_and_the_loss_counts_downwards(make_features, tmp_path):
    heads, train = make_features(num_clips=30)
    plan = HeadPlan(head=heads[0], seed=0, weight_decay=0.0)
    for metric in ("accuracy", "loss", "eval_uar"):
        arguments = _arguments(tmp_path, metric_for_best_model=metric)
        [trained] = train_heads([plan], arguments, train=train, validation=train)
        name = f"eval_{metric.removeprefix('eval_')}"
        values = [entry[name] for entry in trained.history if name in entry]
        best = min(values) if metric == "loss" else max(values)
        assert trained.best_score == best
        assert trained.best_epoch == values.index(best) + 1
        assert len(set(values)) > 1
    assert values.count(best) > 1  # there were equals


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"metric_for_best_model": "speed"}, "metric_for_best_model: expected one of .*loss, found 'speed'"),
        ({"lr_scheduler_type": "reduce_lr_on_plateau"}, "lr_scheduler_type: reduce_lr_on_plateau follows"),
        ({"lr_scheduler_type": "warmup_stable_decay"}, "lr_scheduler_type: warmup_stable_decay: "),
    ],
)
def test_settings_without_a_plan_are_refused(make_features, tmp_path, options, message):
    heads, train = make_features()
    with pytest.raises(ArgumentsError, match=message):
        train_heads(
            [HeadPlan(head=heads[0], seed=0, weight_decay=0.0)], _arguments(tmp_path, **options),
            train=train, validation=train,
        )  # fmt: skip


def test_features_that_do_not_fit_are_refused(make_features, tmp_path):
    heads, train = make_features()
    _, other = make_features(states=2)
    plan = HeadPlan(head=heads[0], seed=0, weight_decay=0.0)
    with pytest.raises(ValueError, match=r"validation: expected features \(11, 3, 32\), found \(11, 2, 32\)"):
        train_heads([plan], _arguments(tmp_path), train=train, validation=other)
    without = LabelledFeatures(features=train.features, labels=train.labels)
    with pytest.raises(ValueError, match="train: expected 11 lengths, one for each clip, found none"):
        train_heads([plan], _arguments(tmp_path), train=without, validation=train)
    with pytest.raises(ValueError, match="expected at least one head"):
        train_heads([], _arguments(tmp_path), train=train, validation=train)


def test_selection_metric_is_named_without_its_prefix(tmp_path):
    assert selection_metric(_arguments(tmp_path, metric_for_best_model="eval_uar")) == "uar"
