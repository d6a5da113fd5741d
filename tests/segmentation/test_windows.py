import numpy as np
import pytest

from nvv.segmentation.windows import WindowCutter, cell_borders, num_cells, window_starts


def cut(waveform, *, window, hop, block):
    cutter = WindowCutter(window_samples=window, hop_samples=hop)
    blocks = [waveform[at : at + block] for at in range(0, len(waveform), block)]
    windows = list(cutter.cut(blocks))
    assert cutter.num_samples == len(waveform)
    return windows


@pytest.mark.parametrize(("window", "hop"), [(8, 4), (8, 2), (9, 4), (7, 7), (10, 3)])
@pytest.mark.parametrize("samples", [11, 12, 25, 26, 27, 40, 63])
@pytest.mark.parametrize("block", [1, 5, 64])
def test_windows_are_those_of_the_whole_waveform_cut_at_its_ends(window, hop, samples, block):
    waveform = np.arange(samples, dtype=np.float32)
    windows = cut(waveform, window=window, hop=hop, block=block)
    starts = window_starts(samples, window, hop)
    assert [one.index for one in windows] == list(range(len(starts))) == list(range(num_cells(samples, window, hop)))
    for one, start in zip(windows, starts, strict=True):
        expected = waveform[max(0, start) : start + window]
        np.testing.assert_array_equal(one.waveform, expected)
        assert one.start == max(0, start)
        assert len(one.waveform) >= window // 2


@pytest.mark.parametrize(("window", "hop"), [(8, 4), (9, 4), (7, 7), (10, 3)])
@pytest.mark.parametrize("samples", range(11, 50))
def test_cells_tile_the_recording_and_each_has_its_window_around_it(window, hop, samples):
    borders = cell_borders(samples, window, hop)
    assert (borders[0], borders[-1]) == (0, samples)
    lengths = np.diff(borders)
    assert set(lengths[:-1]) <= {hop}
    assert hop / 2 <= lengths[-1] <= 1.5 * hop
    centres = window_starts(samples, window, hop) + window / 2
    # The middle of a hop, to half a sample; the last cell may be longer or shorter than that.
    assert np.abs(centres - (borders[:-1] + hop / 2)).max() <= 0.5


@pytest.mark.parametrize("samples", [1, 7, 8])
def test_recording_no_longer_than_a_window_is_one_window(samples):
    waveform = np.arange(samples, dtype=np.float32)
    (one,) = cut(waveform, window=8, hop=2, block=3)
    np.testing.assert_array_equal(one.waveform, waveform)
    assert cell_borders(samples, 8, 2).tolist() == [0, samples]
    assert abs(window_starts(samples, 8, 2)[0] + 4 - samples / 2) <= 0.5


def test_windows_come_as_soon_as_their_last_sample_and_the_rest_is_forgotten():
    cutter = WindowCutter(window_samples=8, hop_samples=4)
    taken = []

    def blocks():
        for number in range(1000):
            taken.append(number)
            yield np.full(10, number, dtype=np.float32)

    windows = cutter.cut(blocks())
    for _ in range(100):  # window 100 ends at 100 · 4 + 6 = 406
        next(windows)
    assert len(taken) == 41
    assert len(cutter._kept) <= 8 + 10


def test_windows_of_different_blocks_do_not_change_each_other():
    windows = cut(np.arange(40, dtype=np.float32), window=8, hop=4, block=7)
    assert windows[1].waveform[0] == 2.0  # starts at 4 - (8 - 4) / 2
    assert windows[1].waveform.tolist() == list(range(2, 10))


def test_no_sample_is_an_error():
    with pytest.raises(ValueError, match="blocks: expected at least one sample"):
        cut(np.zeros(0, np.float32), window=4, hop=2, block=3)


@pytest.mark.parametrize("hop", [0, 5])
def test_hop_is_from_one_sample_to_a_window(hop):
    with pytest.raises(ValueError, match=rf"hop_samples: expected from 1 to window_samples \(4\), found {hop}"):
        WindowCutter(window_samples=4, hop_samples=hop)
