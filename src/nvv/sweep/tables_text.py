"""Score tables as Markdown and as LaTeX, each with a caption that says what was measured and how sure it is.

Scores are written times 100 with one decimal. The LaTeX needs the package `booktabs`. Own work.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from .score_names import score_title, score_unit
from .score_tables import Cell, ScoreTable

_LATEX = {
    **{sign: "\\" + sign for sign in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "‡": r"$^{\ddagger}$",
    "…": r"\ldots{}",
    "≥": r"$\geq$",
    "<": r"$<$",
    ">": r"$>$",
    "–": "--",
    "−": "$-$",
}
# Backslashes, code, bold and table rules anywhere; underscores at the edge of a word; what would open a tag or a link.
_MARKDOWN = re.compile(r"([\\`*|]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])|<(?=[A-Za-z/!?])|\[(?=[^\]]*\]\())")
_PROTOCOLS = {
    "speaker": "no speaker in two splits",
    "stratified": "split at random by class, speakers shared between splits",
    "official": "the authors' split",
    "fold": "folds by speaker",
    **dict.fromkeys(("high", "two", "culture", "type"), "the A-VB task of this name, the authors' split"),
    "joint": "all A-VB tasks, the authors' split",
    "voc2vec_fold": "voc2vec's random folds, the held-out part is validation and test",
}


def markdown_text(text: str) -> str:
    """Escape what Markdown would read as markup.

    Args:
        text: plain text.

    Returns:
        The text for a Markdown paragraph or table cell, on one line.
    """
    return _MARKDOWN.sub(r"\\\1", " ".join(text.split()))


def latex_text(text: str) -> str:
    """Escape what LaTeX would read as commands.

    Args:
        text: plain text.

    Returns:
        The text for LaTeX's text mode.
    """
    return "".join(_LATEX.get(sign, sign) for sign in text)


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]], *, num_text_columns: int = 1) -> str:
    """Write a Markdown table.

    Args:
        header: the columns' names, as Markdown.
        rows: the cells, as Markdown.
        num_text_columns: how many of the first columns hold words; the others are set to the right.

    Returns:
        The table, with a line end.
    """
    rule = ["---" if at < num_text_columns else "---:" for at in range(len(header))]
    lines = [header, rule, *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def percent(value: float | None) -> str:
    """Write a score times 100, of shares in per cent, with one decimal, without the sign; None as a dash."""
    # Adding zero takes the sign off what rounds to zero.
    return "–" if value is None else f"{round(100 * value, 1) + 0.0:.1f}".replace("-", "−")


def signed(value: float) -> str:
    """Write a difference times 100, of shares in percentage points, with its sign."""
    return f"{100 * value:+.1f}".replace("-", "−")


def title(table: ScoreTable) -> str:
    """Name a table in plain text.

    Args:
        table: the table.

    Returns:
        Corpus, protocol, split, and whether the folds are pooled.
    """
    pooled = ", predictions of all folds together" if table.is_pooled else ""
    return f"{table.corpus}, {table.protocol} protocol, {table.split}{pooled}"


def caption(table: ScoreTable) -> str:
    """Say in plain text what a table shows.

    Args:
        table: the table.

    Returns:
        Sentences: evidence or none; split, score and corpus; what the numbers in a cell are, and the marks compare.
    """
    cells = list(table.cells.values())
    sentences = [*_warnings(table), _what(table)]
    if any(cell.deviation is not None for cell in cells):
        over = "folds" if table.num_folds > 1 else "seeds"
        sentences.append(f"Mean ± sample standard deviation over {over}.")
    if any(cell.low is not None for cell in cells):
        of = "" if table.is_pooled else " of a single run"
        sentences.append(f"In brackets the 95 % bootstrap interval{of}.")
    if any(cell.num_done < cell.num_planned for cell in cells):
        sentences.append("In parentheses finished of planned runs, where some are missing.")
    if any(cell.p_value is not None for cell in cells):
        unit = table.unit or "clip or speaker"
        sentences.append(f"Marks: difference to {table.reference}, drawing each {unit} with all its predictions.")
    if any(cell.is_seen for cell in cells):
        sentences.append(SEEN)
    return " ".join(sentences)


SEEN = "‡ The backbone's pretraining contained this corpus, without its labels."
LEGEND = (
    "Bold: the highest score. * p < 0.05, ** p < 0.01: paired bootstrap, same seeds and folds paired, Holm's "
    "correction over the table. Chance: the better of the most frequent class and random guesses by class frequency; "
    "where numbers are predicted, one answer for every clip."
)
"""What holds for every table."""


def _warnings(table: ScoreTable) -> list[str]:
    warnings = []
    if table.is_synthetic:
        warnings.append("COMPUTED SOUNDS: no evidence about people's voices.")
    if table.num_random_init:
        num_all = len(table.cells)
        which = "" if table.num_random_init == num_all else f" ({table.num_random_init} of {num_all} systems)"
        warnings.append(f"RANDOM WEIGHTS{which}: no evidence about backbones or methods.")
    return warnings


def _what(table: ScoreTable) -> str:
    """Say which split of which corpus was scored by what."""
    size = f"{table.num_clips:,} clips"
    if table.num_speakers is not None:
        size += f" of {table.num_speakers:,} speakers"
    if table.num_folds > 1:
        size += f" in {table.num_folds} folds"
    how = _PROTOCOLS.get(table.protocol)
    protocol = f"{table.protocol} ({how})" if how else table.protocol
    metric, unit = score_title(table.metric), score_unit(table.metric)
    return f"{metric[0].upper()}{metric[1:]} {unit} on {table.split} of {table.corpus}, protocol {protocol}: {size}."


def _cell_parts(cell: Cell) -> tuple[str, str, str]:
    """Return a cell's score, its marks and what stands after them, in plain text."""
    score = percent(cell.value)
    if cell.deviation is not None:
        score += f" ± {percent(cell.deviation)}"
    after = ""
    if cell.low is not None:
        after += f" [{percent(cell.low)}, {percent(cell.high)}]"
    if cell.num_done < cell.num_planned:
        after += f" ({cell.num_done} of {cell.num_planned})"
    return score, "*" * cell.num_marks, after


def _markdown_cell(cell: Cell | None) -> str:
    if cell is None:
        return "–"
    score, marks, after = _cell_parts(cell)
    score = f"**{score}**" if cell.is_best else score
    return score + ("‡" if cell.is_seen else "") + marks.replace("*", r"\*") + after


def _latex_cell(cell: Cell | None) -> str:
    if cell is None:
        return "--"
    score, marks, after = _cell_parts(cell)
    score = latex_text(score)
    score = rf"\textbf{{{score}}}" if cell.is_best else score
    marks = (r"\ddagger" if cell.is_seen else "") + marks
    return score + (f"$^{{{marks}}}$" if marks else "") + latex_text(after)


def parts(table: ScoreTable) -> list[tuple[list[str], list[str]]]:
    """Divide a table where rows and columns have nothing in common, such as backbones and baselines.

    Args:
        table: the table.

    Returns:
        Rows and columns of each part; every score is in one part.
    """
    found: list[tuple[dict[str, None], dict[str, None]]] = []
    for row, column in table.cells:
        touched = [part for part in found if row in part[0] or column in part[1]]
        rows, columns = {row: None}, {column: None}
        for part in reversed(touched):
            rows, columns = part[0] | rows, part[1] | columns
        at = found.index(touched[0]) if touched else len(found)
        found = [part for part in found if part not in touched]
        found.insert(at, (rows, columns))
    return [
        ([row for row in table.rows if row in rows], [column for column in table.columns if column in columns])
        for rows, columns in found
    ]


def _contents(
    table: ScoreTable, *, cell: Callable[[Cell | None], str], text: Callable[[str], str]
) -> list[tuple[list[str], list[list[str]]]]:
    """Return header and rows of each part of a table, the chance row last in the first part."""
    contents = []
    for at, (row_names, column_names) in enumerate(parts(table)):
        header = ["", *(text(column) for column in column_names)]
        rows = [[text(row), *(cell(table.cells.get((row, column))) for column in column_names)] for row in row_names]
        if at == 0 and table.chance is not None:
            rows.append(["chance", *(text(percent(table.chance)) for _ in column_names)])
        contents.append((header, rows))
    return contents


def as_markdown(table: ScoreTable) -> str:
    """Write a table as Markdown.

    Args:
        table: the table.

    Returns:
        The table, in its parts, with its caption below and, where there are any, remarks. `LEGEND` belongs with it.
    """
    contents = _contents(table, cell=_markdown_cell, text=markdown_text)
    paragraphs = [markdown_table(header, rows) for header, rows in contents]
    paragraphs += [f"{markdown_text(words)}\n" for words in (caption(table), *table.remarks)]
    return "\n".join(paragraphs)


def as_latex(table: ScoreTable) -> str:
    """Write a table as a LaTeX `table` with `booktabs` rules.

    Args:
        table: the table.

    Returns:
        The environment, with caption and label.
    """
    name = re.sub(r"[^a-z0-9]+", "-", title(table).lower()).strip("-")
    lines = [
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{latex_text(f'{caption(table)} {LEGEND}')}}}",
        rf"\label{{tab:{name}}}",
    ]
    for at, (header, rows) in enumerate(_contents(table, cell=_latex_cell, text=latex_text)):
        chance = [rows.pop()] if at == 0 and table.chance is not None else []
        lines += [
            *([r"\par\medskip"] if at else []),
            rf"\begin{{tabular}}{{l{'r' * (len(header) - 1)}}}",
            r"\toprule",
            *_latex_rows([header]),
            r"\midrule",
            *_latex_rows(rows),
            *([r"\midrule", *_latex_rows(chance)] if chance else []),
            r"\bottomrule",
            r"\end{tabular}",
        ]
    return "\n".join([*lines, r"\end{table}"]) + "\n"


def _latex_rows(rows: Sequence[Sequence[str]]) -> list[str]:
    return [" & ".join(cells) + r" \\" for cells in rows]
