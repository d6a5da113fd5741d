"""What of a run's arguments concerns augmentation: the transforms made from `augment`, and what does not go together.

The transforms are `nvv.data.augmentation`'s, applying them the neighbour `dataset`'s, SpecAugment the model's. Own
work.
"""

from __future__ import annotations

from ..configuration_nvv import CONTRASTIVE_LOSS
from ..data.augmentation import Augmentation
from .arguments import ArgumentsError, DataArguments, ModelArguments
from .tuning import TuningArguments

__all__ = ["check_augmentation", "make_augmentation"]


def make_augmentation(data: DataArguments) -> Augmentation | None:
    """Make the transforms of training clips; None where none are asked for."""
    return None if data.augment is None else Augmentation(data.augment)


def check_augmentation(model: ModelArguments, data: DataArguments, tuning: TuningArguments) -> None:
    """Refuse augmentation that could not act, or acts against the loss.

    Args:
        model: gives SpecAugment and the loss.
        data: gives `augment` and `mixup_alpha`.
        tuning: gives the method.

    Raises:
        ArgumentsError: naming the fields and what to do.
    """
    if data.mixup_alpha and model.head == "embedding":
        raise ArgumentsError(
            f"mixup_alpha: {data.mixup_alpha} does not go with loss: {CONTRASTIVE_LOSS}; a mixture of two clips has no "
            "class that others could be like. Leave it out."
        )
    if model.apply_spec_augment and tuning.method == "frozen":
        raise ArgumentsError(
            "apply_spec_augment: has no effect with method: frozen, whose backbone is in evaluation mode. Leave it "
            "out; augment and mixup_alpha do act."
        )
