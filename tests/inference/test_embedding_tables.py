from __future__ import annotations

from nvv.inference.embedding_tables import embedding_score_rows, embedding_scores_text


def _score(value):
    return {"value": value, "low": value - 0.1, "high": value + 0.1}


def _result(value, *, speakers=None):
    names = ("macro_f1", "uar", "accuracy")
    return {
        "num_clips": 40,
        "num_speakers": speakers,
        "scores": {name: _score(value) for name in names},
        "chance": {kind: dict.fromkeys(names, 0.25) for kind in ("majority", "random")},
    }


SCORES = {
    "tuned": {
        "size": 128,
        "classifiers": {
            "nearest_centroid": {"chosen": {}},
            "nearest_neighbours": {"chosen": {"neighbours": 5}},
            "linear_probe": {"chosen": {"c_value": 0.01}},
        },
        "splits": {
            split: {
                "nearest_centroid": _result(0.5, speakers=7),
                "nearest_neighbours": _result(0.6, speakers=7),
                "linear_probe": _result(0.7, speakers=7),
            }
            for split in ("validation", "test")
        },
    }
}


def test_rows_name_everything_a_number_belongs_to():
    rows = embedding_score_rows(SCORES)
    assert len(rows) == 2 * 3 * 3
    row = rows.query("split == 'test' and classifier == 'linear_probe' and score == 'uar'").iloc[0]
    assert (row["embedding"], row["value"], row["low"], row["high"]) == ("tuned", 0.7, 0.7 - 0.1, 0.7 + 0.1)
    assert rows["speaker_low"].isna().all()


def test_page_shows_scores_with_what_was_chosen_and_guessing():
    text = embedding_scores_text(SCORES, title="Embeddings of x", notes=["Random weights: no result."])
    assert text.startswith("# Embeddings of x\n\n**Random weights: no result.**\n")
    assert "## test: 40 clips, 7 speakers" in text
    interval = "0.600 (0.500 to 0.700)"
    assert f"| tuned, 128 | nearest neighbours | k = 5 | {interval} | {interval} | {interval} |" in text
    assert "| C = 0.01 |" in text
    assert "| none | guessing: majority | | 0.250 | 0.250 | 0.250 |" in text


def test_page_says_so_when_a_split_has_no_labels():
    empty = {"num_clips": 3, "num_speakers": None, "scores": {}}
    scores = {"tuned": {**SCORES["tuned"], "splits": {"test": {"nearest_centroid": empty}}}}
    assert "## test: 3 clips\n\nNo clip of this split has a label." in embedding_scores_text(scores, title="x")
    assert embedding_score_rows(scores).empty
