"""The card of a tagged dataset."""

import pytest

from nvv.tagging.card import TaggedFacts, render_card
from nvv.tagging.plan import Plan
from nvv.tagging.sources import CardOfSource

PLAN = Plan(
    model={"id": "nvv/tiny", "revision": "c" * 40, "weights_digest": None},
    dataset={"id": "somebody/sounds", "revision": "d" * 40, "identity": "d" * 40, "config": "speaker"},
    shards={"train": 2, "test": 1},
    columns=["nvv_label"],
    settings={"dtype": "float32"},
    version="1.0",
)


@pytest.fixture
def card_of():
    """The function that renders a card from a source's header and text."""

    def render(header=None, text="", **fields):
        facts = TaggedFacts(
            plan=PLAN,
            source=CardOfSource(header=header or {}, text=text),
            **{
                "is_local": False,
                "num_rows": {"train": 1500, "test": 3},
                "num_bytes": {"train": 100, "test": 10},
                "num_unreadable": 0,
                "column_notes": {"nvv_label": "the label with the highest score."},
                "model_warnings": [],
                **fields,
            },
        )
        return render_card(facts)

    return render


def test_card_carries_licence_and_terms_when_the_source_states_them(card_of):
    header = {
        "license": "other",
        "license_name": "lab-terms",
        "license_link": "https://example.org/terms",
        "extra_gated_prompt": "You agree.",
        "nvv_something": "private",
        "configs": [{"config_name": "x"}],
    }
    card = card_of(header, "# Sounds\n\n## Authors\n\nA. Cook\n")
    data = card.data.to_dict()
    for name in ("license", "license_name", "license_link", "extra_gated_prompt"):
        assert data[name] == header[name]
    assert "nvv_something" not in data
    assert data["source_datasets"] == ["somebody/sounds"]
    assert "## Sounds\n\n### Authors\n\nA. Cook" in card.text
    assert "`other`" in card.text


def test_card_says_which_files_are_which_split(card_of):
    data = card_of().data.to_dict()
    assert data["configs"] == [
        {
            "config_name": "speaker",
            "data_files": [
                {"split": "train", "path": "data/train-*.parquet"},
                {"split": "test", "path": "data/test-*.parquet"},
            ],
        }
    ]
    assert data["dataset_info"]["splits"] == [
        {"name": "train", "num_bytes": 100, "num_examples": 1500},
        {"name": "test", "num_bytes": 10, "num_examples": 3},
    ]
    assert data["size_categories"] == ["1K<n<10K"]


def test_card_says_whose_opinion_it_is_and_names_both_commits(card_of):
    text = card_of().text
    assert "https://huggingface.co/datasets/somebody/sounds" in text
    assert "https://huggingface.co/nvv/tiny" in text
    assert "c" * 40 in text
    assert "d" * 40 in text
    assert "not annotations" in text
    assert "`nvv_label`: the label with the highest score." in text
    assert "could not be read" not in text


def test_card_counts_recordings_without_answers(card_of):
    assert "12 recordings could not be read" in card_of(num_unreadable=12).text


def test_card_names_no_licence_when_the_source_has_none(card_of):
    card = card_of()
    assert "license" not in card.data.to_dict()
    assert "nothing is known to allow handing on copies" in card.text


@pytest.mark.parametrize(
    ("corpus", "licence", "is_public"),
    [
        ("vivae", "cc-by-nc-4.0", True),
        ("recanvo", "other", False),  # its facts forbid public copies, whatever the licence
        ("hume_vb", "other", False),
    ],
)
def test_card_is_never_more_open_than_the_corpus_when_it_is_one_of_this_package(card_of, corpus, licence, is_public):
    # A card that somebody made more generous than the corpus is.
    card = card_of({"nvv_corpus": corpus, "license": "cc0-1.0"})
    data = card.data.to_dict()
    assert data["license"] == licence
    assert ("Do not make copies public" not in card.text) == is_public
    assert "```bibtex" in card.text


def test_card_warns_when_the_scores_are_no_result(card_of):
    card = card_of({"tags": ["synthetic"]}, model_warnings=["The model's encoder has random weights."])
    assert "**The model's encoder has random weights.**" in card.text
    assert "**The sounds are computed" in card.text
    assert "synthetic" in card.data.to_dict()["tags"]
    assert "synthetic" not in card_of().data.to_dict()["tags"]


def test_card_names_no_page_when_the_source_is_a_folder(card_of):
    card = card_of(is_local=True)
    assert "source_datasets" not in card.data.to_dict()
    assert "huggingface.co/datasets" not in card.text
