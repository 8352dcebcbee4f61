"""Losses on embeddings: pure terms, and one small file per objective.

An objective is a frozen callable that returns `Loss(total, terms)`. It is a function of the whole batch and holds
no state: what a method keeps (prototypes, a running centre, random directions) is passed in, and where the batch is
spread over ranks, the method gathers it, with gradients, before the call. Row i of all inputs comes from one image.

Its attribute `inputs` says what it is called with:

=============================== ========================================== =======================================
`inputs`                        call                                       objectives
=============================== ========================================== =======================================
"two embeddings"                `objective(z1, z2)`                        VICReg, SimCLR, DCL, BarlowTwins, WMSE,
                                                                           AlignUniform, SpectralContrastive,
                                                                           FroSSL, MMCR, Invariance
"prediction and target"         `objective(prediction1, target2)`          BYOL, SimSiam
"two prototype scores"          `objective(scores1, scores2)`              SwAV
"student, teacher and centre"   `objective(student1, teacher2, centre)`    DINO
"two embeddings and directions" `objective(z1, z2, directions)`            SIGReg
as the objective inside         likewise                                   LogDet, PairDist, KDE
=============================== ========================================== =======================================

Objectives of two embeddings or two scores do not care which view is first. The others are one direction of a
prediction, and no gradient flows to the target: a method calls `over_pairs(objective, [(p1, t2), (p2, t1)])`, which
is also how more than two views are used, as the mean over pairs. `require_inputs` refuses a combination before any
work. Objectives of embeddings also say by `scale_free` whether multiplying all inputs by one number leaves them
unchanged: nothing that grows with scale, such as an entropy, may then be added to them without a normalisation.
"""

from __future__ import annotations

from infossl.objectives.align_uniform import AlignUniform
from infossl.objectives.barlow import BarlowTwins
from infossl.objectives.byol import BYOL
from infossl.objectives.checks import check_finite
from infossl.objectives.dcl import DCL
from infossl.objectives.dino import DINO, moved_centre
from infossl.objectives.frossl import FroSSL
from infossl.objectives.inputs import CALLS, accepting, require_inputs
from infossl.objectives.invariance import Invariance
from infossl.objectives.kde import KDE
from infossl.objectives.log_det import LogDet
from infossl.objectives.loss import Loss, Objective, over_pairs
from infossl.objectives.mmcr import MMCR
from infossl.objectives.pair_dist import PairDist
from infossl.objectives.sigreg import SIGReg, unit_directions
from infossl.objectives.simclr import SimCLR
from infossl.objectives.simsiam import SimSiam
from infossl.objectives.spectral import SpectralContrastive
from infossl.objectives.swav import SwAV
from infossl.objectives.vicreg import VICReg
from infossl.objectives.wmse import WMSE

__all__ = [
    "BYOL",
    "CALLS",
    "DCL",
    "DINO",
    "KDE",
    "MMCR",
    "OBJECTIVES",
    "WMSE",
    "AlignUniform",
    "BarlowTwins",
    "FroSSL",
    "Invariance",
    "LogDet",
    "Loss",
    "Objective",
    "PairDist",
    "SIGReg",
    "SimCLR",
    "SimSiam",
    "SpectralContrastive",
    "SwAV",
    "VICReg",
    "accepting",
    "check_finite",
    "moved_centre",
    "over_pairs",
    "require_inputs",
    "unit_directions",
]

OBJECTIVES = {
    "VICReg": VICReg,
    "SimCLR": SimCLR,
    "DCL": DCL,
    "BarlowTwins": BarlowTwins,
    "WMSE": WMSE,
    "AlignUniform": AlignUniform,
    "SpectralContrastive": SpectralContrastive,
    "FroSSL": FroSSL,
    "MMCR": MMCR,
    "BYOL": BYOL,
    "SimSiam": SimSiam,
    "SwAV": SwAV,
    "DINO": DINO,
    "SIGReg": SIGReg,
    "Invariance": Invariance,
    "LogDet": LogDet,
    "PairDist": PairDist,
    "KDE": KDE,
}
"""Names for `estimators.parse(text, OBJECTIVES)`."""
