"""DINO: the distribution of a centred teacher predicted by the student."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from infossl.objectives import terms
from infossl.objectives.checks import check_finite, check_pair, check_settings, in_full_precision
from infossl.objectives.inputs import STUDENT_TEACHER_CENTRE
from infossl.objectives.loss import Loss

__all__ = ["DINO", "moved_centre"]


@dataclass(frozen=True)
class DINO:
    r"""Cross-entropy of a student's distribution against a centred and sharpened teacher's, in one direction.

    .. math:: L = -\frac{1}{N} \sum_{nk} \mathrm{softmax}\!\left(\frac{t_n - c}{\tau_t}\right)_k
       \log \mathrm{softmax}\!\left(\frac{s_n}{\tau_s}\right)_k

    in nats. No gradient flows to teacher or centre. The centre is the running mean of teacher outputs; it
    belongs to the method, which moves it with `moved_centre` after each step. All pairs of views but those of a
    view with itself are `over_pairs(DINO(), [...])`. In full precision whatever the autocast.

    The terms are the cross-entropy and the mean entropy of the teacher: 0 and log K of the latter are the two
    collapses that sharpening and centring hold apart.

    Values: log K for uniform outputs of the student, 11.0904 for K = 65536, which is also the collapse to
    the centre; 0 where both put everything on one k.

    Arguments:
        student_temperature: \(\tau_s\), positive.
        teacher_temperature: \(\tau_t\), positive and lower.

    Shapes:
        `student`, `teacher`: `(N, K)`, N >= 1; row i of both from one image. `centre`: `(K,)`.

    Raises:
        TypeError: if an argument of the call is not a floating point tensor.
        ValueError: for shapes that differ, and for temperatures that are not positive.
        FloatingPointError: if a term is not finite; it is named.

    References:
        Caron, Touvron, Misra, Jegou, Mairal, Bojanowski & Joulin, 2021, *Emerging Properties in Self-Supervised
        Vision Transformers*.

    Example:
        >>> import torch
        >>> outputs = torch.zeros(2, 65536)
        >>> round(float(DINO()(outputs, outputs, torch.zeros(65536)).total), 4)
        11.0904
    """

    inputs: ClassVar[str] = STUDENT_TEACHER_CENTRE

    student_temperature: float = 0.1
    teacher_temperature: float = 0.04

    def __post_init__(self) -> None:
        check_settings(self, positive=("student_temperature", "teacher_temperature"))

    def __call__(self, student: Tensor, teacher: Tensor, centre: Tensor) -> Loss:
        check_pair(student, teacher, ("student", "teacher"), min_n=1)
        _check_centre(centre, teacher)
        with torch.autocast(student.device.type, enabled=False):
            t = (in_full_precision(teacher) - in_full_precision(centre)).detach() / self.teacher_temperature
            target = t.softmax(dim=1)
            cross_entropy = terms.cross_entropy(target, in_full_precision(student) / self.student_temperature)
            entropy = terms.cross_entropy(target, t)
        return check_finite(Loss(cross_entropy, {"cross_entropy": cross_entropy, "teacher_entropy": entropy}))


def moved_centre(centre: Tensor, teacher: Tensor, momentum: float = 0.9) -> Tensor:
    r"""The next centre, \(m c + (1 - m) \frac{1}{N} \sum_n t_n\), without gradient.

    Arguments:
        centre: `(K,)`.
        teacher: outputs of the teacher for all views of the whole batch, `(N, K)`.
        momentum: m, in [0, 1].

    Raises:
        TypeError: if `centre` is not a floating point tensor.
        ValueError: if shapes do not fit or `momentum` is outside [0, 1].

    Example:
        >>> import torch
        >>> moved_centre(torch.zeros(2), torch.ones(4, 2), momentum=0.75).tolist()
        [0.25, 0.25]
    """
    if not 0 <= momentum <= 1:
        raise ValueError(f"momentum = {momentum} must be in [0, 1]")
    _check_centre(centre, teacher)
    return torch.lerp(
        in_full_precision(teacher).detach().mean(dim=0), in_full_precision(centre).detach(), momentum
    )


def _check_centre(centre: Tensor, teacher: Tensor) -> None:
    if not isinstance(centre, Tensor) or not centre.is_floating_point():
        raise TypeError(
            f"centre must be a floating point tensor (K,), got {getattr(centre, 'dtype', type(centre).__name__)}"
        )
    if teacher.ndim != 2 or centre.shape != teacher.shape[1:]:
        raise ValueError(
            f"centre has shape {tuple(centre.shape)}: expected one number for each column of teacher "
            f"{tuple(teacher.shape)}"
        )
