import pytest

from nvv.data.prepared import is_prepared


@pytest.mark.parametrize(
    ("card", "expected"),
    [
        ("---\ntags:\n- nvv\n---\n", True),
        ("---\ntags:\n- other\n---\n", False),
        ("---\nlicense: mit\n---\n", False),
        ("no header", False),
        ("---\ntags: [\n---\n", False),  # not YAML
        ("---\n- nvv\n---\n", False),  # no mapping
        (None, False),
    ],
)
def test_folder_is_prepared_when_its_card_says_so(tmp_path, card, expected):
    if card is not None:
        (tmp_path / "README.md").write_text(card)
    assert is_prepared(tmp_path) is expected


def test_missing_folder_is_not_prepared(tmp_path):
    assert not is_prepared(tmp_path / "nothing")
