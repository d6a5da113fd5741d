import hashlib
import random
from collections import Counter
from itertools import combinations, product

import pytest

from nvv.data.splits import (
    SPLITS,
    SplitError,
    fold_split,
    manifest_digest,
    random_folds,
    speaker_folds,
    speaker_split,
    stratified_split,
    unmet_wishes,
)


def made_up_corpus(num_speakers: int = 40, num_classes: int = 5) -> tuple[list[str], dict[str, str], dict[str, str]]:
    """Speaker s has 1 to 6 clips, of class (s + clip) modulo the number of classes."""
    files, labels, speakers = [], {}, {}
    for speaker in range(num_speakers):
        for clip in range(1 + speaker % 6):
            file = f"speaker{speaker:03d}/{clip}.wav"
            files.append(file)
            labels[file] = f"class{(speaker + clip) % num_classes}"
            speakers[file] = f"speaker{speaker:03d}"
    return files, labels, speakers


def table(split_of: dict[str, str], labels: dict[str, str]) -> dict[str, tuple[int, ...]]:
    counts = Counter((labels[file], split) for file, split in split_of.items())
    return {label: tuple(counts[label, split] for split in SPLITS) for label in sorted(set(labels.values()))}


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (1, (1, 0, 0)),
        (2, (1, 0, 1)),
        (3, (1, 1, 1)),  # 2.4, 0.3, 0.3: floors 2, 0, 0 and one to train; train then gives one to each
        (5, (3, 1, 1)),  # 4, 0.5, 0.5: the one left over goes to validation, train gives one to test
        (10, (8, 1, 1)),
        (24, (19, 3, 2)),  # 19.2, 2.4, 2.4: the one left over goes to validation
        (25, (20, 3, 2)),  # 20, 2.5, 2.5
        (51, (41, 5, 5)),  # 40.8, 5.1, 5.1
        (100, (80, 10, 10)),
    ],
)
def test_stratified_shares_follow_the_largest_remainder_when_class_has(number, expected):
    files = [f"{index}.wav" for index in range(number)]
    labels = dict.fromkeys(files, "laugh")
    assert table(stratified_split(files, labels=labels), labels) == {"laugh": expected}


def test_stratified_shares_follow_the_weights_when_given():
    files = [f"{index}.wav" for index in range(20)]
    labels = dict.fromkeys(files, "laugh")
    assert table(stratified_split(files, labels=labels, weights=(14, 3, 3)), labels) == {"laugh": (14, 3, 3)}


def test_stratified_split_orders_each_class_by_digest():
    # sha256: a ca978112…, b 3e23e816…, c 2e7d2c03…; in digest order c, b, a, so c trains, b validates, a tests.
    assert stratified_split(["a", "b", "c"], labels=dict.fromkeys("abc", "x")) == {
        "a": "test",
        "b": "validation",
        "c": "train",
    }


def test_speaker_split_keeps_speakers_apart_and_classes_everywhere():
    files, labels, speakers = made_up_corpus()
    split_of = speaker_split(files, labels=labels, speakers=speakers)
    of_speaker = {}
    for file, split in split_of.items():
        assert of_speaker.setdefault(speakers[file], split) == split
    assert set(split_of) == set(files)
    for label, counts in table(split_of, labels).items():
        number = sum(counts)
        for count, share in zip(counts, (0.8, 0.1, 0.1), strict=True):
            assert abs(count - share * number) <= 1, label


def cost_of(assignment, profiles, weights=(8, 1, 1)) -> tuple[int, int]:
    """The pair (missing, cost) straight from the docstring."""
    whole = sum(weights)
    totals = Counter()
    for profile in profiles:
        totals.update(profile)
    missing = cost = 0
    for part, weight in enumerate(weights):
        counts = Counter()
        for profile, where in zip(profiles, assignment, strict=True):
            if where == part:
                counts.update(profile)
        for label, total in totals.items():
            missing += counts[label] == 0
            cost += (whole * counts[label] - weight * total) ** 2 * 1_000_000 // (weight * total * whole)
    return missing, cost


def test_no_split_is_better_when_speakers_are_few():
    # Eight speakers with uneven classes, as in ReCANVo; all 3**8 assignments are tried.
    rng = random.Random(1)
    for _ in range(3):
        profiles = [Counter({label: rng.randrange(0, 60) for label in "abcd"}) for _ in range(8)]
        files, labels, speakers = [], {}, {}
        for speaker, profile in enumerate(profiles):
            for label, number in profile.items():
                for clip in range(number):
                    file = f"{speaker}-{label}-{clip}"
                    files.append(file)
                    labels[file], speakers[file] = label, str(speaker)
        split_of = speaker_split(files, labels=labels, speakers=speakers)
        of_speaker = {speakers[file]: SPLITS.index(split) for file, split in split_of.items()}
        found = cost_of([of_speaker[str(speaker)] for speaker in range(8)], profiles)
        assert found == min(cost_of(assignment, profiles) for assignment in product(range(3), repeat=8))


def test_first_of_equal_splits_is_taken_when_speakers_are_few():
    # Four speakers with one clip each: two train, one validates, one tests, in twelve equal ways. In digest order the
    # speakers are d (18ac…), c (2e7d…), b (3e23…), a (ca97…).
    files = list("abcd")
    split_of = speaker_split(files, labels=dict.fromkeys(files, "x"), speakers={file: file for file in files})
    assert split_of == {"d": "train", "c": "train", "b": "validation", "a": "test"}


@pytest.mark.parametrize("num_speakers", [3, 5, 12, 13, 20])
def test_no_part_is_empty_when_speakers_have_a_class_each(num_speakers):
    # An empty part lacks no more classes than another that lacks the same ones, so it must count by itself.
    files = [f"{speaker}-{clip}" for speaker in range(num_speakers) for clip in range(3)]
    speakers = {file: file.partition("-")[0] for file in files}
    split_of = speaker_split(files, labels=speakers, speakers=speakers)
    assert set(split_of.values()) == set(SPLITS)
    parts = speaker_folds(files, labels=speakers, speakers=speakers, num_folds=min(num_speakers, 10))
    assert set(parts.values()) == set(range(min(num_speakers, 10)))


def test_speaker_folds_keep_speakers_apart_and_classes_everywhere():
    files, labels, speakers = made_up_corpus(num_speakers=60)
    parts = speaker_folds(files, labels=labels, speakers=speakers)
    assert list(parts) == sorted(files)
    assert set(parts.values()) == set(range(10))
    of_speaker = {}
    for file, part in parts.items():
        assert of_speaker.setdefault(speakers[file], part) == part
    assert set(Counter(parts.values()).values()) == {21}  # 210 clips in ten parts
    for label in set(labels.values()):  # 42 clips of each class, so 4 or 5 in each of ten parts
        counts = Counter(part for file, part in parts.items() if labels[file] == label)
        assert {counts[part] for part in range(10)} == {4, 5}


def test_each_speaker_is_a_fold_when_there_are_as_many():
    files, labels, speakers = made_up_corpus(num_speakers=8)
    parts = speaker_folds(files, labels=labels, speakers=speakers, num_folds=8)
    assert len({(speakers[file], part) for file, part in parts.items()}) == 8
    assert len(set(parts.values())) == 8


def test_random_folds_take_a_tenth_each_and_the_last_the_rest():
    files = [f"{index}.wav" for index in range(37)]
    parts = random_folds(files)
    assert Counter(parts.values()) == {**dict.fromkeys(range(9), 3), 9: 10}
    by_digest = sorted(files, key=lambda file: hashlib.sha256(file.encode()).hexdigest())
    assert [parts[file] for file in by_digest] == [index // 3 for index in range(27)] + [9] * 10


def test_fold_tests_on_its_part_and_validates_on_the_next():
    parts = {f"{part}.wav": part for part in range(10)}
    for fold in range(10):
        split_of = fold_split(parts, fold)
        assert split_of[f"{fold}.wav"] == "test"
        assert split_of[f"{(fold + 1) % 10}.wav"] == "validation"
        assert Counter(split_of.values())["train"] == 8
    with pytest.raises(ValueError, match="fold must be 0 to 9, got 10"):
        fold_split(parts, 10)


@pytest.mark.parametrize("make", [speaker_folds, random_folds])
def test_folds_are_refused_when_there_are_too_few(make):
    files = [str(number) for number in range(9)]
    known = {"labels": dict.fromkeys(files, "x"), "speakers": {file: file for file in files}}
    arguments = known if make is speaker_folds else {}
    with pytest.raises(SplitError, match="at least 10"):
        make(files, **arguments)
    with pytest.raises(ValueError, match="num_folds"):
        make(files, **arguments, num_folds=2)


def test_unmet_wishes_are_said_in_words():
    split_of = {"a": "train", "b": "train", "c": "train", "d": "validation", "e": "test"}
    labels = {"a": "laugh", "b": "sigh", "c": "gasp", "d": "laugh", "e": None}
    speakers = {file: "one" if file in "abc" else file for file in split_of}
    assert unmet_wishes(
        split_of, labels=labels, speakers=speakers, wanted=dict(zip(SPLITS, (8, 1, 1), strict=True))
    ) == [
        "`validation` and `test` have no `gasp`: the corpus has 1 speaker of it.",
        "`test` has no `laugh`: the corpus has 2 speakers of it.",
        "`validation` and `test` have no `sigh`: the corpus has 1 speaker of it.",
        "`train`, `validation` and `test` hold a single speaker each.",
        "`train` holds 60 % of the clips instead of 80 %.",
        "`validation` holds 20 % of the clips instead of 10 %.",
        "`test` holds 20 % of the clips instead of 10 %.",
    ]
    assert unmet_wishes({"a": 0, "b": 1}, labels={"a": "laugh", "b": "sigh"}) == [
        "part 1 has no `laugh`: the corpus has 1 clip of it.",
        "part 0 has no `sigh`: the corpus has 1 clip of it.",
    ]
    assert unmet_wishes({"a": 0, "b": 1}, labels={"a": "laugh", "b": "laugh"}, wanted={0: 1, 1: 1}) == []
    # With speakers and nothing to say: two speakers a part, the class in both.
    files = {file: int(file in "cd") for file in "abcd"}
    same = {file: file for file in files}
    assert unmet_wishes(files, labels=dict.fromkeys(files, "x"), speakers=same, wanted={0: 1, 1: 1}) == []


def uneven_corpus(seed: int) -> tuple[list[str], dict[str, str], dict[str, str]]:
    """Twenty speakers of 1 to 11 clips, the last of four classes most frequent."""
    rng = random.Random(seed)
    files, labels, speakers = [], {}, {}
    for speaker in range(20):
        for clip in range(rng.randrange(1, 12)):
            file = f"{speaker:02d}/{clip}"
            files.append(file)
            labels[file], speakers[file] = "abcd"[min(rng.randrange(8), 3)], str(speaker)
    return files, labels, speakers


@pytest.mark.parametrize("seed", range(5, 13))
def test_speaker_split_cannot_be_bettered_by_a_move_or_a_swap(seed):
    files, labels, speakers = uneven_corpus(seed)
    split_of = speaker_split(files, labels=labels, speakers=speakers)
    names = sorted(set(speakers.values()))
    profiles = [Counter(labels[file] for file in files if speakers[file] == name) for name in names]
    of_speaker = {speakers[file]: SPLITS.index(split) for file, split in split_of.items()}
    assignment = [of_speaker[name] for name in names]
    found = cost_of(assignment, profiles)
    for index, part in product(range(len(names)), range(3)):
        assert cost_of([*assignment[:index], part, *assignment[index + 1 :]], profiles) >= found
    for first, second in combinations(range(len(names)), 2):
        swapped = list(assignment)
        swapped[first], swapped[second] = swapped[second], swapped[first]
        assert cost_of(swapped, profiles) >= found


def test_splits_do_not_depend_on_the_order_of_the_files():
    files, labels, speakers = made_up_corpus()
    shuffled = list(files)
    random.Random(0).shuffle(shuffled)
    assert list(speaker_split(shuffled, labels=labels, speakers=speakers).items()) == list(
        speaker_split(files, labels=labels, speakers=speakers).items()
    )
    assert list(stratified_split(shuffled, labels=labels).items()) == list(
        stratified_split(files, labels=labels).items()
    )


def test_splits_stay_as_pinned():
    # A change here changes everybody's results: raise the version and say so.
    files, labels, speakers = made_up_corpus()
    assert manifest_digest(speaker_split(files, labels=labels, speakers=speakers)) == SPEAKER_DIGEST
    assert manifest_digest(stratified_split(files, labels=labels)) == STRATIFIED_DIGEST
    assert manifest_digest(speaker_folds(files, labels=labels, speakers=speakers)) == FOLDS_DIGEST
    assert manifest_digest(random_folds(files)) == RANDOM_FOLDS_DIGEST
    few = {file: speaker for file, speaker in speakers.items() if speaker < "speaker008"}
    assert manifest_digest(speaker_split(list(few), labels=labels, speakers=few)) == FEW_SPEAKERS_DIGEST


SPEAKER_DIGEST = "d5a17466360e0d436db524b5cc88bf9a1bb30621b13e08b143249311d78d8f8b"
FOLDS_DIGEST = "96d986217851622985b81655dc471eaee3cd9ed091f2181a5c59a4ca89eaf205"
RANDOM_FOLDS_DIGEST = "9b9324abf9f21bb208ab3c8414437d8492c64fa2041706fbe45faae437b25630"
FEW_SPEAKERS_DIGEST = "41795dad21c0578562af722a2e3ca113167d63a2a6fa2e5ee821a2f73dd9ac4d"
STRATIFIED_DIGEST = "78668ec9e010cf8a4c7c425f6946fec102ddd017ec34a53578a0f436035ac247"


def test_splits_work_when_there_are_no_classes():
    files = [f"{index}.wav" for index in range(30)]
    labels = dict.fromkeys(files)
    speakers = {file: str(index // 2) for index, file in enumerate(files)}
    assert Counter(stratified_split(files, labels=labels).values()) == {"train": 24, "validation": 3, "test": 3}
    # 15 speakers of two clips: parts are even, the nearest to 24, 3, 3.
    numbers = Counter(speaker_split(files, labels=labels, speakers=speakers).values())
    assert numbers["train"] in (22, 24, 26)
    assert min(numbers["validation"], numbers["test"]) >= 2


def test_speaker_split_is_refused_when_there_are_two_speakers():
    files = ["a", "b", "c"]
    with pytest.raises(ValueError, match="at least 3 speakers, found 2"):
        speaker_split(files, labels=dict.fromkeys(files, "x"), speakers={"a": "1", "b": "2", "c": "2"})


@pytest.mark.parametrize("weights", [(8, 1), (8, 1, 0), (8, 1, 1.0), (True, 1, 1), (-8, 1, 1)])
def test_splits_are_refused_when_weights_are(weights):
    with pytest.raises(ValueError, match="weights"):
        stratified_split(["a"], labels={"a": "x"}, weights=weights)


def test_splits_are_refused_when_files_are_missing_or_repeated():
    with pytest.raises(ValueError, match="no files"):
        stratified_split([], labels={})
    with pytest.raises(ValueError, match="'a'; each must be unique"):
        stratified_split(["a", "a"], labels={"a": "x"})


def test_manifest_digest_is_that_of_the_sorted_lines():
    # printf 'a\ttest\nb\ttrain\n' | sha256sum
    expected = "2f358694f66d3f5ed3e4a67f864fb457be1c30e70ad121bdad5de16a450e3c9c"
    assert manifest_digest({"b": "train", "a": "test"}) == expected
