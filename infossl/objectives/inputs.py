"""What an objective is called with: the names of the five protocols, and a check before any work."""

from __future__ import annotations

__all__ = [
    "CALLS",
    "EMBEDDINGS_AND_DIRECTIONS",
    "PREDICTION_AND_TARGET",
    "STUDENT_TEACHER_CENTRE",
    "TWO_EMBEDDINGS",
    "TWO_SCORES",
    "accepting",
    "require_inputs",
]

TWO_EMBEDDINGS = "two embeddings"
PREDICTION_AND_TARGET = "prediction and target"
TWO_SCORES = "two prototype scores"
STUDENT_TEACHER_CENTRE = "student, teacher and centre"
EMBEDDINGS_AND_DIRECTIONS = "two embeddings and directions"

CALLS = {
    TWO_EMBEDDINGS: "objective(z1, z2)",
    PREDICTION_AND_TARGET: "objective(prediction1, target2)",
    TWO_SCORES: "objective(scores1, scores2)",
    STUDENT_TEACHER_CENTRE: "objective(student1, teacher2, centre)",
    EMBEDDINGS_AND_DIRECTIONS: "objective(z1, z2, directions)",
}
"""The values of an objective's `inputs`, and the call that each stands for."""


def accepting(inputs: str) -> tuple[str, ...]:
    """Names of the objectives that take these inputs with default settings.

    Example:
        >>> accepting("student, teacher and centre")
        ('DINO',)
    """
    from infossl.objectives import OBJECTIVES

    return tuple(name for name, objective in OBJECTIVES.items() if objective().inputs == inputs)


def require_inputs(objective: object, *inputs: str, caller: str) -> None:
    """Refuses an objective that takes other inputs than the caller has.

    A callable of the user's own without the attribute `inputs` passes.

    Arguments:
        objective: what will be called.
        inputs: the keys of `CALLS` that the caller can serve.
        caller: the name of the caller in the message, such as `"JointEmbedding"`.

    Raises:
        ValueError: names the objective, what it takes, what the caller has, and the objectives that fit.

    Example:
        >>> from infossl.objectives import DINO, VICReg
        >>> require_inputs(VICReg(), "two embeddings", caller="JointEmbedding")
        >>> require_inputs(DINO(), "prediction and target", caller="BYOL's method")
        Traceback (most recent call last):
        ...
        ValueError: DINO takes student, teacher and centre as objective(student1, teacher2, centre), but BYOL's method
        gives it prediction and target; objectives that fit: BYOL, SimSiam
    """
    unknown = set(inputs) - CALLS.keys()
    if unknown:
        raise ValueError(f"unknown inputs {sorted(unknown)}; known: {', '.join(CALLS)}")
    takes = getattr(objective, "inputs", None)
    if takes is None or takes in inputs:
        return
    fit = ", ".join(name for wanted in inputs for name in accepting(wanted))
    raise ValueError(
        f"{type(objective).__name__} takes {takes} as {CALLS.get(takes, 'its own call')}, but {caller} "
        f"gives it {' or '.join(inputs)}; objectives that fit: {fit}"
    )
