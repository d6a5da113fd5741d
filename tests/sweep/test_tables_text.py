import re

import pytest

from nvv.sweep.score_tables import Cell, ScoreTable
from nvv.sweep.tables_text import (
    LEGEND,
    as_latex,
    as_markdown,
    caption,
    latex_text,
    markdown_table,
    markdown_text,
    parts,
    percent,
    signed,
)


def make_cell(value, **changes):
    fields = {"deviation": 0.01, "low": None, "high": None, "num_done": 3, "num_planned": 3, **changes}
    return Cell(value=value, **fields)


@pytest.fixture
def table():
    return ScoreTable(
        corpus="my_corpus",
        protocol="speaker",
        split="test",
        metric="macro_f1",
        num_folds=0,
        is_pooled=False,
        num_clips=1234,
        num_speakers=56,
        unit="speaker",
        chance=0.2,
        reference="a_b & c, lora",
        cells={
            ("a_b & c", "lora"): make_cell(0.6125, is_best=True),
            ("a_b & c", "frozen"): make_cell(0.5, p_value=0.001, num_done=2),
            ("plain", "lora"): make_cell(0.58, p_value=0.03, is_seen=True),
            ("mfcc", "linear svm"): make_cell(0.4, deviation=None, low=0.35, high=0.45, p_value=0.2),
        },
        num_random_init=0,
        is_synthetic=False,
        remarks=("plain, x: not compared.",),
    )


def rows_of(markdown):
    return [line for line in markdown.splitlines() if line.startswith("|")]


def test_markdown_has_scores_deviations_marks_and_the_best_in_bold(table):
    assert rows_of(as_markdown(table)) == [
        "|  | lora | frozen |",
        "| --- | ---: | ---: |",
        r"| a_b & c | **61.3 ± 1.0** | 50.0 ± 1.0\*\* (2 of 3) |",
        r"| plain | 58.0 ± 1.0‡\* | – |",
        "| chance | 20.0 | 20.0 |",
        "|  | linear svm |",
        "| --- | ---: |",
        "| mfcc | 40.0 [35.0, 45.0] |",
    ]


def test_remarks_stand_below_the_caption(table):
    assert as_markdown(table).rstrip().endswith("plain, x: not compared.")


def test_caption_says_split_score_size_intervals_and_comparison(table):
    text = caption(table)
    assert text.startswith(
        "Macro-F1 in per cent on test of my_corpus, protocol speaker (no speaker in two splits): "
        "1,234 clips of 56 speakers."
    )
    for words in (
        "Mean ± sample standard deviation over seeds",
        "In brackets the 95 % bootstrap interval of a single run",
        "In parentheses finished of planned runs",
        "difference to a_b & c, lora, drawing each speaker",
        "‡ The backbone's pretraining contained this corpus",
    ):
        assert words in text
    assert "evidence" not in text


def test_caption_leaves_out_what_the_table_does_not_have(table):
    plain = ScoreTable(**{**vars(table), "cells": {("a", "b"): make_cell(0.5)}, "chance": None})
    text = caption(plain)
    assert not re.search(r"brackets|parentheses|Marks|‡", text)
    assert "| chance" not in as_markdown(plain)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"is_synthetic": True}, "COMPUTED SOUNDS: no evidence"),
        ({"num_random_init": 4}, "RANDOM WEIGHTS: no evidence"),
        ({"num_random_init": 1}, "RANDOM WEIGHTS (1 of 4 systems): no evidence"),
    ],
)
def test_caption_begins_with_why_scores_are_no_evidence(table, changes, words):
    changed = ScoreTable(**{**vars(table), **changes})
    assert caption(changed).startswith(words)
    assert words in as_markdown(changed)
    assert words in as_latex(changed)


def test_folds_are_named_in_the_caption(table):
    folds = ScoreTable(**{**vars(table), "num_folds": 10, "num_speakers": None, "protocol": "voc2vec_fold"})
    assert "1,234 clips in 10 folds" in caption(folds)
    assert "over folds" in caption(folds)
    assert "the held-out part is validation and test" in caption(folds)


def test_latex_is_whole_and_escaped(table):
    latex = as_latex(table)
    for name, number in (("table", 1), ("tabular", 2)):
        assert latex.count(rf"\begin{{{name}}}") == latex.count(rf"\end{{{name}}}") == number
    assert latex.count(r"\toprule") == latex.count(r"\bottomrule") == 2
    # As many cells in each row as the columns that the tabular declares.
    for columns, body in re.findall(r"\\begin\{tabular\}\{(l r*|lr*)\}(.*?)\\end\{tabular\}", latex, flags=re.S):
        rows = [line for line in body.splitlines() if line.endswith(r"\\")]
        assert rows
        assert {len(re.split(r"(?<!\\)&", row)) for row in rows} == {len(columns)}
    assert r"a\_b \& c & \textbf{61.3 $\pm$ 1.0} & 50.0 $\pm$ 1.0$^{**}$ (2 of 3) \\" in latex
    assert r"plain & 58.0 $\pm$ 1.0$^{\ddagger*}$ & -- \\" in latex
    assert r"\label{tab:my-corpus-speaker-protocol-test}" in latex
    assert r"95 \% bootstrap" in latex
    assert latex_text(LEGEND) in latex
    # No sign is left that LaTeX would stumble over, and every brace is closed.
    assert not re.search(r"(?<!\\)[%#]", latex)
    assert latex.count("{") - latex.count(r"\{") == latex.count("}") - latex.count(r"\}")
    assert latex.isascii()


@pytest.mark.parametrize(
    ("text", "markdown", "latex"),
    [
        ("a_b", "a_b", r"a\_b"),
        ("_a_ *b* `c` |", r"\_a\_ \*b\* \`c\` \|", r"\_a\_ *b* `c` |"),
        ("p < 0.05 <b>", r"p < 0.05 \<b>", r"p $<$ 0.05 $<$b$>$"),
        ("50 % & #1", "50 % & #1", r"50 \% \& \#1"),
        ("[x](y) [1, 2]", r"\[x](y) [1, 2]", "[x](y) [1, 2]"),
        ("two\nlines", "two lines", "two\nlines"),
        ("c:\\d {e} ~^", "c:\\\\d {e} ~^", r"c:\textbackslash{}d \{e\} \textasciitilde{}\textasciicircum{}"),
    ],
)
def test_words_are_escaped(text, markdown, latex):
    assert markdown_text(text) == markdown
    assert latex_text(text) == latex


def test_rows_without_a_common_column_are_parted(table):
    assert parts(table) == [(["a_b & c", "plain"], ["lora", "frozen"]), (["mfcc"], ["linear svm"])]


def test_parts_that_a_later_score_joins_become_one(table):
    cells = {("a", "x"): make_cell(0.1), ("b", "y"): make_cell(0.2), ("a", "y"): make_cell(0.3)}
    assert parts(ScoreTable(**{**vars(table), "cells": cells})) == [(["a", "b"], ["x", "y"])]


def test_numbers_are_written_in_per_cent():
    assert (percent(0.12345), percent(None), percent(-0.05), percent(-4e-4)) == ("12.3", "–", "−5.0", "0.0")
    assert (signed(0.012), signed(-0.1)) == ("+1.2", "−10.0")


def test_markdown_table_sets_numbers_to_the_right():
    assert markdown_table(["", "b"], [["x", "1"]]) == "|  | b |\n| --- | ---: |\n| x | 1 |\n"
