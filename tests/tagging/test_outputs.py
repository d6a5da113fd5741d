"""Parquet files of tagged rows."""

import json

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nvv.tagging.outputs import stored_schema, with_columns, write_tables
from nvv.tagging.rows import HeardTable, Recording

VALUE = datasets.Value("float32")


@pytest.mark.parametrize(
    ("feature", "described"),
    [
        # As datasets 3 writes and reads them.
        ([VALUE], {"feature": {"dtype": "float32", "_type": "Value"}, "length": -1, "_type": "Sequence"}),
        ([{"a": VALUE}], [{"a": {"dtype": "float32", "_type": "Value"}}]),
        ({"a": [VALUE]}, {"a": {"feature": {"dtype": "float32", "_type": "Value"}, "length": -1, "_type": "Sequence"}}),
        (VALUE, {"dtype": "float32", "_type": "Value"}),
    ],
)
def test_stored_schema_names_no_kind_that_earlier_versions_of_datasets_lack(feature, described):
    features = datasets.Features({"x": feature})
    schema = stored_schema(features)
    said = json.loads(schema.metadata[b"huggingface"])["info"]["features"]["x"]
    if not hasattr(datasets, "List"):
        pytest.skip("this version of datasets has the earlier kinds only")
    assert said == described
    assert datasets.Features.from_arrow_schema(schema) == features


def heard_of(table, recordings):
    return HeardTable(table=table, recordings=recordings, answers=[np.zeros(1)] * table.num_rows)


def test_with_columns_gives_cells_their_bytes_when_they_only_name_a_file(tmp_path):
    (tmp_path / "second.wav").write_bytes(b"second")
    features = datasets.Features({"audio": datasets.Audio(), "other": datasets.Audio(), "tag": datasets.Value("int32")})
    cells = [{"bytes": None, "path": "/far/a.wav"}, {"bytes": b"there", "path": "b.wav"}, None]
    others = [{"bytes": None, "path": str(tmp_path / "second.wav")}, {"bytes": None, "path": "/far/gone.wav"}, None]
    kinds = features.arrow_schema
    table = pa.table({"audio": pa.array(cells, kinds.field(0).type), "other": pa.array(others, kinds.field(1).type)})
    recordings = [Recording(name="a", content=b"read"), Recording(name="b"), Recording(name="c")]
    found = with_columns(
        heard_of(table, recordings),
        added=lambda answers, names: [pa.array([len(name) for name in names], pa.int32())],
        schema=stored_schema(features),
        audio_columns={"audio": True, "other": False},
    )
    assert found["audio"].to_pylist() == [
        {"bytes": b"read", "path": "a.wav"},
        {"bytes": b"there", "path": "b.wav"},
        None,
    ]
    assert found["other"].to_pylist() == [
        {"bytes": b"second", "path": "second.wav"},
        {"bytes": None, "path": "gone.wav"},
        None,
    ]
    assert found["tag"].to_pylist() == [1, 1, 1]


def test_with_columns_leaves_out_what_is_dropped():
    schema = stored_schema(datasets.Features({"b": datasets.Value("int64"), "n": datasets.Value("int64")}))
    table = pa.table({"a": [b"x"], "b": [2]})
    found = with_columns(
        heard_of(table, [Recording(name="a")]),
        added=lambda answers, names: [pa.array([3])],
        schema=schema,
        audio_columns={},
        dropped=["a"],
    )
    assert found.to_pydict() == {"b": [2], "n": [3]}


@pytest.mark.parametrize(
    ("sizes", "groups"),
    [
        ([16] * 13, [100, 100, 8]),  # 208 rows
        ([250], [100, 100, 50]),
        ([3, 4], [7]),
        ([], []),
    ],
)
def test_write_tables_makes_groups_of_a_hundred_rows_wherever_the_tables_end(tmp_path, sizes, groups):
    schema = pa.schema({"x": pa.int64()})
    tables = [pa.table({"x": list(range(size))}, schema=schema) for size in sizes]
    assert write_tables(tables, tmp_path / "d.parquet", schema=schema) == sum(sizes)
    with pq.ParquetFile(tmp_path / "d.parquet") as file:
        assert [file.metadata.row_group(at).num_rows for at in range(file.num_row_groups)] == groups
        assert file.read()["x"].to_pylist() == [value for size in sizes for value in range(size)]


def test_write_tables_begins_a_group_when_the_rows_are_large(tmp_path):
    schema = pa.schema({"x": pa.binary()})
    tables = [pa.table({"x": [bytes(12 * 2**20)]}, schema=schema)] * 4  # 12 MiB each; three reach 32 MiB
    write_tables(tables, tmp_path / "d.parquet", schema=schema, no_dictionary=["x"])
    metadata = pq.read_metadata(tmp_path / "d.parquet")
    assert [metadata.row_group(at).num_rows for at in range(metadata.num_row_groups)] == [3, 1]


def test_write_tables_leaves_nothing_when_a_table_fails(tmp_path):
    schema = pa.schema({"x": pa.int64()})

    def tables():
        yield pa.table({"x": list(range(150))}, schema=schema)
        raise ValueError("no more")

    with pytest.raises(ValueError, match="no more"):
        write_tables(tables(), tmp_path / "d.parquet", schema=schema)
    assert list(tmp_path.iterdir()) == []
