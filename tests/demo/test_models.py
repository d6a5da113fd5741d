"""Which models a page has, and that those of one encoder share it."""

import numpy as np
import pytest
import torch

from nvv.demo import models as module
from nvv.demo.models import DemoError, Models, model_names
from nvv.inference.load import ModelError


@pytest.fixture
def loads(monkeypatch):
    """Names of the models that are loaded by themselves, encoder and all."""
    names = []
    load = module.load_classifier

    def noted(name, **options):
        names.append(name.rpartition("/")[2])
        return load(name, **options)

    monkeypatch.setattr(module, "load_classifier", noted)
    return names


@torch.inference_mode()
def logits_of(models, shown, waveform):
    with models.using(shown) as classifier:
        return classifier.model(torch.from_numpy(waveform)[None]).logits[0].numpy(), classifier


@pytest.fixture
def waveform():
    return np.random.default_rng(0).standard_normal(16_000).astype(np.float32)


def test_names_have_revisions_and_no_paths_of_the_machine(tmp_path):
    (tmp_path / "a@b").mkdir()
    (tmp_path / "deep" / "a@b").mkdir(parents=True)
    names = model_names(["nvv/tiny", "nvv/tiny@v1", str(tmp_path / "a@b"), str(tmp_path / "deep" / "a@b")])
    assert [(name.shown, name.revision) for name in names] == [
        ("nvv/tiny", None),
        ("nvv/tiny@v1", "v1"),
        ("a@b", None),
        ("a@b (2)", None),
    ]
    assert names[1].name == "nvv/tiny"


@pytest.mark.parametrize(("names", "message"), [([], "found none"), (["a/b", "a/b"], "a/b is named twice")])
def test_names_are_refused_when_none_or_twice(names, message):
    with pytest.raises(DemoError, match=message):
        model_names(names)


def test_adapters_of_one_encoder_share_it_and_answer_as_if_alone(make_model_folder, logits_alone, loads, waveform):
    folders = [
        make_model_folder("lora", seed=1),
        make_model_folder("adapter", method="adapter", seed=2, labels=("hum", "gasp", "cry", "moan")),
        make_model_folder("probe", method="frozen", seed=3),
    ]
    models = Models([str(folder) for folder in folders])
    for folder in (*folders, *reversed(folders)):
        logits, classifier = logits_of(models, folder.name, waveform)
        np.testing.assert_allclose(logits, logits_alone(folder, waveform), atol=1e-5)
        assert len(classifier.label_names) == len(logits)
        assert classifier.facts.id == folder.name
    assert loads == ["lora"]


def test_adapters_share_an_encoder_when_it_computes_in_bfloat16(make_model_folder, logits_alone, loads, waveform):
    folders = [make_model_folder("lora", seed=1), make_model_folder("adapter", method="adapter", seed=2)]
    models = Models([str(folder) for folder in folders], dtype="bfloat16")
    for folder in (*folders, *folders):
        with models.using(folder.name) as classifier, torch.inference_mode():
            logits = classifier.model(torch.from_numpy(waveform)[None].bfloat16()).logits[0]
        assert logits.dtype == torch.bfloat16
        np.testing.assert_allclose(logits.float().numpy(), logits_alone(folder, waveform), atol=0.1)
    assert loads == ["lora"]


def test_models_of_other_encoders_are_loaded_by_themselves_and_the_oldest_goes(make_model_folder, loads, waveform):
    folders = [
        make_model_folder("one"),
        make_model_folder("other", encoder_seed=5),
        make_model_folder("whole", method="full"),
    ]
    models = Models([str(folder) for folder in folders], max_loaded=2)
    for shown in ("one", "other", "one", "whole", "one", "other"):
        logits_of(models, shown, waveform)
    # `whole` displaces `other`, which was not used for longest; `other` then displaces `whole`.
    assert loads == ["one", "other", "whole", "other"]


def test_operating_point_is_never_applied(make_model_folder, logits_alone, waveform):
    plain = make_model_folder("plain")
    moved = make_model_folder("moved", operating_points={"sigh": {"threshold": 0.9}}, apply_operating_point="sigh")
    models = Models([str(plain), str(moved)])
    expected = logits_alone(plain, waveform)
    assert np.abs(logits_alone(moved, waveform) - expected).max() > 0.1
    np.testing.assert_allclose(logits_of(models, "moved", waveform)[0], expected, atol=1e-5)


def test_models_are_checked_before_they_are_loaded(make_model_folder, loads, tmp_path):
    good = make_model_folder("good")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelError, match=r"has neither config\.json nor adapter_config\.json"):
        Models([str(good), str(tmp_path / "empty")])
    with pytest.raises(DemoError, match="max_loaded: expected 1 or more, found 0"):
        Models([str(good)], max_loaded=0)
    with pytest.raises(DemoError, match="dtype: expected one of float32"):
        Models([str(good)], dtype="float8")
    assert loads == []


def test_visitors_choose_among_the_models_given(make_model_folder):
    good = make_model_folder("good")
    other = make_model_folder("other")
    models = Models([str(good)])
    for shown in (str(other), "nvv/tiny", str(good)):
        with pytest.raises(DemoError, match="There is no model"), models.using(shown):
            pass


def test_visitors_name_other_repositories_and_no_folders_when_any_is_allowed(make_model_folder, tmp_path, monkeypatch):
    make_model_folder("owner/secret")
    monkeypatch.chdir(tmp_path)
    models = Models([str(make_model_folder("good"))], allow_any=True)
    for shown in ("owner/secret", str(tmp_path / "good"), "../good", "a/../b", "good/", "a/b@", "", "a/b/c"):
        with pytest.raises(DemoError, match="is no Hub id"):
            models.name_of(shown)
    name = models.name_of("nvv/tiny@v1.0")
    assert (name.name, name.revision) == ("nvv/tiny", "v1.0")
