import dataclasses

import pytest

from nvv.data import CorpusFacts


def test_facts_are_refused_when_licence_is_blank():
    with pytest.raises(ValueError, match=r"CorpusFacts\.licence must not be blank"):
        CorpusFacts(name="x", pretty_name="X", licence=" ")


def test_facts_cannot_be_changed():
    facts = CorpusFacts(name="x", pretty_name="X", licence="mit")
    with pytest.raises(dataclasses.FrozenInstanceError):
        facts.licence = "other"
    assert facts.is_synthetic is False
