import dataclasses

import datasets
import pytest
from huggingface_hub import DatasetCard

from nvv.data import CorpusFacts
from nvv.hub.dataset_card import DatasetCardFacts, PreparedConfig, render_dataset_card
from nvv.hub.dataset_summary import AudioSummary, ProtocolSummary, TargetSummary
from nvv.version import __version__


@pytest.fixture
def card_facts() -> DatasetCardFacts:
    """Four frogs: two croaks by s1, a peep each by s2 and s3; 18 s in all, two clips with the same bytes."""
    features = datasets.Features(
        {
            "audio": datasets.Audio(),
            "label": datasets.ClassLabel(names=["croak", "peep"]),
            "file": datasets.Value("string"),
        }
    )
    splits = ("train", "validation", "test")
    return DatasetCardFacts(
        facts=CorpusFacts(
            name="frogs",
            pretty_name="Frogs",
            licence="cc-by-4.0",
            licence_url="https://example.org/by",
            homepage="https://example.org/frogs",
            citation="@misc{frogs}",
            summary="Four frogs.",
            notes=("They croak.",),
            terms="Whoever takes them feeds them.",
            no_public_copies="Frogs are shy.",
        ),
        features=features,
        labels=("croak", "peep"),
        audio=AudioSummary(
            num_clips=4,
            seconds=(18.0, 1.0, 12.0),
            sampling_rates={44_100: 1, 16_000: 3},
            channels={1: 4},
            num_copies=1,
        ),
        num_speakers=3,
        configs=[
            PreparedConfig(
                name="speaker",
                features=features,
                data_files={split: [f"data/speaker_{split}-*.parquet"] for split in splits},
                num_clips={"train": 2, "validation": 1, "test": 1},
                num_bytes={"train": 20, "validation": 10, "test": 10},
                download_size=50,
                manifest_digest="0123abcd",
            ),
            PreparedConfig(
                name="fold_0",
                features=features,
                data_files={"train": ["data/*-part_2-*.parquet", "data/*-part_3-*.parquet"]},
                num_clips={"train": 2},
                num_bytes={"train": 20},
                download_size=30,
                manifest_digest="4567",
            ),
        ],
        protocols=[
            ProtocolSummary(
                name="speaker",
                configs=["speaker"],
                num_clips={"train": 2, "validation": 1, "test": 1},
                num_speakers={"train": 1, "validation": 1, "test": 1},
                classes={("croak", "train"): 2, ("peep", "validation"): 1, ("peep", "test"): 1},
                unmet=["`train` has no `peep`: the corpus has 2 speakers of it."],
            ),
            ProtocolSummary(
                name="part",
                configs=["fold_0"],
                num_clips={2: 3, 3: 1},
                num_speakers={2: 2, 3: 1},
                classes={("croak", 2): 2, ("peep", 2): 1, ("peep", 3): 1},
                unmet=["part 3 has no `croak`: the corpus has 1 speaker of it."],
            ),
        ],
        unavailable={"official": "Lost.", "old": "Lost."},
        skipped=[("e", "cut | off.")],
        excluded=[("speech", 1200), ("no label", 3)],
    )


EXPECTED = f"""---
license: cc-by-4.0
size_categories:
- n<1K
task_categories:
- audio-classification
pretty_name: Frogs
tags:
- nvv
- non-verbal-vocalization
- audio
nvv_corpus: frogs
configs:
- config_name: fold_0
  data_files:
  - split: train
    path:
    - data/*-part_2-*.parquet
    - data/*-part_3-*.parquet
- config_name: speaker
  data_files:
  - split: train
    path: data/speaker_train-*.parquet
  - split: validation
    path: data/speaker_validation-*.parquet
  - split: test
    path: data/speaker_test-*.parquet
  default: true
dataset_info:
- config_name: fold_0
  features:
  - name: audio
    dtype: audio
  - name: label
    dtype:
      class_label:
        names:
          '0': croak
          '1': peep
  - name: file
    dtype: string
  splits:
  - name: train
    num_bytes: 20
    num_examples: 2
  download_size: 30
  dataset_size: 20
- config_name: speaker
  features:
  - name: audio
    dtype: audio
  - name: label
    dtype:
      class_label:
        names:
          '0': croak
          '1': peep
  - name: file
    dtype: string
  splits:
  - name: train
    num_bytes: 20
    num_examples: 2
  - name: validation
    num_bytes: 10
    num_examples: 1
  - name: test
    num_bytes: 10
    num_examples: 1
  download_size: 50
  dataset_size: 40
---

# Frogs

Four frogs.

## Use

```python
from datasets import load_dataset

dataset = load_dataset("nvv/frogs", "speaker")  # this repository: a folder, or its id on the Hub
```

Other configs: `fold_0`.

## Contents

|  |  |
| --- | ---: |
| clips | 4 |
| speakers | 3 |
| labels | 2 classes |
| hours | 0.005 |
| seconds a clip | 1.00 to 12.00, mean 4.50 |
| sampling rate | 16,000 Hz (3 clips), 44,100 Hz (1 clips) |
| channels | 1 |
| byte-identical copies | 1 |

Columns: `audio`, `label`, `file`. `audio` holds the bytes of the original files, nothing is re-encoded.

## Config `speaker`

No speaker is in two splits; classes are balanced as well as that allows.

| class | train | validation | test |
| --- | ---: | ---: | ---: |
| croak | 2 | 0 | 0 |
| peep | 0 | 1 | 1 |
| **clips** | 2 | 1 | 1 |
| **speakers** | 1 | 1 | 1 |

What could not be met:

- `train` has no `peep`: the corpus has 2 speakers of it.

## Config `fold_0`

The clips are in 2 parts. Config `fold_k` tests on part k, validates on the next one (after the last, on part 0) and \
trains on the others. No speaker is in two parts; classes are balanced as well as that allows.

| class | part 2 | part 3 |
| --- | ---: | ---: |
| croak | 2 | 0 |
| peep | 1 | 1 |
| **clips** | 3 | 1 |
| **speakers** | 2 | 1 |

What could not be met:

- Part 3 has no `croak`: the corpus has 1 speaker of it.

## Configs that this copy cannot have

- `official`, `old`: Lost.

## Limits

- They croak.

## Excluded

Files of the release that are deliberately no part of this corpus: 1,203. `excluded.csv` lists each of them.

| reason | files |
| --- | ---: |
| speech | 1,200 |
| no label | 3 |

## Left out

Clips that could not be decoded and are not here: 1; `skipped.csv` lists them too. The other clips are in the splits \
where they would be anyway.

| file | reason |
| --- | ---: |
| `e` | cut \\| off. |

## Licence

The recordings are under `cc-by-4.0` (<https://example.org/by>). Home of the corpus: <https://example.org/frogs>.

Whoever takes them feeds them.

**Do not make copies public.** Frogs are shy.

## Citation

```bibtex
@misc{{frogs}}
```

## How this was made

By `nvv prepare frogs`, nvv {__version__}, from the raw files. A split depends on the files' names, labels \
and speakers, or is the authors' own; SHA-256 digests of each assignment of file to split:

| config | digest |
| --- | ---: |
| `speaker` | `0123abcd` |
| `fold_0` | `4567` |
"""


def test_card_is_rendered_whole(card_facts):
    # Hours: 18 s / 3600 = 0.005; mean 18 / 4 = 4.5.
    assert render_dataset_card(card_facts).content == EXPECTED


def test_card_leaves_unknown_fields_out(card_facts):
    content = render_dataset_card(
        DatasetCardFacts(
            facts=CorpusFacts(name="frogs", pretty_name="Frogs", licence="unknown"),
            features=card_facts.features,
            labels=None,
            audio=card_facts.audio,
            num_speakers=0,
            configs=card_facts.configs[:1],
            protocols=[ProtocolSummary(name="speaker", configs=["speaker"], num_clips={"train": 2})],
        )
    ).content
    for text in (
        "## Limits",
        "## Left out",
        "## Excluded",
        "## Configs",
        "## Citation",
        "could not be met",
        "Other configs",
        "make copies public",
        "Home of the corpus",
        "None",
        "synthetic",
        "<>",
        "croak |",
        "**speakers**",
    ):
        assert text not in content
    assert "| labels | none |" in content
    assert "| speakers | not known |" in content


def test_card_of_computed_sounds_says_so(card_facts):
    facts = CorpusFacts(name="frogs", pretty_name="Frogs", licence="cc0-1.0", is_synthetic=True)
    card = render_dataset_card(dataclasses.replace(card_facts, facts=facts))
    assert "no evidence about people" in card.text
    assert "synthetic" in DatasetCard(card.content).data.tags


def test_card_names_the_loading_script_in_its_header(card_facts):
    assert DatasetCard(render_dataset_card(card_facts).content).data.to_dict()["nvv_corpus"] == "frogs"


@pytest.mark.parametrize(
    ("number", "category"),
    [(999, "n<1K"), (1_000, "1K<n<10K"), (59_201, "10K<n<100K"), (2_000_000, "1M<n<10M"), (10**8, "100M<n<1B")],
)
def test_card_states_the_size_category(card_facts, number, category):
    audio = dataclasses.replace(card_facts.audio, num_clips=number)
    card = render_dataset_card(dataclasses.replace(card_facts, audio=audio))
    assert DatasetCard(card.content).data.size_categories == [category]


def test_config_states_its_columns_when_they_are_not_all(card_facts):
    speaker, fold = card_facts.configs
    own = datasets.Features({name: card_facts.features[name] for name in ("audio", "file")})
    card = render_dataset_card(
        dataclasses.replace(card_facts, configs=[speaker, dataclasses.replace(fold, features=own)])
    )
    configs = {config["config_name"]: config for config in card.data.configs}
    assert "columns" not in configs["speaker"]
    assert configs["fold_0"]["columns"] == ["audio", "file"]
    assert "Columns: `audio`, `file`." in card.text
    assert "- `speaker`: `label`\n" in card.text


def test_card_describes_targets_of_each_split(card_facts):
    targets = {
        ("awe", "train"): TargetSummary(num_missing=0, mean=0.5, low=0.0, high=1.0),
        ("awe", "test"): TargetSummary(num_missing=1200, mean=float("nan"), low=float("nan"), high=float("nan")),
        ("joy", "train"): TargetSummary(num_missing=1, mean=1 / 3, low=0.25, high=0.4),
        ("joy", "test"): TargetSummary(num_missing=0, mean=1, low=1, high=1),
    }
    protocol = ProtocolSummary(
        name="official",
        configs=["two", "three"],
        num_clips={"train": 3, "test": 1200},
        classes={(None, "test"): 1200, ("croak", "train"): 3},
        targets=targets,
    )
    text = render_dataset_card(dataclasses.replace(card_facts, protocols=[protocol], targets=("awe", "joy"))).text
    assert "## Configs `two`, `three`\n\nThe split that the corpus's authors released." in text
    assert "| labels | 2 classes, 2 targets |" in text
    assert "| not released | 0 | 1,200 |" in text
    assert "| `awe` | 0.5 (0 to 1) | 1,200 missing |" in text
    assert "| `joy` | 0.333 (0.25 to 0.4), 1 missing | 1 (1 to 1) |" in text


def test_long_lists_are_cut_and_many_targets_folded_away(card_facts):
    names = [f"target_{number:02d}" for number in range(40)]
    summary = TargetSummary(num_missing=0, mean=0.5, low=0.0, high=1.0)
    protocol = ProtocolSummary(
        name="official",
        configs=["all"],
        num_clips={"train": 3},
        targets={(name, "train"): summary for name in names},
    )
    text = render_dataset_card(
        dataclasses.replace(
            card_facts,
            protocols=[protocol],
            targets=names,
            skipped=[(f"{number}.wav", "empty.") for number in range(40)],
            excluded=[(f"reason {number}", 1) for number in range(26)],
        )
    ).text
    assert "<summary>40 targets</summary>" in text
    assert text.count("| empty. |") == 25
    assert "… and 15 more." in text
    assert "… and 1 more." in text


def test_folds_that_ignore_speakers_say_so(card_facts):
    text = render_dataset_card(dataclasses.replace(card_facts, folds_by_speaker=False)).text
    assert "shuffled order, whatever their labels and speakers" in text
    assert "No speaker is in two parts" not in text


@pytest.mark.parametrize(
    ("licence", "sentence"),
    [
        ("unknown", "The licence of the recordings is not known here"),
        ("other", "The recordings are under terms of their own."),
        ("cc-by-4.0", "The recordings are under `cc-by-4.0`"),
    ],
)
def test_licence_is_said_in_words(card_facts, licence, sentence):
    facts = dataclasses.replace(card_facts.facts, licence=licence)
    text = render_dataset_card(dataclasses.replace(card_facts, facts=facts)).text
    assert sentence in text
    assert "`unknown`" not in text
