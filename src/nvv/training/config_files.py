"""Reads a run's arguments from YAML files and the command line, and writes them back as one YAML file.

`CONFIG.yaml [MORE.yaml …] [--any_field value …]`: later files override earlier ones, the command line overrides all. A
key that is no field is an error naming file, key and the nearest field. Values are converted by the same rules as on
the command line (so `1e-4`, which YAML reads as text, is a number here), and `null` or `none` unsets a field that may
be unset. What the fields are and which combinations are refused is left to the dataclasses.
"""

from __future__ import annotations

import copy
import dataclasses
import difflib
from argparse import Action, ArgumentError, ArgumentTypeError, Namespace
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import Enum
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, NoReturn, get_args, get_origin, get_type_hints

import yaml
from transformers import HfArgumentParser
from transformers.utils import logging

from ..files import replaced_when_complete
from .arguments import ArgumentsError, DataArguments, ModelArguments, NvvTrainingArguments
from .tuning import METHODS, OPTION_METHODS, TuningArguments

logger = logging.get_logger(__name__)

RESOLVED_CONFIG_NAME = "config_resolved.yaml"

GROUPS = (ModelArguments, DataArguments, TuningArguments, NvvTrainingArguments)

_METHODS_OF = {**OPTION_METHODS, "tuned_layers": tuple(name for name in METHODS if name not in ("full", "frozen"))}

_UNSET_WORDS = ("none", "null")
_TRAIN = "recipes/train.py"

# Set by the machine or by the launcher, or secret: they belong to no recipe.
_NOT_WRITTEN = {"hub_token", "use_cpu", "local_rank", "resume_from_checkpoint", "overwrite_output_dir", "disable_tqdm"}
# Where things are on one machine is no part of a run, and nobody's business once the folder is pushed.
_LOCATIONS = {"data_dir", "data_cache_dir", "features_cache_dir", "output_dir", "logging_dir"}
_MAY_BE_PATHS = {"corpus", "model"}


class RunArguments(NamedTuple):
    """The four groups of a run's arguments."""

    model: ModelArguments
    data: DataArguments
    tuning: TuningArguments
    training: NvvTrainingArguments


class _Parser(HfArgumentParser):
    """An `HfArgumentParser` that takes whole option names only and raises where the original ends the process."""

    def __init__(self, groups: Sequence[type] = GROUPS, *, program: str = _TRAIN, example: str | None = None) -> None:
        super().__init__(
            groups,
            prog=program,
            usage="%(prog)s [CONFIG.yaml ...] [--any_field value ...]",
            epilog=example and f"Example: {example}",
            allow_abbrev=False,
        )
        # The first action of a field: the second one of a boolean is its `--no_` form.
        self.by_field = {action.dest: action for action in reversed(self._actions) if action.dest != "help"}
        self.containers: dict[str, tuple[type, ...]] = {}
        for group in groups:
            hints = get_type_hints(group)
            for field in dataclasses.fields(group):
                kinds = get_args(hints[field.name])
                if field.init and type(None) in kinds:
                    self._let_it_be_unset(self.by_field[field.name])
                self.containers[field.name] = tuple({get_origin(kind) or kind for kind in kinds} & {dict, list})

    @staticmethod
    def _let_it_be_unset(action: Action) -> None:
        """Make `none` on the command line mean None for a field that may be None."""
        # Where `none` is itself a value (`report_to`), it stays one.
        if action.type is not None and action.default not in _UNSET_WORDS:
            action.type = _OrNone(action.type)
            action.choices = None if action.choices is None else [*action.choices, None]

    def error(self, message: str) -> NoReturn:
        """Raise the parser's complaint."""
        raise ArgumentsError(f"Command line: {message}.")


class _OrNone:
    """A command-line type that also takes `none`."""

    def __init__(self, convert: Any) -> None:
        self.convert = convert
        self.__name__ = getattr(convert, "__name__", "value")  # argparse prints it

    def __call__(self, text: str) -> Any:
        return None if text.lower() in _UNSET_WORDS else self.convert(text)


def parse_arguments(arguments: Sequence[str]) -> RunArguments:
    """Read a run's arguments from YAML files and command-line options.

    Args:
        arguments: the command line without the program's name: paths of YAML files, then options.

    Returns:
        The four groups, checked.

    Raises:
        ArgumentsError: for an unknown key or option (with the nearest field), a value of the wrong kind, or a
            combination that the groups refuse.
        FileNotFoundError: for a YAML file that is not there.

    Example:
        >>> run = parse_arguments(["--backbone", "openai/whisper-base", "--output_dir", "runs/example"])
        >>> run.model.backbone
        'openai/whisper-base'
    """
    return RunArguments(*parse_groups(arguments, GROUPS))


def parse_groups(
    arguments: Sequence[str],
    groups: Sequence[type],
    *,
    program: str = _TRAIN,
    defaults: Mapping[str, Any] | None = None,
    default_output_dir: Callable[[Mapping[str, Any]], str] | None = None,
    example: str | None = None,
) -> tuple[Any, ...]:
    """Read any dataclasses of arguments from YAML files and command-line options.

    Args:
        arguments: the command line without the program's name: paths of YAML files, then options.
        groups: the dataclasses; their field names are unique over all of them.
        program: the recipe's name, for `--help`.
        defaults: other defaults than the dataclasses' own; files and options override them.
        default_output_dir: names `output_dir` after all other values where nobody gave one.
        example: a command line that can be run as it is, for the end of `--help`.

    Returns:
        One checked instance of each dataclass.

    Raises:
        ArgumentsError: as `parse_arguments`.
        FileNotFoundError: for a YAML file that is not there.
    """
    files, options = _split_command_line(arguments)
    parser = _parser_of(tuple(groups), program, example)
    sources = [(str(file), _read_yaml(file, parser=parser)) for file in files]
    _drop_options_of_other_methods(sources, on_command_line=_named_options(options, parser=parser))
    lower = dict(defaults or {})
    for _, values in sources:
        lower |= values
    # Handed over as what is set already: the parser itself, which takes time to make, is left as it is.
    namespace, unknown = parser.parse_known_args(options, Namespace(**copy.deepcopy(lower)))
    if unknown:
        raise ArgumentsError(f"Command line: {_unknown(unknown[0].lstrip('-').split('=')[0], parser=parser)}")
    # Copies: lists among the defaults are the parser's own.
    values = {name: None if value == [None] else copy.copy(value) for name, value in vars(namespace).items()}
    if default_output_dir is not None and not values["output_dir"]:
        values["output_dir"] = default_output_dir(values)
    try:
        return tuple(group(**_values_of(group, values)) for group in groups)
    except ArgumentsError:
        raise
    except ValueError as error:  # from the tuning group or from transformers
        raise ArgumentsError(str(error)) from error


@cache
def _parser_of(groups: tuple[type, ...], program: str, example: str | None) -> _Parser:
    """Make the parser of some groups, once: a sweep reads hundreds of runs."""
    return _Parser(groups, program=program, example=example)


def _named_options(options: Sequence[str], *, parser: _Parser) -> dict[str, str | None]:
    """Return the fields that the command line sets, with the word that follows each."""
    named = {}
    for word, following in zip(options, [*options[1:], None], strict=False):
        name, _, value = word.partition("=")
        field = name.lstrip("-").replace("-", "_")
        if name.startswith("--") and field in parser.by_field:
            named[field] = value or following
    return named


def _drop_options_of_other_methods(
    sources: Sequence[tuple[str, dict[str, Any]]], *, on_command_line: Mapping[str, str | None]
) -> None:
    """Take out of earlier files what belongs to a tuning method that a later file or the command line replaces.

    So `lora.yaml --method prompt` works, while a file that contradicts itself is still refused by `TuningArguments`.
    """
    method = on_command_line.get("method")
    for at in range(len(sources) - 1, -1, -1):
        file, values = sources[at]
        replaced = method is not None
        method = method or values.get("method")
        for option in sorted(set(values) & set(_METHODS_OF)) if replaced else ():
            if method not in _METHODS_OF[option] and option not in on_command_line:
                logger.warning(f"{file}: {option} is left out, as it does not belong to method {method}.")
                del values[option]


def _split_command_line(arguments: Sequence[str]) -> tuple[list[Path], list[str]]:
    """Split the command line into leading YAML files and options."""
    first_option = next((at for at, word in enumerate(arguments) if word.startswith("-")), len(arguments))
    return [Path(word) for word in arguments[:first_option]], list(arguments[first_option:])


def _values_of(group: type, values: Mapping[str, Any]) -> dict[str, Any]:
    """Pick the values that belong to one group."""
    return {field.name: values[field.name] for field in dataclasses.fields(group) if field.init}


def _unknown(name: str, *, parser: _Parser) -> str:
    """Say that no field has this name, and which comes nearest."""
    nearest = difflib.get_close_matches(name, parser.by_field, n=1, cutoff=0.5)
    hint = f" Did you mean {nearest[0]!r}?" if nearest else " `--help` lists all fields."
    return f"no field is called {name!r}.{hint}"


def _read_yaml(file: Path, *, parser: _Parser) -> dict[str, Any]:
    """Read one YAML file into checked values by field name."""
    if not file.is_file():
        raise FileNotFoundError(f"{file}: no such YAML file. Options start with --, YAML files come before them.")
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ArgumentsError(f"{file}: not readable as YAML: {_without_content(error)}") from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ArgumentsError(f"{file}: expected `field: value` lines, found {type(content).__name__}.")
    values = {}
    for name, value in content.items():
        action = parser.by_field.get(str(name))
        if action is None:
            raise ArgumentsError(f"{file}: {_unknown(str(name), parser=parser)}")
        try:
            values[str(name)] = _convert(value, action=action, containers=parser.containers[str(name)])
        except (ValueError, TypeError, ArgumentError, ArgumentTypeError) as error:
            if name == "hub_token":  # the reason would show it
                raise ArgumentsError(f"{file}: {name}: expected one token, as text.") from None
            raise ArgumentsError(f"{file}: {name}: {error}") from error
    return values


def _without_content(error: yaml.YAMLError) -> str:
    """Say what is wrong with a file and where, without its lines: one of them may hold a token."""
    mark = getattr(error, "problem_mark", None)
    where = "" if mark is None else f" in line {mark.line + 1}, column {mark.column + 1}"
    return f"{getattr(error, 'problem', None) or type(error).__name__}{where}"


def _convert(value: Any, *, action: Action, containers: tuple[type, ...]) -> Any:
    """Convert a YAML value as the command line would convert its text."""
    if value is None:
        if not isinstance(action.type, _OrNone) and action.default is not None:
            raise ArgumentTypeError(f"expected a value, found nothing; the default is {action.default!r}")
        return None
    if isinstance(value, dict) and dict in containers:
        return value  # nested settings such as `lr_scheduler_kwargs`, which the command line takes as JSON text
    if isinstance(value, list) and (action.nargs == "+" or list in containers):
        return [_convert_scalar(element, action=action) for element in value]
    if action.nargs == "+":
        raise ArgumentTypeError(f"expected a list such as [0, 1], found {value!r}")
    return _convert_scalar(value, action=action)


def _convert_scalar(value: Any, *, action: Action) -> Any:
    """Convert one YAML scalar by the option's type."""
    if isinstance(value, (list, dict)):
        raise ArgumentTypeError(f"expected one value, found {value!r}")
    convert = action.type.convert if isinstance(action.type, _OrNone) else action.type
    if isinstance(value, bool) and convert in (int, float, str):
        raise ArgumentTypeError(f"expected {convert.__name__}, found {value!r}")
    converted = convert(str(value))
    if action.choices is not None and converted not in action.choices:
        raise ArgumentTypeError(f"expected one of {', '.join(map(str, action.choices))}; found {value!r}")
    return converted


def resolved_config(arguments: Iterable[Any]) -> dict[str, Any]:
    """Return the arguments as a mapping that `parse_arguments` or `parse_groups` reads back from YAML.

    Args:
        arguments: the groups, such as a `RunArguments`.

    Returns:
        Every field of the model, data and tuning groups, and of the training group what `nvv` defines or what differs
        from the base class's defaults. Secrets, folders, and what the machine or the launcher sets are left out; of a
        corpus named by an absolute path the last part stays.
    """
    values: dict[str, Any] = {}
    for group in arguments:
        for field in dataclasses.fields(group):
            if not field.init or field.name in _NOT_WRITTEN | _LOCATIONS:
                continue
            if isinstance(group, NvvTrainingArguments) and not _is_telling(group, field=field):
                continue
            values[field.name] = _plain(getattr(group, field.name))
    for name in _MAY_BE_PATHS & set(values):
        if values[name] is not None and (Path(values[name]).is_absolute() or values[name].startswith("~")):
            values[name] = Path(values[name]).name  # where it lies is not the run's, what it is called is
    return values


def _is_telling(training: NvvTrainingArguments, *, field: dataclasses.Field) -> bool:
    """Say whether a training field is ours, or was set by hand."""
    if field.name in NvvTrainingArguments.__annotations__ or field.name == "seed":
        return True
    value = getattr(training, field.name)
    plain_types = (bool, int, float, str, list, dict, Enum)
    return isinstance(value, plain_types) and _plain(value) != _plain(_base_defaults()[field.name])


@cache
def _base_defaults() -> dict[str, Any]:
    """Return the training fields as they are when nothing is set.

    Made once, before any Trainer: making training arguments takes accelerate's state from one that is there.
    """
    untouched = NvvTrainingArguments(output_dir="unused")
    return {field.name: getattr(untouched, field.name) for field in dataclasses.fields(untouched)}


def _plain(value: Any) -> Any:
    """Turn enumeration members into the words that YAML and the command line use."""
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, (list, tuple)):
        return [_plain(element) for element in value]
    return value


def write_resolved_config(arguments: Iterable[Any], file: Path, *, program: str = _TRAIN) -> None:
    """Write the arguments as YAML, to a temporary name first.

    Args:
        arguments: the groups, such as a `RunArguments`.
        file: the YAML file to write.
        program: the recipe that reads it back.
    """
    text = (
        "# Every setting of this run but its folders; feed it back with:\n"
        f"#   {program} THIS_FILE --data_dir WHERE_THE_CORPUS_IS --output_dir ANOTHER_FOLDER\n"
    )
    text += yaml.safe_dump(resolved_config(arguments), sort_keys=False, allow_unicode=True)
    with replaced_when_complete(file) as temporary:
        temporary.write_text(text, encoding="utf-8")
