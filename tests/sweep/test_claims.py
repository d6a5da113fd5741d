import json

import pytest

from nvv.sweep.claims import check_claims, verdict_of
from nvv.sweep.settings import Claim, ReportError
from nvv.sweep.significance import AnswerStore, Comparison
from nvv.sweep.systems import with_systems
from nvv.sweep.table import collect_results

ROWS, COLUMNS = ("backbone", "layers", "hidden_states"), ("method",)


CLAIM = {
    "name": "lora",
    "statement": "LoRA is better.",
    "source": "somebody",
    "metric": "uar",
    "better": {"method": "lora"},
    "than": {"method": "frozen"},
}


def check(folder, **fields):
    table = with_systems(collect_results(folder), rows=ROWS, columns=COLUMNS)
    [result] = check_claims(table, [Claim(**{**CLAIM, **fields})], AnswerStore(folder), num_resamples=500)
    return result


def lora_and_frozen(lora, frozen, **changes):
    return [{"method": "lora", "right": lora, **changes}, {"method": "frozen", "right": frozen, **changes}]


@pytest.mark.parametrize(
    ("lora", "frozen", "verdict"), [(0.8, 0.5, "holds"), (0.5, 0.8, "does not hold"), (0.51, 0.5, "undecided")]
)
def test_verdict_is_the_one_that_the_answers_were_made_for(made_up_sweep, lora, frozen, verdict):
    result = check(made_up_sweep(*lora_and_frozen(lora, frozen)))
    assert result.verdict == verdict
    [corpus] = result.corpora
    assert (corpus.corpus, corpus.protocol, corpus.verdict) == ("vivae", "speaker", verdict)
    [pair] = corpus.pairs
    assert (pair.better, pair.than) == ("whisper-tiny, lora", "whisper-tiny, frozen")
    assert pair.comparison.difference == pytest.approx(lora - frozen, abs=0.02)


def test_a_claim_holds_over_all_only_where_it_holds_on_every_corpus(made_up_sweep):
    result = check(
        made_up_sweep(*lora_and_frozen(0.8, 0.5), *lora_and_frozen(0.51, 0.5, corpus="recanvo"), name="undecided")
    )
    assert [corpus.verdict for corpus in result.corpora] == ["holds", "undecided"]
    assert result.verdict == "undecided"
    result = check(
        made_up_sweep(*lora_and_frozen(0.8, 0.5), *lora_and_frozen(0.4, 0.7, corpus="recanvo"), name="reversed")
    )
    assert [corpus.verdict for corpus in result.corpora] == ["holds", "does not hold"]
    assert result.verdict == "does not hold"


def test_systems_are_matched_by_the_named_columns(made_up_sweep):
    runs = [
        {"backbone": backbone, **run}
        for backbone in ("openai/whisper-tiny", "openai/whisper-base")
        for run in lora_and_frozen(0.8, 0.5)
    ]
    folder = made_up_sweep(*runs)
    assert len(check(folder).pairs) == 4
    matched = check(folder, matched_by=("backbone",)).pairs
    assert [(pair.better, pair.than) for pair in matched] == [
        ("whisper-tiny, lora", "whisper-tiny, frozen"),
        ("whisper-base, lora", "whisper-base, frozen"),
    ]


def test_best_by_validation_is_chosen_without_a_look_at_test(made_up_sweep):
    folder = made_up_sweep(
        # Better on test, but validation says otherwise.
        {"backbone": "openai/whisper-tiny", "right": 0.9, "right_on_validation": 0.5},
        {"backbone": "openai/whisper-base", "right": 0.6, "right_on_validation": 0.7},
        {"backbone": "facebook/wav2vec2-base", "right": 0.8, "right_on_validation": 0.6},
        {"backbone": "facebook/hubert-base-ls960", "right": 0.5, "right_on_validation": 0.5},
    )
    result = check(
        folder, better={"family": "whisper"}, than={"family": ["wav2vec2", "hubert"]}, take="best_by_validation"
    )
    [pair] = result.pairs
    assert (pair.better, pair.than) == ("whisper-base, frozen", "wav2vec2-base, frozen")
    assert result.verdict == "does not hold"


def test_the_four_claims_of_the_study_can_be_told_apart(made_up_sweep):
    # Made so that later layers know more (3), and tuning the earlier ones adapts better (4).
    folder = made_up_sweep(
        {"summed_layers": [1, 2], "right": 0.4},
        {"summed_layers": [3, 4], "right": 0.7},
        {"method": "lora", "tuned_layers": [0, 1], "right": 0.9},
        {"method": "lora", "tuned_layers": [2, 3], "right": 0.6},
    )
    later = check(
        folder,
        better={"method": "frozen", "hidden_states": ["3-4", "4-6"]},
        than={"method": "frozen", "hidden_states": ["1-2", "1-3"]},
        matched_by=("backbone",),
    )
    earlier = check(folder, better={"layers": "0-1"}, than={"layers": "2-3"}, matched_by=("backbone",))
    assert (later.verdict, earlier.verdict) == ("holds", "holds")
    assert earlier.pairs[0].better == "whisper-tiny, layers 0-1, lora"
    opposite = check(folder, better={"layers": "2-3"}, than={"layers": "0-1"})
    assert opposite.verdict == "does not hold"


def test_what_is_missing_is_said(made_up_sweep):
    folder = made_up_sweep(
        *lora_and_frozen(0.8, 0.5),
        {"method": "lora", "seed": 2, "status": "failed"},
        {"method": "lora", "corpus": "recanvo", "status": "not run"},
        {"method": "frozen", "corpus": "recanvo"},
        {"method": "frozen", "corpus": "cnvve"},
    )
    result = check(folder)
    reasons = {corpus.corpus: list(corpus.reasons) for corpus in result.corpora}
    assert reasons == {
        "vivae": ["1 of 3 runs are missing"],
        "recanvo": ["1 of 2 runs are missing"],
        "cnvve": ["no two systems to compare"],
    }
    assert [corpus.verdict for corpus in result.corpora] == ["holds", "not tested", "not tested"]
    assert result.verdict == "holds"


def test_a_claim_that_nothing_fits_is_not_tested(made_up_sweep):
    result = check(made_up_sweep({}), better={"method": "adapter"})
    assert result.verdict == "not tested"
    assert result.as_mapping()["mean_difference"] is None


def test_clips_that_differ_are_a_reason_and_no_failure(made_up_sweep):
    result = check(made_up_sweep({"method": "lora"}, {"num_clips": 60}))
    assert result.verdict == "not tested"
    assert "expected the clips and labels of" in result.corpora[0].reasons[0]


def test_random_weights_and_computed_sounds_are_caveats(made_up_sweep):
    result = check(made_up_sweep(*lora_and_frozen(0.8, 0.5, random_init=True, is_synthetic=True)))
    assert [caveat.split(":")[0] for caveat in result.caveats] == ["random weights", "computed sounds"]
    assert check(made_up_sweep(*lora_and_frozen(0.8, 0.5), name="real")).caveats == []


def test_columns_that_are_not_there_are_refused(made_up_sweep):
    folder = made_up_sweep(*lora_and_frozen(0.8, 0.5))
    with pytest.raises(ReportError, match="claim lora: expected a column of the results table, found 'size'"):
        check(folder, better={"size": "tiny"})
    with pytest.raises(ReportError, match=r"claim lora: matched_by: .* found 'size'"):
        check(folder, matched_by=("size",))


def test_a_result_is_written_with_its_counts(made_up_sweep):
    folder = made_up_sweep(*lora_and_frozen(0.8, 0.5), *lora_and_frozen(0.4, 0.7, corpus="recanvo"))
    written = json.loads(json.dumps(check(folder).as_mapping()))
    assert (written["num_comparisons"], written["num_in_favour"], written["num_against"]) == (2, 1, 1)
    assert written["mean_difference"] == pytest.approx(0, abs=0.02)
    assert written["corpora"][0]["pairs"][0]["comparison"]["unit"] == "speaker"


def comparison(difference, low, high, p_value):
    return Comparison(difference=difference, low=low, high=high, p_value=p_value, num_clips=1, num_pairs=1, unit="clip")


def test_one_reversal_is_corrected_for_the_number_of_comparisons():
    reversed_ = comparison(-0.05, -0.09, -0.01, 0.02)
    unclear = comparison(0.0, -0.1, 0.1, 0.9)
    assert verdict_of([reversed_]) == "does not hold"
    # By hand: 0.02 times three comparisons is 0.06, no longer below 0.05.
    assert verdict_of([reversed_, unclear, unclear]) == "undecided"
    assert verdict_of([]) == "not tested"
