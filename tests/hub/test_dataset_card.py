import datasets
import pytest
from huggingface_hub import DatasetCard

from nvv.data import CorpusFacts
from nvv.hub.dataset_card import ClipRecord, DatasetCardFacts, PreparedConfig, render_dataset_card
from nvv.version import __version__


def record(file: str, label: str | None, speaker: str, seconds: float, digest: str, rate: int = 16_000) -> ClipRecord:
    return ClipRecord(
        file=file,
        label=label,
        speaker_id=speaker,
        duration_s=seconds,
        sampling_rate=rate,
        num_channels=1,
        content_digest=digest,
    )


@pytest.fixture
def card_facts() -> DatasetCardFacts:
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
        ),
        features=datasets.Features(
            {
                "audio": datasets.Audio(),
                "label": datasets.ClassLabel(names=["croak", "peep"]),
                "file": datasets.Value("string"),
            }
        ),
        labels=("croak", "peep"),
        records=[
            record("a", "croak", "s1", 1.0, "1"),
            record("b", "croak", "s1", 2.0, "2"),
            record("c", "peep", "s2", 3.0, "1"),
            record("d", "peep", "s3", 12.0, "4", 44_100),
        ],
        configs=[
            PreparedConfig(
                name="speaker",
                split_of={"a": "train", "b": "train", "c": "validation", "d": "test"},
                data_files={
                    "train": "data/*speaker_train-*.parquet",
                    "validation": "data/*speaker_validation-*.parquet",
                    "test": "data/*speaker_test-*.parquet",
                },
                num_bytes={"train": 20, "validation": 10, "test": 10},
                manifest_digest="0123abcd",
            )
        ],
        skipped=[("e", "cut | off.")],
        download_size=50,
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
configs:
- config_name: speaker
  data_files:
  - split: train
    path: data/*speaker_train-*.parquet
  - split: validation
    path: data/*speaker_validation-*.parquet
  - split: test
    path: data/*speaker_test-*.parquet
  default: true
dataset_info:
  config_name: speaker
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

## Contents

|  |  |
| --- | ---: |
| clips | 4 |
| speakers | 3 |
| classes | 2 |
| hours | 0.005 |
| seconds a clip | 1.00 to 12.00, mean 4.50 |
| sampling rate | 16,000 Hz (3 clips), 44,100 Hz (1 clips) |
| channels | 1 |
| byte-identical copies | 1 |

Columns: `audio`, `label`, `file`. `audio` holds the bytes of the original files, nothing is re-encoded.

## Config `speaker`

No speaker is in two splits; classes are balanced as well as that allows. Use it to report results.

| class | train | validation | test |
| --- | ---: | ---: | ---: |
| croak | 2 | 0 | 0 |
| peep | 0 | 1 | 1 |
| **clips** | 2 | 1 | 1 |
| **speakers** | 1 | 1 | 1 |

## Limits

- They croak.

## Left out

1 clips could not be decoded and are not here; `skipped.csv` lists them too. The other clips are in the \
splits where they would be anyway.

| file | reason |
| --- | ---: |
| `e` | cut \\| off. |

## Licence

The recordings are under `cc-by-4.0` (<https://example.org/by>). Home of the corpus: <https://example.org/frogs>.

## Citation

```bibtex
@misc{{frogs}}
```

## How this was made

By `nvv prepare frogs`, nvv {__version__}, from the raw files. Each split depends only on the files' names, labels and \
speakers; SHA-256 digests of each assignment of file to split:

- `speaker`: `0123abcd`
"""


def test_card_is_rendered_whole(card_facts):
    # Hours: 18 s / 3600 = 0.005; mean 18 / 4 = 4.5; clips a and c have the same bytes.
    assert render_dataset_card(card_facts).content == EXPECTED


def test_card_leaves_unknown_fields_out(card_facts):
    facts = CorpusFacts(name="frogs", pretty_name="Frogs", licence="unknown")
    content = render_dataset_card(
        DatasetCardFacts(
            facts=facts,
            features=card_facts.features,
            labels=None,
            records=[record(r.file, None, r.speaker_id, r.duration_s, r.content_digest) for r in card_facts.records],
            configs=card_facts.configs,
        )
    ).content
    for text in (
        "## Limits",
        "## Left out",
        "## Citation",
        "Home of the corpus",
        "None",
        "synthetic",
        "<>",
        "croak |",
    ):
        assert text not in content
    assert "| classes | none; the targets are columns |" in content


def test_card_of_computed_sounds_says_so(card_facts):
    facts = CorpusFacts(name="frogs", pretty_name="Frogs", licence="cc0-1.0", is_synthetic=True)
    card = render_dataset_card(
        DatasetCardFacts(
            facts=facts,
            features=card_facts.features,
            labels=card_facts.labels,
            records=card_facts.records,
            configs=card_facts.configs,
        )
    )
    assert "no evidence about people" in card.text
    assert "synthetic" in DatasetCard(card.content).data.tags
