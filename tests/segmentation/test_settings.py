import pytest

from nvv.segmentation.settings import SegmentationSettings, is_background_name
from nvv.training.arguments import ArgumentsError

LABELS = ("other", "laughing", "sighing")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"window_seconds": 0.0}, "window_seconds: expected more than 0"),
        ({"hop_seconds": float("nan")}, "hop_seconds: expected more than 0"),
        ({"window_seconds": 1.0, "hop_seconds": 1.5}, "hop_seconds: expected at most the window of 1 s, found 1.5"),
        ({"smoothing": "mode"}, "smoothing: expected one of median, mean, none; found 'mode'"),
        ({"smoothing": "none", "smoothing_seconds": 1.0}, "smoothing_seconds: has no effect with smoothing none"),
        ({"smoothing_seconds": -1.0}, "smoothing_seconds: expected 0 or more"),
        ({"threshold": 1.0}, "threshold: expected a score between 0 and 1, found 1.0"),
        ({"thresholds": {"laughing": 0.0}}, r"thresholds \(laughing\): expected a score between 0 and 1, found 0.0"),
        ({"threshold": 0.5, "release_threshold": 0.6}, "release_threshold: expected at most the threshold of 0.5"),
        ({"release_threshold": 0.0}, "release_threshold: expected a score between 0 and 1"),
        ({"min_event_seconds": -0.1}, "min_event_seconds: expected 0 or more"),
        ({"max_gap_seconds": float("inf")}, "max_gap_seconds: expected 0 or more"),
        ({"labels": ()}, "labels: expected at least one label"),
        ({"labels": "laughing"}, "labels: expected several labels, found the text 'laughing'"),
        ({"labels": ("a",), "background": ("b",)}, "labels and background: labels already says"),
        ({"silence_dbfs": 0.0}, "silence_dbfs: expected less than 0 dB"),
    ],
)
def test_settings_that_cannot_be_are_errors(fields, message):
    with pytest.raises(ArgumentsError, match=message):
        SegmentationSettings(**fields)


@pytest.mark.parametrize(
    ("fields", "max_seconds", "expected"),
    [
        ({}, 7.0, (1.0, 0.25)),
        ({}, None, (1.0, 0.25)),
        ({}, 0.8, (0.8, 0.2)),  # the model hears no more
        ({"window_seconds": 2.0}, 7.0, (2.0, 0.5)),
        ({"hop_seconds": 0.1}, 7.0, (1.0, 0.1)),
    ],
)
def test_window_and_hop_follow_from_the_model_where_nobody_chooses_them(fields, max_seconds, expected):
    assert SegmentationSettings(**fields).window_and_hop(max_seconds=max_seconds) == pytest.approx(expected)


def test_window_that_the_model_would_cut_is_an_error():
    with pytest.raises(ArgumentsError, match=r"hears the first 3 s of a clip, so that a window of 4 s would be cut"):
        SegmentationSettings(window_seconds=4.0).window_and_hop(max_seconds=3.0)
    with pytest.raises(ArgumentsError, match=r"hop_seconds: expected at most the window, which is 0\.5 s"):
        SegmentationSettings(hop_seconds=0.75).window_and_hop(max_seconds=0.5)


@pytest.mark.parametrize(
    ("fields", "windows"),
    [
        ({}, 3),
        ({"smoothing": "none"}, 1),
        ({"smoothing_seconds": 0.0}, 1),
        ({"smoothing_seconds": 0.25}, 1),
        ({"smoothing_seconds": 1.25}, 5),
        ({"smoothing_seconds": 1.4}, 5),
        ({"smoothing": "mean", "smoothing_seconds": 2.2}, 9),
    ],
)
def test_smoothing_is_over_an_odd_number_of_windows(fields, windows):
    assert SegmentationSettings(**fields).smoothed_windows(0.25) == windows


def test_background_is_left_out_unless_it_is_asked_for():
    assert SegmentationSettings().foreground(LABELS) == ("laughing", "sighing")
    assert SegmentationSettings(labels=("other",)).foreground(LABELS) == ("other",)
    assert SegmentationSettings(background=("sighing",)).foreground(LABELS) == ("other", "laughing")
    assert SegmentationSettings(background=()).foreground(LABELS) == LABELS
    assert SegmentationSettings(labels=("sighing", "laughing")).foreground(LABELS) == ("laughing", "sighing")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"labels": ("crying",)}, "labels: the model has no label 'crying'; it has other, laughing, sighing"),
        ({"background": ("speech",)}, "background: the model has no label 'speech'"),
        ({"thresholds": {"crying": 0.5}}, "thresholds: the model has no label 'crying'"),
        ({"thresholds": {"other": 0.5}}, "thresholds: 'other' is not among the labels that become events"),
        ({"background": LABELS}, "labels: all of the model's .* are background"),
    ],
)
def test_labels_that_do_not_fit_the_model_are_errors(fields, message):
    with pytest.raises(ArgumentsError, match=message):
        SegmentationSettings(**fields).foreground(LABELS)


def test_own_threshold_comes_before_the_general_one_and_that_before_the_stored_one():
    stored = {"laughing": 0.3}
    assert SegmentationSettings().threshold_of("laughing", stored=stored) == 0.3
    assert SegmentationSettings().threshold_of("sighing", stored=stored) == 0.5
    general = SegmentationSettings(threshold=0.6, thresholds={"laughing": 0.7})
    assert general.threshold_of("laughing", stored=stored) == 0.7
    assert SegmentationSettings(threshold=0.6).threshold_of("laughing", stored=stored) == 0.6
    assert general.threshold_of("sighing", stored=stored) == 0.6


def test_release_threshold_is_never_above_the_threshold():
    assert SegmentationSettings().release_of(0.5) == pytest.approx(0.4)
    assert SegmentationSettings(release_threshold=0.3).release_of(0.5) == 0.3
    assert SegmentationSettings(release_threshold=0.3).release_of(0.2) == 0.2


@pytest.mark.parametrize(
    "name", ["other", "Background", "background noise", "_background_noise_", "type/Speech", "no-event"]
)
def test_usual_names_of_the_rest_are_known(name):
    assert is_background_name(name)


@pytest.mark.parametrize("name", ["laughing", "noisy breathing", "other/laughing"])
def test_other_names_are_not(name):
    assert not is_background_name(name)
