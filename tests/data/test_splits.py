import random
from collections import Counter
from itertools import combinations, product

import pytest

from nvv.data.splits import SPLITS, manifest_digest, speaker_split, stratified_split


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


def test_speaker_split_covers_every_class_as_well_as_any_when_speakers_are_few():
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
        best = min(cost_of(assignment, profiles) for assignment in product(range(3), repeat=8))
        assert found[0] == best[0]
        assert found[1] <= 1.5 * best[1]


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


SPEAKER_DIGEST = "d5a17466360e0d436db524b5cc88bf9a1bb30621b13e08b143249311d78d8f8b"
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
    with pytest.raises(ValueError, match="at least 3 speakers, found"):
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
