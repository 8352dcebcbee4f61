"""What is measured: each file one family, each quantity a frozen callable `(Activations) -> Estimate`."""

from infossl.quantities.accuracy import KNNAccuracy, LinearAccuracy
from infossl.quantities.disagreement import with_disagreement
from infossl.quantities.entropy import RepresentationEntropy
from infossl.quantities.geometry import Alignment, LogTraceCovariance, RankMe, Uniformity
from infossl.quantities.information import InputInformation, LabelInformation, ViewInformation
from infossl.quantities.presets import FULL, LIGHT, Measure, measures_named

QUANTITIES: dict[str, type] = {
    quantity.__name__: quantity
    for quantity in (
        Alignment,
        InputInformation,
        KNNAccuracy,
        LabelInformation,
        LinearAccuracy,
        LogTraceCovariance,
        RankMe,
        RepresentationEntropy,
        Uniformity,
        ViewInformation,
    )
}

__all__ = ["FULL", "LIGHT", "QUANTITIES", "Measure", "measures_named", "with_disagreement", *QUANTITIES]
