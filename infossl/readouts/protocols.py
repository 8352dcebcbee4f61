"""What a readout is, and the one way in which it is scored."""

from __future__ import annotations

from typing import Any, Protocol

from torch import Tensor

from infossl.readouts._inputs import checked
from infossl.readouts.accuracy import Accuracy, accuracy_of

__all__ = ["Readout", "scored"]


class Readout(Protocol):
    """A classifier on frozen features that is fitted and scored once: no test sample decides anything."""

    @property
    def rule(self) -> str:
        """The classifier in words, with its settings and with what chooses them."""
        ...

    def predict(self, train_z: Tensor, train_y: Tensor, test_z: Tensor) -> tuple[Tensor, str]:
        """Labels of `test_z` `(m,)`, and what was chosen on the training samples, in words."""
        ...

    def __call__(self, train_z: Any, train_y: Any, test_z: Any, test_y: Any) -> Accuracy:
        """The accuracy on the test samples."""
        ...


def scored(readout: Readout, train_z: Any, train_y: Any, test_z: Any, test_y: Any) -> Accuracy:
    """Fits on the training samples and scores once on the test samples.

    Raises:
        TypeError: if labels are not integers.
        ValueError: for shapes that do not belong together, NaN or inf.
    """
    train_z, train_y, test_z, test_y = checked(train_z, train_y, test_z, test_y)
    predicted, chosen = readout.predict(train_z, train_y, test_z)
    parts = [
        readout.rule,
        *([chosen] if chosen else []),
        f"fitted on train (n={len(train_y)})",
        f"scored once on test (n={len(test_y)})",
    ]
    return accuracy_of(predicted, test_y, ", ".join(parts))
