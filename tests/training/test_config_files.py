from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field

import pytest
import yaml

from nvv.training.arguments import ArgumentsError, DataArguments
from nvv.training.config_files import parse_arguments, parse_groups, resolved_config, write_resolved_config


@pytest.fixture
def write_yaml(tmp_path):
    def write(name, text):
        (tmp_path / name).write_text(text, encoding="utf-8")
        return str(tmp_path / name)

    return write


def _parse(*words, tmp_path):
    return parse_arguments([*words, "--output_dir", str(tmp_path / "run")])


def test_later_files_override_earlier_ones_and_the_command_line_all(write_yaml, tmp_path):
    first = write_yaml("first.yaml", "learning_rate: 0.1\nseed: 1\nprojection_size: 8\n")
    second = write_yaml("second.yaml", "seed: 2\nprojection_size: 9\n")
    run = _parse(first, second, "--projection_size", "10", tmp_path=tmp_path)
    assert (run.training.learning_rate, run.training.seed, run.model.projection_size) == (0.1, 2, 10)


def test_numbers_are_numbers_when_yaml_reads_them_as_text(write_yaml, tmp_path):
    run = _parse(write_yaml("a.yaml", "learning_rate: 3e-4\nnum_train_epochs: 2\n"), tmp_path=tmp_path)
    assert run.training.learning_rate == 3e-4
    assert run.training.num_train_epochs == 2


@pytest.mark.parametrize(
    ("words", "expected"),
    [(["--random_init", "true"], True), (["--random_init"], True), (["--random_init", "false"], False)],
)
def test_booleans_are_read_as_said(words, expected, write_yaml, tmp_path):
    file = write_yaml("a.yaml", f"random_init: {str(not expected).lower()}\n")
    assert _parse(file, *words, tmp_path=tmp_path).model.random_init is expected


def test_true_by_default_can_be_switched_off(write_yaml, tmp_path):
    assert _parse("--use_weighted_layer_sum", "false", tmp_path=tmp_path).model.use_weighted_layer_sum is False
    file = write_yaml("a.yaml", "use_weighted_layer_sum: false\n")
    assert _parse(file, tmp_path=tmp_path).model.use_weighted_layer_sum is False


def test_lists_come_from_yaml_and_command_line(write_yaml, tmp_path):
    file = write_yaml("a.yaml", "tuned_layers: [0, 1]\nsummed_layers: [0, 2]\n")
    run = _parse(file, "--summed_layers", "1", "3", tmp_path=tmp_path)
    assert run.tuning.tuned_layers == [0, 1]
    assert run.model.summed_layers == [1, 3]


def test_none_unsets_what_a_file_set(write_yaml, tmp_path):
    file = write_yaml("a.yaml", "tuned_layers: [0, 1]\nearly_stopping_patience: 3\nmax_train_clips: 5\n")
    later = write_yaml("b.yaml", "max_train_clips: null\n")
    run = _parse(file, later, "--tuned_layers", "none", "--early_stopping_patience", "none", tmp_path=tmp_path)
    assert run.tuning.tuned_layers is None
    assert run.training.early_stopping_patience is None
    assert run.data.max_train_clips is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("learning_rat: 1\n", r"a.yaml: no field is called 'learning_rat'. Did you mean 'learning_rate'\?"),
        ("zzzzzzzzzz: 1\n", r"a.yaml: no field is called 'zzzzzzzzzz'. `--help`"),
        ("seed: five\n", "a.yaml: seed: .*'five'"),
        ("seed: true\n", "a.yaml: seed: expected int, found True"),
        ("seed: 1.5\n", "a.yaml: seed: .*'1.5'"),
        ("tuned_layers: 2\n", r"a.yaml: tuned_layers: expected a list such as \[0, 1\], found 2"),
        ("tuned_layers: [0, x]\n", "a.yaml: tuned_layers: .*'x'"),
        ("seed: [1, 2]\n", r"a.yaml: seed: expected one value, found \[1, 2\]"),
        ("corpus: {a: 1}\n", "a.yaml: corpus: expected one value, found"),
        ("random_init: perhaps\n", "a.yaml: random_init: .*perhaps"),
        ("seed: null\n", "a.yaml: seed: expected a value, found nothing; the default is 42"),
        ("method: magic\n", "a.yaml: method: expected one of frozen, .*found 'magic'"),
        ("- 1\n", "a.yaml: expected `field: value` lines, found list"),
        ("a: [\n", "a.yaml: not readable as YAML"),
    ],
)
def test_file_and_key_are_named_when_a_value_cannot_be_used(write_yaml, tmp_path, text, message):
    with pytest.raises(ArgumentsError, match=message):
        _parse(write_yaml("a.yaml", text), tmp_path=tmp_path)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--learning_rat", "1"], r"Command line: no field is called 'learning_rat'. Did you mean 'learning_rate'\?"),
        (["--num_train", "1"], "Command line: no field is called 'num_train'"),
        (["--seed", "five"], "Command line: .*seed.*'five'"),
    ],
)
def test_command_line_is_refused_when_an_option_is_unknown_or_wrong(tmp_path, words, message):
    with pytest.raises(ArgumentsError, match=message):
        _parse(*words, tmp_path=tmp_path)


def test_help_lists_the_fields_of_every_group(capsys):
    with pytest.raises(SystemExit) as ended:
        parse_arguments(["--help"])
    assert ended.value.code == 0
    text = capsys.readouterr().out
    for name in ("--backbone", "--corpus", "--tuned_layers", "--early_stopping_patience", "--learning_rate"):
        assert name in text


def test_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"absent\.yaml: no such YAML file"):
        parse_arguments([str(tmp_path / "absent.yaml")])


def test_empty_file_changes_nothing(write_yaml, tmp_path):
    assert _parse(write_yaml("a.yaml", "# nothing\n"), tmp_path=tmp_path).training.seed == 42


def test_nested_settings_are_taken_as_mappings(write_yaml, tmp_path):
    text = "method: peft\npeft_config: {peft_type: LORA, use_dora: true}\nlr_scheduler_kwargs: {num_cycles: 2}\n"
    run = _parse(write_yaml("a.yaml", text), tmp_path=tmp_path)
    assert run.tuning.peft_config == {"peft_type": "LORA", "use_dora": True}
    assert run.training.lr_scheduler_kwargs == {"num_cycles": 2}


@pytest.mark.parametrize("method", ["adapter", "prompt", "frozen", "full", "combined"])
def test_options_of_the_replaced_method_are_left_out_when_the_method_is_overridden(write_yaml, tmp_path, method):
    file = write_yaml("a.yaml", "method: lora\nlora_rank: 4\nlora_target_modules: [q_proj]\ntuned_layers: [0, 1]\n")
    run = _parse(file, "--method", method, tmp_path=tmp_path)
    assert run.tuning.method == method
    assert run.tuning.lora_rank == (4 if method == "combined" else 8)
    assert run.tuning.lora_target_modules is None
    assert run.tuning.tuned_layers == (None if method in ("frozen", "full") else [0, 1])


def test_options_of_the_replaced_method_are_left_out_when_a_later_file_overrides_it(write_yaml, tmp_path):
    file = write_yaml("a.yaml", "method: lora\nlora_rank: 4\n")
    later = write_yaml("b.yaml", "method: prompt\nnum_prompts: 3\n")
    run = _parse(file, later, tmp_path=tmp_path)
    assert (run.tuning.lora_rank, run.tuning.num_prompts) == (8, 3)


def test_a_file_that_contradicts_itself_is_refused(write_yaml, tmp_path):
    with pytest.raises(ValueError, match="lora_rank=4 has no effect with method 'prompt'"):
        _parse(write_yaml("a.yaml", "method: prompt\nlora_rank: 4\n"), tmp_path=tmp_path)
    with pytest.raises(ValueError, match="lora_rank=4 has no effect with method 'prompt'"):
        _parse("--method", "prompt", "--lora_rank", "4", tmp_path=tmp_path)


def test_resolved_config_gives_the_same_run_when_fed_back(write_yaml, tmp_path):
    file = write_yaml(
        "a.yaml",
        "method: adapter\ntuned_layers: [0]\nadam_beta2: 0.98\nlr_scheduler_type: cosine\nbf16: true\n"
        "hub_token: secret\nreport_to: [tensorboard]\n"
        "lr_scheduler_kwargs: {num_cycles: 0.25}\nclass_balanced_loss: true\n",
    )
    run = _parse(file, tmp_path=tmp_path)
    written = tmp_path / "config_resolved.yaml"
    write_resolved_config(run, written)
    assert str(tmp_path) not in written.read_text(encoding="utf-8")
    again = parse_arguments([str(written), "--data_dir", "elsewhere", "--output_dir", "another"])
    assert resolved_config(again) == resolved_config(run)
    assert (again.model, again.tuning) == (run.model, run.tuning)
    assert dataclasses.replace(again.data, data_dir=run.data.data_dir) == run.data
    assert again.training.adam_beta2 == 0.98
    assert again.training.lr_scheduler_kwargs == {"num_cycles": 0.25}
    assert again.training.class_balanced_loss
    assert again.training.bf16
    assert "secret" not in written.read_text(encoding="utf-8")
    assert "use_cpu" not in yaml.safe_load(written.read_text(encoding="utf-8"))


@dataclass
class _ExtraArguments:
    temperature: float = field(default=1.0, metadata={"help": "Of nothing."})
    output_dir: str | None = field(default=None, metadata={"help": "Where to."})


def test_any_groups_are_read_by_the_same_rules(write_yaml):
    groups = (DataArguments, _ExtraArguments)
    file = write_yaml("a.yaml", "temperature: 1e-1\ncorpus: vivae\n")
    data, extra = parse_groups([str(file), "--corpus", "recanvo"], groups)
    assert (data.corpus, extra.temperature, extra.output_dir) == ("recanvo", 0.1, None)
    with pytest.raises(ArgumentsError, match="no field is called 'backbone'"):
        parse_groups(["--backbone", "openai/whisper-tiny"], groups)


def test_defaults_of_a_recipe_stand_below_files_and_options(write_yaml):
    groups = (DataArguments, _ExtraArguments)
    file = write_yaml("a.yaml", "temperature: 3\n")
    for arguments, expected in (([], 2.0), ([str(file)], 3.0), ([str(file), "--temperature", "4"], 4.0)):
        assert parse_groups(arguments, groups, defaults={"temperature": 2.0})[1].temperature == expected


def test_output_folder_is_named_after_the_other_values_when_nobody_names_it():
    groups = (DataArguments, _ExtraArguments)

    def name(values):
        return f"runs/{values['corpus']}"

    assert parse_groups(["--corpus", "vivae"], groups, default_output_dir=name)[1].output_dir == "runs/vivae"
    assert parse_groups(["--output_dir", "mine"], groups, default_output_dir=name)[1].output_dir == "mine"


def test_resolved_config_keeps_of_absolute_paths_the_last_part(tmp_path):
    values = resolved_config([DataArguments(corpus=str(tmp_path / "sounds"), data_dir=str(tmp_path))])
    assert values["corpus"] == "sounds"
    assert "data_dir" not in values


@dataclass
class _ListArguments:
    numbers: list[int] = field(default_factory=lambda: [1], metadata={"help": "Of nothing."})


def test_lists_among_the_defaults_are_not_shared_between_runs():
    first = parse_groups([], (_ListArguments,))[0]
    first.numbers.append(2)
    assert parse_groups([], (_ListArguments,))[0].numbers == [1]
