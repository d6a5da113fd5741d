import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image

from nvv.segmentation.events import Event
from nvv.segmentation.segment import Segmentation
from nvv.segmentation.settings import SegmentationSettings
from nvv.segmentation.timeline import WaveformEnvelope, clock_time, timeline_figure, write_timeline


@pytest.fixture
def make_segmentation():
    """The function that makes a recording of some seconds and labels, each label with an event; scores are 0.25."""

    def make(seconds=60.0, num_labels=3, *, num_found=None, **fields):
        labels = tuple(f"label {at}" for at in range(num_labels))
        starts = np.arange(0.0, seconds, 0.25) - 0.375
        events = [
            Event(start_s=seconds * at / num_labels, end_s=seconds * at / num_labels + 0.5, label=label, score=0.8)
            for at, label in enumerate(labels[:num_found])
        ]
        values = {
            "file": "talk.wav",
            "duration_s": seconds,
            "events": tuple(events),
            "labels": labels,
            "window_starts_s": starts,
            "window_s": 1.0,
            "hop_s": 0.25,
            "scores": np.full((len(starts), num_labels), 0.25, dtype=np.float32),
            "thresholds": dict.fromkeys(labels, 0.5),
            "model": "runs/laughter",
            "model_is_trained": True,
            "settings": SegmentationSettings(),
        }
        return Segmentation(**{**values, **fields})

    return make


@pytest.fixture
def envelope():
    outline = WaveformEnvelope()
    outline.add(np.sin(np.arange(160_000, dtype=np.float32)))
    return outline


def drawn(figure):
    """Draw, so that ticks and sizes are there."""
    FigureCanvasAgg(figure).draw()
    return figure


def words_of(figure):
    return [text.get_text() for axes in figure.axes for text in axes.findobj(lambda item: hasattr(item, "get_text"))]


def ticks_of(figure):
    left, right = figure.axes[-1].get_xlim()
    axis = figure.axes[-1].xaxis
    return [
        label.get_text()
        for label, place in zip(axis.get_ticklabels(), axis.get_ticklocs(), strict=True)
        if left <= place <= right
    ]


@pytest.mark.parametrize(
    ("seconds", "first", "last"),
    [
        (3.0, ["0:00.0", "0:00.5", "0:01.0"], "0:03.0"),
        (180.0, ["0:00", "0:15", "0:30"], "3:00"),
        (3600.0, ["0:00", "5:00", "10:00"], "1:00:00"),
        (36_000.0, ["0:00", "1:00:00", "2:00:00"], "10:00:00"),
    ],
)
def test_time_axis_has_round_times_when_recordings_are_short_and_long(seconds, first, last, make_segmentation):
    figure = drawn(timeline_figure(make_segmentation(seconds, 1, window_starts_s=np.zeros(1), scores=np.zeros((1, 1)))))
    ticks = ticks_of(figure)
    assert ticks[:3] == first
    assert ticks[-1] == last
    assert len(ticks) <= 13


def test_row_shows_events_scores_and_threshold_of_its_label(make_segmentation, envelope):
    figure = drawn(timeline_figure(make_segmentation(thresholds={"label 1": 0.7}), envelope))
    waveform, *rows = figure.axes
    assert waveform.get_ylabel() == "waveform"
    assert [row.get_ylabel() for row in rows] == ["label 0  (1)", "label 1  (1)", "label 2  (1)"]
    # The second of three labels over 60 s: its event is at 20 s.
    bars = [path.get_extents() for item in rows[1].collections for path in item.get_paths()]
    assert {(round(bar.x0, 6), round(bar.x1, 6)) for bar in bars} == {(20.0, 20.5)}
    curve, threshold = rows[1].lines
    # Windows of 1 s: the first one, from -0.375 s, is about 0.125 s.
    assert curve.get_xdata()[0] == pytest.approx(0.125)
    assert set(curve.get_ydata()) == {0.25}
    assert set(threshold.get_ydata()) == {0.7}
    assert len(rows[0].lines) == 1


def test_waveform_spans_the_recording_and_is_left_out_without_an_envelope(make_segmentation, envelope):
    with_waveform = timeline_figure(make_segmentation(10.0), envelope)
    outline = with_waveform.axes[0].collections[0].get_paths()[0].get_extents()
    assert outline.x0 == pytest.approx(0, abs=0.01)
    assert outline.x1 == pytest.approx(10, abs=0.01)
    assert outline.y1 == pytest.approx(1, abs=1e-3)
    assert len(timeline_figure(make_segmentation(10.0)).axes) == len(with_waveform.axes) - 1


def test_curve_keeps_its_highest_scores_and_its_gaps_when_the_recording_is_long(make_segmentation):
    scores = np.full((14_400, 1), 0.1, dtype=np.float32)
    scores[3] = np.nan  # one of the windows behind the first point
    scores[7001] = 0.95
    scores[10_000:11_000] = np.nan
    figure = timeline_figure(make_segmentation(3600.0, 1, scores=scores))
    curve = figure.axes[0].lines[0]
    times, values = curve.get_xdata(), curve.get_ydata()
    assert len(times) <= 1000
    assert times[np.nanargmax(values)] == pytest.approx(7001 * 0.25, abs=4)
    assert values[0] == pytest.approx(0.1)
    assert np.nanmax(values) == pytest.approx(0.95)
    assert times[np.isnan(values)].min() == pytest.approx(2500, abs=4)
    assert times[np.isnan(values)].max() == pytest.approx(2750, abs=8)


def test_row_shows_curves_without_warnings_when_nothing_was_heard(make_segmentation, recwarn):
    figure = timeline_figure(make_segmentation(3600.0, 2, num_found=0, scores=np.full((14_400, 2), np.nan)))
    drawn(figure)
    assert not [warning for warning in recwarn if issubclass(warning.category, RuntimeWarning)]


def test_labels_without_events_have_no_row_when_there_are_many(make_segmentation):
    assert len(timeline_figure(make_segmentation(num_labels=20, num_found=4)).axes) == 20
    figure = timeline_figure(make_segmentation(num_labels=21, num_found=4))
    assert len(figure.axes) == 4
    assert "17 labels without an event are not shown" in figure.axes[-1].get_xlabel()
    assert "no events" in words_of(timeline_figure(make_segmentation(num_labels=21, num_found=0)))


@pytest.mark.parametrize(("is_trained", "says_so"), [(False, True), (True, False), (None, False)])
def test_picture_says_that_it_is_no_result_when_weights_are_random(is_trained, says_so, make_segmentation):
    words = words_of(timeline_figure(make_segmentation(model_is_trained=is_trained)))
    assert any("no result" in text for text in words) == says_so


def test_names_are_written_as_they_are_when_they_look_like_formulas(make_segmentation, tmp_path):
    segmentation = make_segmentation(num_labels=1, file=r"a $\nonsense{$.wav", model="$x")
    path = write_timeline(tmp_path / "talk.png", segmentation)
    assert r"a $\nonsense{$.wav: 1 event in 1:00" in words_of(timeline_figure(segmentation))
    assert list(tmp_path.iterdir()) == [path]


def test_same_input_gives_the_same_bytes(make_segmentation, envelope, tmp_path):
    first, second = (
        write_timeline(tmp_path / name, make_segmentation(), waveform_envelope=envelope) for name in ("1.png", "2.png")
    )
    assert first.read_bytes() == second.read_bytes()
    assert 0.3 < np.divide(*reversed(Image.open(first).size)) < 0.5


def test_event_of_half_a_second_is_seen_in_a_picture_of_ten_hours(make_segmentation, tmp_path):
    few = {"window_starts_s": np.zeros(1), "scores": np.zeros((1, 1))}
    pictures = [
        np.asarray(Image.open(write_timeline(tmp_path / name, make_segmentation(36_000.0, 1, num_found=num, **few))))
        for name, num in (("none.png", 0), ("one.png", 1))
    ]
    blue = [((picture[..., 2].astype(int) - picture[..., 0]) > 100).sum() for picture in pictures]
    assert blue[0] == 0
    assert blue[1] > 20


@pytest.mark.parametrize(
    ("seconds", "decimals", "text"),
    [(0, 0, "0:00"), (59.96, 1, "1:00.0"), (3599.6, 0, "1:00:00"), (3661, 0, "1:01:01"), (0.25, 2, "0:00.25")],
)
def test_clock_time_rounds_and_carries(seconds, decimals, text):
    assert clock_time(seconds, decimals=decimals) == text
