"""Probe a frozen backbone: compute its features once, train linear heads on them, and say which layers know what.

    accelerate launch recipes/probe.py --corpus nonverbal_vocalization --data_dir PATH_TO/nonverbal_vocalization \
        --backbone openai/whisper-tiny

Any number of YAML files, then any options: later files override earlier ones, options override files. Every option is
listed by `--help`, and every rule is in `nvv.training`. Without a network, add `--random_init true`. The same command
again reads the features from the cache and replaces its own results.
"""

from __future__ import annotations

import sys

from nvv.audio import AudioError
from nvv.data import CorpusError
from nvv.training.arguments import ArgumentsError
from nvv.training.config_files import GROUPS, RunArguments, parse_groups
from nvv.training.probe import PROGRAM, ProbeResult, probe
from nvv.training.probe_arguments import ProbeArguments, default_output_dir
from nvv.training.push import PushError
from nvv.training.results import ResultsError


def main() -> None:
    """Read the arguments, probe, and say what came out and where everything is."""
    try:
        *groups, probe_arguments = parse_groups(
            sys.argv[1:],
            (*GROUPS, ProbeArguments),
            program=PROGRAM,
            defaults={"method": "frozen"},
            default_output_dir=default_output_dir,
        )
        arguments = RunArguments(*groups)
        result = probe(arguments, probe_arguments)
    except (ArgumentsError, AudioError, CorpusError, FileNotFoundError, PushError, ResultsError) as error:
        # These messages say what to mend; a traceback would bury them.
        sys.exit(f"{type(error).__name__}: {error}")
    if arguments.training.process_index == 0:
        tell(result)


def tell(result: ProbeResult) -> None:
    """Print the scores with their intervals, the best hidden state, how long it took and where everything is."""
    report = result.report
    main_probe, interval, seeds = report["main"], report["interval"], report["seeds"]
    name = "weighted sum" if main_probe["is_weighted_sum"] else f"hidden state {main_probe['hidden_states'][0]}"
    print(
        f"{name}, weight decay {main_probe['weight_decay']:g}, mean of {len(seeds)} seed{'s' * (len(seeds) > 1)} "
        f"(95 % bootstrap interval over test {interval['unit']}s):"
    )
    for metric in ("macro_f1", "uar", "accuracy"):
        print(f"  test {metric}: {_score(main_probe['test'][metric])}")
    if report["best_layer"] is not None:
        best = report["layers"][report["best_layer"]]
        score = _score(best["test"]["macro_f1"])
        print(f"best hidden state by validation: {report['best_layer']}, test macro_f1: {score}")
    if report["corpus"]["is_synthetic"] or report["backbone"]["random_init"]:
        print("Random weights or computed sounds: these scores are evidence of nothing.")
    features, timing = report["features"], report["timing"]
    print(
        f"{features['num_clips']} clips, {features['num_cached']} of them from the cache: "
        f"{timing['features_s']:.1f} s; heads: {timing['heads_s']:.1f} s; in all {timing['total_s']:.1f} s."
    )
    print(f"Model repository, card, metrics.json, probe.json, predictions.csv and plots: {result.output_dir}")


def _score(score: dict[str, float]) -> str:
    deviation = "" if score["standard_deviation"] is None else f" ± {score['standard_deviation']:.3f} over seeds"
    return f"{score['mean']:.3f}{deviation} ({score['low']:.3f} to {score['high']:.3f})"


if __name__ == "__main__":
    main()
