import pytest

from nvv import NvvConfig, NvvForAudioClassification
from nvv.decisions_nvv import front_end_of
from nvv.inference.load import Classifier, ModelError
from nvv.segmentation.plan import caveats_of, plan_segmentation
from nvv.segmentation.settings import SegmentationSettings
from nvv.training.arguments import ArgumentsError


def plan_of(classifier, **fields):
    return plan_segmentation(classifier, SegmentationSettings(**fields))


def changed(classifier, **fields):
    return Classifier(**{**vars(classifier), **fields})


@pytest.fixture
def with_tasks(tone_detector, tiny_backbone_config):
    """The function that makes a classifier of tasks."""

    def make(*tasks):
        config = NvvConfig(backbone_config=tiny_backbone_config("whisper"), tasks=list(tasks), max_seconds=3.0)
        names = [config.id2label[index] for index in range(config.num_labels)]
        return changed(tone_detector, model=NvvForAudioClassification(config).eval(), label_names=names, has_tasks=True)

    return make


EMOTION = {"name": "emotion", "kind": "regression", "outputs": ["awe", "fear"]}
TYPE = {"name": "type", "kind": "classification", "outputs": ["speech", "laugh", "cry"]}
PLACE = {"name": "place", "kind": "classification", "outputs": ["indoors", "outdoors"]}


def test_classes_are_rivals_and_the_background_is_none_of_them(tone_detector):
    plan = plan_of(tone_detector)
    assert plan.labels == ("low", "high")
    assert plan.columns == (1, 2)
    assert plan.rivals == ((0, 1),)
    assert (plan.window_samples, plan.hop_samples, plan.num_smoothed) == (16_000, 4_000, 3)
    assert plan.thresholds == (0.5, 0.5)
    assert plan.releases == pytest.approx((0.4, 0.4))
    assert plan_of(tone_detector, overlapping=True).rivals == ()
    assert plan_of(tone_detector, background=()).rivals == ((0, 1, 2),)


def test_labels_with_yes_or_no_are_no_rivals(tone_detector):
    assert plan_of(changed(tone_detector, is_multi_label=True)).rivals == ()


@pytest.mark.parametrize(("fields", "multi_label"), [({}, True), ({"labels": ("low",)}, False)])
def test_letting_overlap_what_does_so_already_is_an_error(tone_detector, fields, multi_label):
    with pytest.raises(ArgumentsError, match="overlapping: has no effect on low"):
        plan_of(changed(tone_detector, is_multi_label=multi_label), overlapping=True, **fields)


def test_numbers_have_no_events(with_tasks):
    with pytest.raises(ModelError, match=r"predicts numbers \(awe, fear\), which have no events"):
        plan_of(with_tasks(EMOTION))


def test_numbers_beside_classes_are_left_aside_and_each_choice_has_its_own_rivals(with_tasks):
    plan = plan_of(with_tasks(EMOTION, TYPE, PLACE))
    assert plan.labels == ("type/laugh", "type/cry", "place/indoors", "place/outdoors")
    assert plan.columns == (3, 4, 5, 6)
    assert plan.rivals == ((0, 1), (2, 3))


def test_stored_operating_points_are_thresholds_unless_others_are_given(tone_detector):
    config = tone_detector.model.config
    config.operating_points = {"low": {"threshold": 0.2, "front_end": front_end_of(config)}}
    assert plan_of(tone_detector).thresholds == (0.2, 0.5)
    assert plan_of(tone_detector).releases == pytest.approx((0.16, 0.4))
    assert plan_of(tone_detector, thresholds={"high": 0.9}).thresholds == (0.2, 0.9)
    assert plan_of(tone_detector, threshold=0.6, thresholds={"high": 0.9}).thresholds == (0.6, 0.9)


def test_operating_point_of_another_front_end_is_refused_where_it_would_be_used(tone_detector):
    config = tone_detector.model.config
    config.operating_points = {"low": {"threshold": 0.2, "front_end": {**front_end_of(config), "max_seconds": 1.0}}}
    with pytest.raises(ValueError, match="chosen with another front-end"):
        plan_of(tone_detector)
    assert plan_of(tone_detector, threshold=0.6).thresholds == (0.6, 0.6)


def test_window_is_no_longer_than_what_the_model_hears(tone_detector):
    assert plan_of(tone_detector, window_seconds=3.0).window_samples == 48_000
    with pytest.raises(ArgumentsError, match="hears the first 3 s"):
        plan_of(tone_detector, window_seconds=3.1)


def test_hop_is_a_sample_at_least(tone_detector):
    assert plan_of(tone_detector, window_seconds=0.01, hop_seconds=1e-6).hop_samples == 1


def test_model_without_a_rest_class_has_a_caveat(tone_detector, with_tasks):
    settings = SegmentationSettings()
    assert caveats_of(tone_detector, settings) == []
    assert caveats_of(changed(tone_detector, is_multi_label=True, label_names=["a", "b", "c"]), settings) == []
    renamed = changed(tone_detector, label_names=["a", "b", "c"])
    (caveat,) = caveats_of(renamed, settings)
    assert caveat.startswith(
        "The model has no class for what is not one of a, b, c, so that speech and noise are taken"
    )
    assert caveats_of(renamed, SegmentationSettings(background=("b",))) == []
    (caveat,) = caveats_of(with_tasks(EMOTION, TYPE, PLACE), settings)
    assert "place/indoors, place/outdoors" in caveat
    many = changed(tone_detector, label_names=[f"l{at}" for at in range(50)])
    many.model.config.update({"id2label": {at: f"l{at}" for at in range(50)}})
    assert "l11 … (50)" in caveats_of(many, settings)[0]
