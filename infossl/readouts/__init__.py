"""Readouts: how much of the labels a simple classifier reads off a representation.

A readout is a frozen callable `(train_z, train_y, test_z, test_y) -> Accuracy`, and the accuracy carries its protocol in words.
Whatever is chosen is chosen on the training samples; the test samples are scored once, after the last step.
"""

from __future__ import annotations

from infossl.readouts.accuracy import Accuracy, accuracy_of
from infossl.readouts.knn import KNNReadout, knn_accuracy
from infossl.readouts.low_shot import LowShot, few_of_each
from infossl.readouts.online import OnlineProbe
from infossl.readouts.protocols import Readout
from infossl.readouts.ridge import RidgeReadout, leave_one_out, ridge_accuracy, ridge_weights
from infossl.readouts.sgd import SGDReadout, softmax_weights

__all__ = [
    "READOUTS",
    "Accuracy",
    "KNNReadout",
    "LowShot",
    "OnlineProbe",
    "Readout",
    "RidgeReadout",
    "SGDReadout",
    "accuracy_of",
    "few_of_each",
    "knn_accuracy",
    "leave_one_out",
    "ridge_accuracy",
    "ridge_weights",
    "softmax_weights",
]

READOUTS = {
    "RidgeReadout": RidgeReadout,
    "SGDReadout": SGDReadout,
    "KNNReadout": KNNReadout,
    "LowShot": LowShot,
}
"""Names for `estimators.parse(text, READOUTS)`."""
