import pytest

from nvv.hub.licences import BACKBONE_LICENCES, LICENCES, backbone_licence, combine_licences, copy_terms, find_licence


@pytest.mark.parametrize(
    ("backbone", "corpus", "expected"),
    [
        ("apache-2.0", "cc-by-4.0", "cc-by-4.0"),
        ("apache-2.0", "mit", "apache-2.0"),
        ("mit", "cc0-1.0", "mit"),
        ("apache-2.0", "cc-by-nc-4.0", "cc-by-nc-4.0"),
        ("apache-2.0", "cc-by-nc-nd-4.0", "cc-by-nc-4.0"),
        ("apache-2.0", "CC-BY-NC-ND-4.0", "cc-by-nc-4.0"),
        ("apache-2.0", "cc-by-nc-sa-4.0", "cc-by-nc-sa-4.0"),
        ("apache-2.0", "cc-by-sa-4.0", "cc-by-sa-4.0"),
        ("apache-2.0", "odbl", "odbl"),
        ("apache-2.0", "cc-by-nd-4.0", "cc-by-4.0"),
        ("cc-by-nc-sa-4.0", "cc-by-4.0", "cc-by-nc-sa-4.0"),
        ("cc-by-nc-sa-4.0", "cc-by-nc-4.0", "cc-by-nc-sa-4.0"),
        ("cc-by-nc-sa-4.0", "cc-by-sa-4.0", "other"),  # two share-alike terms at once
        ("cc-by-sa-4.0", "cc-by-nc-4.0", "other"),  # share-alike may not be restricted further
        ("apache-2.0", "on-request", "other"),
        ("apache-2.0", "other", "other"),
        ("apache-2.0", "", "other"),
        ("apache-2.0", None, "other"),
        ("unknown", "mit", "other"),
        ("unknown", "cc-by-nc-4.0", "other"),
        (None, "cc-by-nc-nd-4.0", "cc-by-nc-4.0"),  # random weights bring no licence
        (None, "mit", "mit"),
    ],
)
def test_model_licence_follows_from_backbone_and_corpus(backbone, corpus, expected):
    result = combine_licences(backbone, corpus)
    assert result.licence == expected
    assert (result.name is not None) == (expected == "other")


def test_non_commercial_corpus_is_named_as_the_reason():
    result = combine_licences("apache-2.0", "cc-by-nc-nd-4.0")
    assert result.reason == (
        "This model may not be used commercially (CC BY-NC 4.0), because the backbone is under Apache 2.0 and the "
        "corpus is under CC BY-NC-ND 4.0."
    )
    assert "handed on only unchanged" in result.notes[0]


def test_unknown_backbone_is_named_as_the_reason_and_non_commercial_use_stays_excluded():
    result = combine_licences("unknown", "cc-by-nc-4.0")
    assert result.name == "unknown"
    assert "not settled and is in any case non-commercial" in result.reason
    assert "the backbone's terms are not known" in result.reason


def test_no_commercial_licence_comes_of_a_non_commercial_side():
    known = [None, *LICENCES]
    for backbone in known:
        for corpus in LICENCES:
            sides = [LICENCES[name] for name in (backbone, corpus) if name]
            if not any(side.non_commercial for side in sides):
                continue
            result = combine_licences(backbone, corpus)
            text = f"{result.licence} {result.name} {result.reason}"
            assert "-nc" in text or "non-commercial" in text, (backbone, corpus)


def test_share_alike_is_kept_or_said_to_be_unmet():
    for backbone in LICENCES:
        for corpus in LICENCES:
            sides = [LICENCES[name] for name in (backbone, corpus)]
            if not any(side.share_alike for side in sides) or not all(side.is_known for side in sides):
                continue
            result = combine_licences(backbone, corpus)
            assert result.licence == "other" or LICENCES[result.licence].share_alike, (backbone, corpus)


def test_properties_of_creative_commons_follow_from_their_letters():
    licence = LICENCES["cc-by-nc-nd-4.0"]
    assert (licence.non_commercial, licence.no_derivatives, licence.share_alike) == (True, True, False)
    assert licence.url == "https://creativecommons.org/licenses/by-nc-nd/4.0/"
    assert LICENCES["cc-by-sa-4.0"].share_alike
    assert not LICENCES["cc-by-4.0"].non_commercial


@pytest.mark.parametrize(
    ("backbone", "expected"),
    [
        ("openai/whisper-tiny", "apache-2.0"),
        ("facebook/wav2vec2-large-xlsr-53", "apache-2.0"),
        ("facebook/hubert-base-ls960", "apache-2.0"),
        ("audeering/wav2vec2-large-robust-12-ft-emotion-msp-dim", "cc-by-nc-sa-4.0"),
        ("microsoft/wavlm-base-plus", "unknown"),
        ("microsoft/unispeech-sat-base-plus", "unknown"),
        ("runs/my-backbone", "unknown"),
    ],
)
def test_backbone_licence_is_unknown_unless_it_was_seen(backbone, expected):
    assert backbone_licence(backbone) == expected


def test_every_backbone_licence_is_in_the_table():
    assert set(BACKBONE_LICENCES.values()) <= set(LICENCES)


def test_licence_outside_the_table_is_not_taken_for_a_free_one():
    assert not find_licence("my-own-1.0").is_known
    assert combine_licences("apache-2.0", "my-own-1.0").reason.startswith(
        "The licence of this model is not settled, because the corpus's (my-own-1.0) terms are not known"
    )


@pytest.mark.parametrize(
    ("licence", "words"),
    [
        ("cc0-1.0", []),
        ("cc-by-4.0", ["names the authors"]),
        ("cc-by-sa-4.0", ["names the authors", "stay under CC BY-SA 4.0"]),
        ("cc-by-nc-4.0", ["names the authors", "not for commercial use"]),
        ("cc-by-nc-nd-4.0", ["names the authors", "not for commercial use", "Only unchanged copies"]),
        ("CC-BY-NC-SA-4.0", ["names the authors", "not for commercial use", "stay under CC BY-NC-SA 4.0"]),
        ("odbl", ["names the authors", "stay under Open Database License 1.0"]),
        ("mit", ["names the authors"]),
    ],
)
def test_public_copies_are_allowed_on_the_licences_conditions(licence, words):
    terms = copy_terms(licence)
    assert terms.may_be_public
    assert f"under {find_licence(licence).title}" in terms.reason
    assert len(terms.conditions) == len(words)
    for condition, word in zip(terms.conditions, words, strict=True):
        assert word in condition


@pytest.mark.parametrize("licence", ["unknown", "on-request", "other", "", None, "my-own-1.0"])
def test_public_copies_are_not_allowed_when_the_licence_is_not_known(licence):
    terms = copy_terms(licence)
    assert not terms.may_be_public
    assert terms.conditions == ()
    assert "nothing is known to allow public copies" in terms.reason
