import pytest

from nvv.files import replaced_when_complete, write_text


def test_text_is_written_whole_into_a_new_folder(tmp_path):
    path = write_text(tmp_path / "a" / "b.txt", "Ä\n")
    assert path.read_bytes() == "Ä\n".encode()
    assert list(path.parent.iterdir()) == [path]


def test_old_content_stays_and_nothing_is_left_when_writing_stops(tmp_path):
    path = write_text(tmp_path / "a.txt", "old")

    def write_half_and_stop():
        with replaced_when_complete(path) as temporary:
            temporary.write_text("ha")
            assert path.read_text() == "old"
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_half_and_stop()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_temporary_file_keeps_the_suffix(tmp_path):
    with replaced_when_complete(tmp_path / "plot.png") as temporary:
        assert temporary.suffix == ".png"
        assert temporary.parent == tmp_path
        temporary.touch()
