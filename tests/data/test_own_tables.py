import pytest

from nvv.data import CorpusError
from nvv.data.own_tables import read_table


@pytest.fixture
def write(tmp_path):
    def write_file(name, content):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write_file


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", "path,label\na.wav,laugh\nb.wav,sigh\n"),
        ("a.csv", "path;label\r\na.wav;laugh\r\nb.wav;sigh\r\n"),
        ("a.csv", "\ufeffpath , label\n a.wav , laugh \nb.wav,sigh"),
        ("a.CSV", '"path","label"\n"a.wav","laugh"\n"b.wav","sigh"\n'),
        ("a.tsv", "path\tlabel\na.wav\tlaugh\nb.wav\tsigh\n"),
        ("a.jsonl", '{"path": "a.wav", "label": "laugh"}\n{"path": "b.wav", "label": "sigh"}\n'),
    ],
)
def test_table_is_the_same_when_written_otherwise(write, name, content):
    table = read_table(write(name, content))
    assert table.columns == {"path": ["a.wav", "b.wav"], "label": ["laugh", "sigh"]}


def test_text_stays_text_when_it_looks_like_a_gap_or_a_number(write):
    table = read_table(write("a.csv", "label,who\nNone,007\nNA,1e3\nnan,\n"))
    assert table.columns == {"label": ["None", "NA", "nan"], "who": ["007", "1e3", None]}


def test_lines_are_those_of_the_file_when_some_are_empty(write):
    assert read_table(write("a.csv", "path\n\na.wav\n\n\nb.wav\n")).lines == [3, 6]
    assert read_table(write("a.jsonl", '{"path": "a.wav"}\n\n{"path": "b.wav"}\n')).lines == [1, 3]


def test_absent_json_fields_are_missing_values(write):
    table = read_table(write("a.jsonl", '{"path": "a.wav", "label": 3}\n{"path": "b.wav"}\n'))
    assert table.columns == {"path": ["a.wav", "b.wav"], "label": [3, None]}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "path,label\na.wav,laugh\nb.wav\n", r"a\.csv, line 3: 1 fields, but line 1 names 2 columns"),
        ("a.csv", "path,path\na.wav,b.wav\n", r"a\.csv, line 1: the column 'path' is named twice"),
        ("a.csv", 'path,label\n"a.wav,laugh\n', r"a\.csv, line 2: "),
        ("a.csv", "path,label\n", r"a\.csv: no rows"),
        ("a.csv", "", r"a\.csv: no rows"),
        ("a.csv", "path\nä.wav\n".encode("latin-1"), r"a\.csv: not UTF-8"),
        ("a.jsonl", '{"path": "a.wav"}\n{"path": \n', r"a\.jsonl, line 2: not JSON"),
        ("a.jsonl", '["a.wav"]\n', r"a\.jsonl, line 1: expected an object"),
    ],
)
def test_file_and_line_are_named_when_a_table_cannot_be_read(write, name, content, message):
    with pytest.raises(CorpusError, match=message):
        read_table(write(name, content))


def test_missing_table_is_named(tmp_path):
    with pytest.raises(CorpusError, match=r"none\.csv: no such file"):
        read_table(tmp_path / "none.csv")
