"""`Activations`: what a measure is given: one layer's outputs on the probe set at one step."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["Activations"]


@dataclass(frozen=True, eq=False, kw_only=True)
class Activations:
    """Outputs of one layer, one row per sample, as float64 numpy arrays.

    Arguments:
        layer: module name of the tap; `role` what it is in the theory; `pool` how each output became one row.
        step: optimizer steps done; `seed` a seed that is fixed by run, for measures that draw random numbers.
        z: outputs `(n, d)` on the measured inputs, without augmentation.
        views: outputs `(n, q, d)` on q fixed augmented views of the same inputs, if the probe set has views.
        y: labels `(n,)`, if there are any.
        fit_z, fit_y: outputs and labels of the samples that read-outs are fitted on; `None` means that
            read-outs are cross-fitted on `z` and `y`.
    """

    layer: str
    role: str = ""
    pool: str = ""
    step: int = 0
    seed: int = 0
    z: np.ndarray
    views: np.ndarray | None = None
    y: np.ndarray | None = None
    fit_z: np.ndarray | None = None
    fit_y: np.ndarray | None = None

    def __post_init__(self) -> None:
        for name in ("z", "views", "y", "fit_z", "fit_y"):
            array = getattr(self, name)
            if array is not None:  # a measure that writes into its input would change what the next one sees
                array = array.view()
                array.setflags(write=False)
                object.__setattr__(self, name, array)

    @property
    def n(self) -> int:
        """Measured samples."""
        return int(self.z.shape[0])

    def pair(self) -> tuple[np.ndarray, np.ndarray]:
        """The first two views, `(n, d)` each.

        Raises:
            ValueError: if there are fewer than two.
        """
        if self.views is None or self.views.shape[1] < 2:
            raise ValueError(
                f"layer {self.layer!r} has no pair of views: give the probe set an augmentation, "
                "ProbeSet.of(source, augment=..., q=2)"
            )
        return self.views[:, 0], self.views[:, 1]

    def labels(self) -> np.ndarray:
        """The labels.

        Raises:
            ValueError: if the probe set has none.
        """
        if self.y is None:
            raise ValueError(
                f"layer {self.layer!r} has no labels: give the probe set y, ProbeSet.of(source, y=...)"
            )
        return self.y
