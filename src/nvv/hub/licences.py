"""What licences allow: which one a model gets from its backbone and corpus, and whether a corpus may be made public.

Licences are named by the Hub's identifiers. Nothing is guessed: a backbone or corpus whose licence was not seen stays
unknown, and so does a model made from it. This is a record of terms, not legal advice. Own work; the backbones'
licences are those that their cards on the Hub state in their metadata.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

UNKNOWN = "unknown"
ON_REQUEST = "on-request"


@dataclass(frozen=True, kw_only=True)
class Licence:
    """What a licence asks, as far as a model made from the licensed work, or a copy of it, is concerned.

    Args:
        identifier: the Hub's identifier, or `unknown`, or `on-request` for data under an agreement of its own.
        title: its name in words.
        url: its text, or None.
        attribution: whether copies must name the authors.
        non_commercial: whether commercial use is excluded.
        share_alike: whether what is made from the work carries the same terms.
        no_derivatives: whether changed copies of the work itself may not be handed on.
        is_known: False where the terms were not seen or are an agreement of their own.
    """

    identifier: str
    title: str
    url: str | None = None
    attribution: bool = True
    non_commercial: bool = False
    share_alike: bool = False
    no_derivatives: bool = False
    is_known: bool = True


def _creative_commons(parts: str, version: str = "4.0") -> Licence:
    """Describe a Creative Commons licence by its parts, such as `by-nc-nd`."""
    return Licence(
        identifier=f"cc-{parts}-{version}",
        title=f"CC {parts.upper()} {version}",
        url=f"https://creativecommons.org/licenses/{parts}/{version}/",
        non_commercial="nc" in parts.split("-"),
        share_alike="sa" in parts.split("-"),
        no_derivatives="nd" in parts.split("-"),
    )


_LICENCES = (
    Licence(identifier="mit", title="MIT", url="https://opensource.org/license/mit"),
    Licence(identifier="apache-2.0", title="Apache 2.0", url="https://www.apache.org/licenses/LICENSE-2.0"),
    Licence(
        identifier="cc0-1.0",
        title="CC0 1.0",
        url="https://creativecommons.org/publicdomain/zero/1.0/",
        attribution=False,
    ),
    *(_creative_commons(parts) for parts in ("by", "by-sa", "by-nd", "by-nc", "by-nc-sa", "by-nc-nd")),
    _creative_commons("by-sa", "3.0"),
    Licence(
        identifier="odbl",
        title="Open Database License 1.0",
        url="https://opendatacommons.org/licenses/odbl/1-0/",
        share_alike=True,
    ),
    Licence(identifier=UNKNOWN, title="an unknown licence", is_known=False),
    Licence(identifier=ON_REQUEST, title="an agreement of its own, on request", is_known=False),
)

LICENCES: Mapping[str, Licence] = MappingProxyType({licence.identifier: licence for licence in _LICENCES})

# Seen in the metadata of each of these cards. Organisations are not listed whole: other wav2vec 2.0 checkpoints of the
# same owner are not under Apache 2.0. Left out, hence unknown: microsoft/wavlm-*, microsoft/unispeech-* and
# microsoft/unispeech-sat-*, whose cards name no licence in their metadata; the text of WavLM's links CC BY-SA 3.0 while
# its source repository is under MIT, and the question there which of them covers the weights is open.
_APACHE_BACKBONES = (
    "openai/whisper-tiny",
    "openai/whisper-base",
    "openai/whisper-small",
    "openai/whisper-large-v3",
    "facebook/wav2vec2-base",
    "facebook/wav2vec2-large",
    "facebook/wav2vec2-large-xlsr-53",
    "facebook/wav2vec2-xls-r-300m",
    "facebook/hubert-base-ls960",
    "facebook/hubert-large-ll60k",
    "alkiskoudounas/voc2vec",  # this and the next three as their authors' repository says, koudounasalkis/voc2vec
    "alkiskoudounas/voc2vec-as-pt",
    "alkiskoudounas/voc2vec-ls-pt",
    "alkiskoudounas/voc2vec-hubert-ls-pt",
)

BACKBONE_LICENCES: Mapping[str, str] = MappingProxyType(
    {
        **dict.fromkeys(_APACHE_BACKBONES, "apache-2.0"),
        "audeering/wav2vec2-large-robust-12-ft-emotion-msp-dim": "cc-by-nc-sa-4.0",
    }
)
"""Hub id of a backbone to the licence of its weights."""


@dataclass(frozen=True, kw_only=True)
class ModelLicence:
    """The licence of a model, for its card.

    Args:
        licence: identifier for the card's metadata; `other` where none fits.
        reason: why, in one sentence.
        name: `license_name` of the metadata where `licence` is `other`, else None.
        link: `license_link` of the metadata where `licence` is `other`, else None.
        notes: further sentences on what the sources ask.
    """

    licence: str
    reason: str
    name: str | None = None
    link: str | None = None
    notes: tuple[str, ...] = ()


def find_licence(identifier: str | None) -> Licence:
    """Return what is known of a licence.

    Args:
        identifier: the Hub's identifier, in any case; None or an empty text for unknown.

    Returns:
        The entry of `LICENCES`; for an identifier not listed there, an entry that says it is not known to this table.
    """
    key = (identifier or "").strip().lower()
    if key in ("", "other"):  # the Hub's `other` says only that it is none of those it knows
        return LICENCES[UNKNOWN]
    return LICENCES.get(key) or Licence(identifier=key, title=key, is_known=False)


@dataclass(frozen=True, kw_only=True)
class CopyTerms:
    """What a licence says on handing on copies of a corpus.

    Args:
        may_be_public: whether anybody may be given a copy.
        reason: why, in one sentence.
        conditions: what whoever hands on a copy must keep to, and what was assumed, each in one sentence; empty where
            copies may not be public.
    """

    may_be_public: bool
    reason: str
    conditions: tuple[str, ...] = ()


def copy_terms(identifier: str | None) -> CopyTerms:
    """Work out whether copies of a corpus may be made public, by its licence alone.

    Every licence of the table that is known allows public copies free of charge; they differ in the conditions. What
    else forbids it (an agreement, the people recorded) is `CorpusFacts.no_public_copies`.

    Args:
        identifier: licence of the corpus; `unknown`, `other`, None or one that is not in the table allows nothing.

    Returns:
        What is allowed, with its reason.

    Example:
        >>> copy_terms("cc-by-nc-nd-4.0").may_be_public, copy_terms("other").may_be_public
        (True, False)
    """
    licence = find_licence(identifier)
    if not licence.is_known:
        return CopyTerms(
            may_be_public=False, reason=f"It is under {licence.title}, so nothing is known to allow public copies."
        )
    conditions = []
    if licence.attribution:
        conditions.append("Whoever hands on a copy names the authors and the licence, as the card does.")
    if licence.non_commercial:
        conditions.append("Copies are free of charge and not for commercial use.")
    if licence.no_derivatives:
        conditions.append(
            "Only unchanged copies may be handed on: it is assumed that the files hold each clip's bytes as released "
            "and that packing some or all of them as Parquet, with columns beside them, changes no recording (CC 4.0 "
            "allows copies in part in section 2(a)(1) and other formats in section 2(a)(4))."
        )
    if licence.share_alike:
        conditions.append(f"Copies, changed ones too, stay under {licence.title}.")
    return CopyTerms(
        may_be_public=True,
        reason=f"It is under {licence.title}, which allows public copies.",
        conditions=tuple(conditions),
    )


def backbone_licence(backbone_id: str) -> str:
    """Return the licence of a backbone's weights.

    Args:
        backbone_id: its id on the Hub, or a folder.

    Returns:
        The licence's identifier, or `unknown`.
    """
    return BACKBONE_LICENCES.get(backbone_id, UNKNOWN)


def _other(reason: str, *, name: str, link: str | None = None, notes: tuple[str, ...] = ()) -> ModelLicence:
    return ModelLicence(licence="other", reason=reason, name=name, link=link, notes=notes)


def _corpus_notes(corpus: Licence) -> tuple[str, ...]:
    notes = []
    if corpus.no_derivatives:
        notes.append(
            f"The recordings themselves ({corpus.title}) may be handed on only unchanged: "
            "not cut, resampled or re-encoded. This repository holds none of them."
        )
    return tuple(notes)


def combine_licences(backbone: str | None, corpus: str | None) -> ModelLicence:
    """Work out a model's licence from those of its backbone's weights and its corpus.

    An unknown licence on either side makes the model's `other`. A non-commercial side makes the model non-commercial,
    and a share-alike side makes it share-alike; two sides that ask different share-alike terms cannot both be met by
    one licence, so that is `other` too. That changed copies of the recordings are forbidden does not bind the model,
    whose weights are no copy of them, but is noted.

    Args:
        backbone: licence of the backbone's weights; None for a backbone from random weights, which brings none.
        corpus: licence of the corpus; `unknown`, `on-request`, None or an empty text where it is not known.

    Returns:
        The model's licence with its reason.

    Example:
        >>> combine_licences("apache-2.0", "cc-by-nc-nd-4.0").licence
        'cc-by-nc-4.0'
    """
    sides = [("corpus", find_licence(corpus))]
    if backbone is not None:
        sides.insert(0, ("backbone", find_licence(backbone)))
    notes = _corpus_notes(sides[-1][1])
    origin = " and ".join(f"the {side} is under {licence.title}" for side, licence in sides)
    if backbone is None:
        origin = f"the backbone's weights are random and bring no licence, and {origin}"

    unknown = [
        f"the {side}'s" if licence.identifier == UNKNOWN else f"the {side}'s ({licence.title})"
        for side, licence in sides
        if not licence.is_known
    ]
    if unknown:
        limits = " and is in any case non-commercial" if any(item.non_commercial for _, item in sides) else ""
        return _other(
            f"The licence of this model is not settled{limits}, because {' and '.join(unknown)} terms are not known: "
            "ask the owners before you use it.",
            name=UNKNOWN,
            notes=notes,
        )

    non_commercial = any(licence.non_commercial for _, licence in sides)
    share_alike = {licence.identifier: licence for _, licence in sides if licence.share_alike}
    if len(share_alike) > 1:
        titles = " and ".join(licence.title for licence in share_alike.values())
        return _other(
            f"No single licence meets the share-alike terms of both sources ({titles}): both apply to this model.",
            name="-and-".join(share_alike),
            notes=notes,
        )
    if share_alike:
        (licence,) = share_alike.values()
        if non_commercial and not licence.non_commercial:
            return _other(
                f"This model is non-commercial and share-alike, because {origin}; no single licence meets both.",
                name=f"{licence.identifier}-and-non-commercial",
                link=licence.url,
                notes=notes,
            )
        return ModelLicence(
            licence=licence.identifier,
            reason=f"This model is under {licence.title}, which is share-alike, because {origin}.",
            notes=notes,
        )
    if non_commercial:
        return ModelLicence(
            licence="cc-by-nc-4.0",
            reason=f"This model may not be used commercially (CC BY-NC 4.0), because {origin}.",
            notes=notes,
        )
    strictest = max((licence for _, licence in sides), key=lambda item: _PERMISSIVE_ORDER.index(item.identifier))
    final = LICENCES["cc-by-4.0"] if strictest.no_derivatives else strictest
    return ModelLicence(
        licence=final.identifier, reason=f"This model is under {final.title}, because {origin}.", notes=notes
    )


_PERMISSIVE_ORDER = ("cc0-1.0", "mit", "apache-2.0", "cc-by-4.0", "cc-by-nd-4.0")
"""Licences without non-commercial or share-alike terms, from the least asked to the most."""
