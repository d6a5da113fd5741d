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


def test_config_refuses_a_backbone_that_is_no_speech_encoder():
    with pytest.raises(ValueError, match="A backbone of type 'bert' is not supported"):
        NvvConfig(backbone_config=BertConfig())


def test_config_refuses_more_seconds_than_whispers_positions_hold():
    with pytest.raises(ValueError, match=r"max_seconds=31 s is more than this Whisper encoder's position table"):
        NvvConfig(backbone_config=WhisperConfig(), max_seconds=31)
    with pytest.raises(ValueError, match=r"padding_seconds=40 s is more"):
        NvvConfig(backbone_config=WhisperConfig(), padding="silence", padding_seconds=40)
