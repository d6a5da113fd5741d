import pytest
from transformers import BertConfig, WhisperConfig

from nvv import NvvConfig


def test_config_survives_saving_and_loading(tmp_path, every_backbone_config):
    config = NvvConfig(
        backbone_config=every_backbone_config,
        backbone_id="someone/encoder",
        layers=[0, 2],
        pooling="max",
        max_seconds=2.5,
        id2label={0: "laugh", 1: "sigh"},
        class_weights=[1.0, 2.0],
    )
    config.save_pretrained(tmp_path)
    loaded = NvvConfig.from_pretrained(tmp_path)
    assert loaded.family == every_backbone_config.model_type
    assert type(loaded.backbone_config) is type(every_backbone_config)
    assert loaded.to_dict() == config.to_dict() | {"transformers_version": loaded.to_dict()["transformers_version"]}
    assert (loaded.layers, loaded.pooling, loaded.id2label) == ([0, 2], "max", {0: "laugh", 1: "sigh"})


def test_config_leaves_the_backbone_config_it_was_given_alone(tiny_backbone_config):
    backbone_config = tiny_backbone_config("wav2vec2", layerdrop=0.1)
    NvvConfig(backbone_config=backbone_config, num_backbone_layers=2)
    assert (backbone_config.num_hidden_layers, backbone_config.layerdrop) == (3, 0.1)


def test_config_sums_all_hidden_states_or_the_last_by_default(every_backbone_config):
    fields = {"backbone_config": every_backbone_config, "max_seconds": 3.0}
    assert NvvConfig(**fields).summed_layers == [0, 1, 2, 3]
    assert NvvConfig(**fields, use_weighted_layer_sum=False).summed_layers == [3]
    assert NvvConfig(**fields, num_backbone_layers=2).summed_layers == [0, 1, 2]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"pooling": "median"}, r"pooling='median' is not one of mean, max, first, last"),
        ({"head": "lstm2"}, r"head='lstm2' is not one of"),
        ({"padding": "reflect"}, r"padding='reflect' is not one of mask, silence"),
        ({"loss": "hinge"}, r"loss='hinge' is not one of"),
        ({"layers": [0, 4]}, r"layers=\[0, 4\]: \[4\] are not hidden states of this backbone, 0 to 3"),
        ({"layers": [-1]}, r"\[-1\] are not hidden states"),
        ({"layers": []}, r"layers=\[\] sums nothing"),
        ({"layers": [1, 1]}, r"names a hidden state twice"),
        ({"layers": [0, 1], "use_weighted_layer_sum": False}, r"exactly one hidden state"),
        ({"num_backbone_layers": 4}, r"num_backbone_layers=4: this backbone has layers 1 to 3"),
        ({"num_backbone_layers": 2, "layers": [3]}, r"\[3\] are not hidden states of this backbone, 0 to 2"),
        ({"max_seconds": 0}, r"max_seconds=0 is out of range"),
        ({"head_dropout": 1.0}, r"head_dropout=1.0 is out of range"),
        ({"padding": "silence", "max_seconds": 8, "padding_seconds": 7}, r"cannot hold clips of up to max_seconds=8 s"),
        ({"pool_padding": True}, r"pool_padding=True needs padding='silence'"),
        ({"class_weights": [1.0, 2.0, 3.0], "num_labels": 2}, r"class_weights has 3 values for 2 labels"),
        ({"class_weights": [1.0, 0.0], "num_labels": 2}, r"class_weights must be positive"),
        ({"sampling_rate": 8_000}, r"sampling_rate=8000 is out of range"),
        ({"backbone_config": {"hidden_size": 3}}, r"backbone_config has no 'model_type'"),
        ({"backbone_config": {"model_type": "klingon"}}, r"no model_type 'klingon'"),
    ],
)
def test_config_refuses_contradictions(tiny_backbone_config, fields, message):
    with pytest.raises(ValueError, match=message):
        NvvConfig(**{"backbone_config": tiny_backbone_config("hubert"), **fields})


REGRESSION = {"name": "affect", "kind": "regression", "outputs": ["arousal", "valence"]}
TYPE = {"name": "type", "kind": "classification", "outputs": ["cry", "laugh"]}
CONTRASTIVE = {"head": "embedding", "loss": "supervised_contrastive"}
LABELS = {"id2label": {0: "other", 1: "laughing"}}
POINTS = {"operating_points": {"laughing": {"threshold": 0.7, "rule": "precision >= 0.9"}}}


def test_config_of_tasks_heads_and_operating_points_survives_saving_and_loading(tmp_path):
    for number, fields in enumerate(
        [
            {"tasks": [REGRESSION, {**TYPE, "loss": "focal"}], "task_weighting": "uncertainty", "focal_gamma": 1.0},
            {"head": "lstm", "lstm_hidden_size": 6, "lstm_layers": 1, "lstm_bidirectional": True},
            {**CONTRASTIVE, "embedding_size": 5, "contrastive_temperature": 0.2},
            {**LABELS, **POINTS, "calibration_temperature": 1.7, "apply_operating_point": "laughing"},
        ]
    ):
        NvvConfig(**fields).save_pretrained(tmp_path / str(number))
        loaded = NvvConfig.from_pretrained(tmp_path / str(number))
        given = {name: value for name, value in fields.items() if name != "tasks"}
        assert {name: getattr(loaded, name) for name in given} == given
        assert loaded.task_list == NvvConfig(**fields).task_list


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"tasks": [REGRESSION], "class_weights": [1.0, 1.0]}, "with tasks, each classification names its own"),
        ({"tasks": [REGRESSION], "loss": "focal"}, "with tasks, each names its own loss"),
        ({"tasks": [REGRESSION], **CONTRASTIVE}, "with tasks, each names its own loss"),
        ({"tasks": [REGRESSION], "num_labels": 3}, "num_labels=3: the tasks have 2 outputs"),
        ({"tasks": [REGRESSION], "id2label": {0: "a", 1: "b"}}, "differs from the outputs of the tasks"),
        (
            {"tasks": [REGRESSION], "problem_type": "single_label_classification"},
            "problem_type='single_label_classification': with these tasks it is 'regression'",
        ),
        ({"problem_type": "regression"}, "problem_type='regression': with these tasks it is 'single_label"),
        ({"tasks": [REGRESSION], "label_smoothing": 0.1}, "label_smoothing=0.1 goes with cross_entropy"),
        ({"loss": "focal", "label_smoothing": 0.1}, "label_smoothing=0.1 goes with cross_entropy"),
        ({"task_weighting": "uncertainty"}, "weighs several tasks against each other; there is one"),
        ({"tasks": [TYPE], "task_weighting": "uncertainty"}, "weighs several tasks against each other; there is one"),
        (
            {"tasks": [{**REGRESSION, "weight": 2}, TYPE], "task_weighting": "uncertainty"},
            "learns the weights; leave those of the tasks out",
        ),
        ({"task_weighting": "equal"}, "task_weighting='equal' is not one of fixed, uncertainty"),
        ({"head": "embedding"}, "head='embedding' does not go with loss='cross_entropy'"),
        ({"loss": "supervised_contrastive"}, "head='linear' does not go with loss='supervised_contrastive'"),
        ({**CONTRASTIVE, "class_weights": [1.0, 1.0]}, "have no effect on loss='supervised_contrastive'"),
        ({**CONTRASTIVE, "label_smoothing": 0.1}, "have no effect on loss='supervised_contrastive'"),
        ({**CONTRASTIVE, "contrastive_temperature": 0.0}, "contrastive_temperature=0.0 is out of range"),
        ({**CONTRASTIVE, "embedding_size": 0}, "embedding_size=0 is out of range"),
        ({"head": "lstm", "lstm_layers": -1}, "lstm_layers=-1 is out of range"),
        ({"head": "lstm", "lstm_hidden_size": 0}, "lstm_hidden_size=0 is out of range"),
        ({"head": "lstm", "lstm_layers": 0, "lstm_bidirectional": True}, "needs at least one layer"),
        ({"focal_gamma": -1.0}, "focal_gamma=-1.0 is out of range"),
        ({"calibration_temperature": 0.0}, "calibration_temperature=0.0 is out of range"),
        ({"tasks": [REGRESSION], "calibration_temperature": 2.0}, "calibration_temperature goes with a single"),
        ({"tasks": [REGRESSION, TYPE], **POINTS}, "operating_points goes with a single classification"),
        ({**LABELS, "operating_points": {"sigh": {"threshold": 0.5}}}, "'sigh' is not one of the labels other, laugh"),
        ({**LABELS, "operating_points": {"laughing": {}}}, r"'laughing' needs a threshold in \(0, 1\), found \{\}"),
        ({**LABELS, "operating_points": {"laughing": {"threshold": 1.0}}}, r"needs a threshold in \(0, 1\)"),
        ({**LABELS, "operating_points": {"laughing": 0.5}}, r"needs a threshold in \(0, 1\), found 0.5"),
        ({**LABELS, "apply_operating_point": "laughing"}, "there is an operating point for no label"),
        ({**LABELS, **POINTS, "apply_operating_point": "other"}, "there is an operating point for 'laughing'"),
    ],
)
def test_config_refuses_contradictions_of_tasks_heads_and_decisions(fields, message):
    with pytest.raises(ValueError, match=message):
        NvvConfig(**fields)


def test_config_checks_fields_given_when_loading(tmp_path):
    NvvConfig(**LABELS, **POINTS).save_pretrained(tmp_path)
    assert NvvConfig.from_pretrained(tmp_path, apply_operating_point="laughing").apply_operating_point == "laughing"
    config, unused = NvvConfig.from_pretrained(
        tmp_path, calibration_temperature=3.0, somewhere="else", return_unused_kwargs=True
    )
    assert (config.calibration_temperature, unused) == (3.0, {"somewhere": "else"})
    with pytest.raises(ValueError, match="there is an operating point for 'laughing'"):
        NvvConfig.from_pretrained(tmp_path, apply_operating_point="other")


def test_config_refuses_a_backbone_that_is_no_speech_encoder():
    with pytest.raises(ValueError, match="A backbone of type 'bert' is not supported"):
        NvvConfig(backbone_config=BertConfig())


def test_config_refuses_more_seconds_than_whispers_positions_hold():
    with pytest.raises(ValueError, match=r"max_seconds=31 s is more than this Whisper encoder's position table"):
        NvvConfig(backbone_config=WhisperConfig(), max_seconds=31)
    with pytest.raises(ValueError, match=r"padding_seconds=40 s is more"):
        NvvConfig(backbone_config=WhisperConfig(), padding="silence", padding_seconds=40)
