"""What a corpus states about itself: name, licence, citation, limits.

A loading script fills one `CorpusFacts`; dataset cards, model cards and ``nvv.data.corpus_facts`` read it. Nothing is
computed here; counts and durations are measured in ``nvv.hub.dataset_repository``.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

__all__ = ["CorpusFacts"]


@dataclass(frozen=True, kw_only=True)
class CorpusFacts:
    """Facts about a corpus as its authors released it.

    Attributes:
        name: Short name, also the name of its loading script, such as ``"nonverbal_vocalization"``.
        pretty_name: Name to print.
        licence: Licence id as the Hub writes it, such as ``"cc-by-nc-nd-4.0"``; ``"other"`` or ``"unknown"`` where none
            fits.
        licence_url: Where the licence stands; may be empty.
        homepage: Where the corpus is described or obtained; may be empty.
        citation: BibTeX; may be empty.
        summary: One or two sentences on what it holds.
        obtain: How to get the raw recordings, in one sentence; may be empty.
        terms: What whoever obtains the corpus takes on beside the licence (an agreement, care for the people recorded),
            in one sentence; may be empty.
        no_public_copies: Why copies must not be made public, in one sentence; empty where the licence decides.
        notes: Limits and irregularities worth a line each in a card.
        is_synthetic: Whether the sounds were computed. Results on such a corpus are no evidence about people.
    """

    name: str
    pretty_name: str
    licence: str
    licence_url: str = ""
    homepage: str = ""
    citation: str = ""
    summary: str = ""
    obtain: str = ""
    terms: str = ""
    no_public_copies: str = ""
    notes: tuple[str, ...] = ()
    is_synthetic: bool = False

    def __post_init__(self) -> None:
        """Refuse blanks where a card could not do without a value."""
        for name in ("name", "pretty_name", "licence"):
            if not getattr(self, name).strip():
                known = ", ".join(field.name for field in fields(self))
                raise ValueError(f"CorpusFacts.{name} must not be blank (fields: {known}).")
