r"""Entropies of kernel spectra: matrix-based Renyi entropy and diffusion spectral entropy.

For a Gram matrix K of n samples, with eigenvalues \(\lambda_i\) of \(A = K / \mathrm{tr} K\),

.. math:: S_\alpha(A) = \frac{1}{1 - \alpha} \log \sum_i \lambda_i^\alpha \qquad
   S_1(A) = -\sum_i \lambda_i \log \lambda_i

(Sanchez Giraldo, Rao & Principe, 2015, *Measures of entropy from data using infinitely divisible kernels*, IEEE
Trans. Inf. Theory 61, 535-548). They count the directions or clusters that the kernel tells apart. They are
neither Shannon nor differential entropies, and the kernel width drives them: compare values at one width only.
"""

from __future__ import annotations

import math

from array_api_compat import array_namespace, is_torch_array

from estimators._grams import Kernel, Side, check_kernel, gaussian_gram, median_distance, sides
from estimators._result import Estimate
from estimators._samples import as_samples
from estimators._settings import settings
from estimators.protocols import Array

__all__ = [
    "DiffusionEntropy",
    "MatrixRenyi",
    "diffusion_entropy",
    "gaussian_gram",
    "matrix_entropy",
    "matrix_information",
    "median_distance",
]

_SATURATION = 0.9  # share of log n above which the number says little but n
_NEAR_ONE = 0.5  # |alpha - 1| below which the sum of powers is taken relative to 1, so that nothing cancels


def matrix_entropy(gram: Array, alpha: float = 2.0) -> Array:
    r"""Matrix-based Renyi entropy \(S_\alpha(K / \mathrm{tr} K)\) in nats, between 0 and log n.

    For \(\alpha = 2\) it is \(-\log(\|K\|_F^2 / (\mathrm{tr} K)^2)\), without eigenvalues and for any Gram matrix.
    Otherwise eigenvalues below n times the rounding unit, relative to the largest, count as zero: they are noise,
    to which small \(\alpha\) would give weight. \(\alpha = \infty\) is the min-entropy. Differentiable.

    Arguments:
        gram: symmetric positive semidefinite `(n, n)`, numpy or torch; measured in float64.
        alpha: the order, > 0; 1 is the von Neumann entropy.

    Raises:
        ValueError: if `gram` is no such matrix, its trace is not positive, or `alpha` <= 0.

    References:
        Sanchez Giraldo, Rao & Principe, 2015, definition 4.

    Example:
        >>> import numpy as np
        >>> round(float(matrix_entropy(np.eye(8))), 4), round(float(np.log(8)), 4)
        (2.0794, 2.0794)
    """
    if not alpha > 0:
        raise ValueError(f"alpha = {alpha} must be positive")
    noise, gram = _symmetric(gram)
    xp = array_namespace(gram)
    trace = xp.linalg.trace(gram)
    if not bool(trace > 0):
        raise ValueError(
            f"gram of shape {tuple(gram.shape)} has a trace that is not positive: it is no Gram matrix"
        )
    if alpha == 2:
        a = gram / trace
        return -xp.log(xp.sum(a * a))
    return _renyi(_spectrum(gram, noise), alpha)


def matrix_information(gram_x: Array, gram_y: Array, alpha: float = 2.0) -> Array:
    r"""Matrix-based Renyi information \(S_\alpha(A) + S_\alpha(B) - S_\alpha(A \circ B / \mathrm{tr}(A \circ B))\), in nats.

    With unit diagonals it is at most the smaller entropy. At \(\alpha = 1\) it is then the quantum mutual
    information of a separable state and so not negative; at other orders it may be negative. Differentiable.

    Arguments:
        gram_x, gram_y: Gram matrices `(n, n)` of paired samples.
        alpha: the order, > 0.

    Raises:
        ValueError: as `matrix_entropy`, or if the shapes differ.

    References:
        Sanchez Giraldo, Rao & Principe, 2015, section IV.

    Example:
        >>> import numpy as np
        >>> k = np.kron(np.eye(2), np.ones((3, 3)))
        >>> round(float(matrix_information(k, k)), 4)
        0.6931
    """
    return _information(gram_x, gram_y, alpha)[0]


def diffusion_entropy(gram: Array, time: float = 1.0) -> Array:
    r"""Diffusion spectral entropy of an affinity matrix, in nats: the entropy of \(|\lambda_i|^t / \sum_j |\lambda_j|^t\).

    \(\lambda\) are the eigenvalues of \(D^{-1/2} G D^{-1/2}\) with D the row sums of G, which are those of the
    random walk \(D^{-1} G\). Differentiable.

    Arguments:
        gram: symmetric affinities `(n, n)` with positive row sums, numpy or torch; measured in float64.
        time: the power t > 0. As t grows, only connected components count.

    Raises:
        ValueError: if `gram` is not such a matrix or `time` is not positive and finite.

    References:
        Liao et al., 2024, *Assessing neural network representations during training using noise-resilient
        diffusion spectral entropy*.

    Example:
        >>> import numpy as np
        >>> round(float(diffusion_entropy(np.kron(np.eye(3), np.ones((4, 4))))), 4)
        1.0986
    """
    if not 0 < time < math.inf:
        raise ValueError(f"time = {time} must be positive and finite")
    noise, gram = _symmetric(gram)
    xp = array_namespace(gram)
    degree = xp.sum(gram, axis=1)
    if not bool(xp.all(degree > 0)):
        raise ValueError(
            f"gram of shape {tuple(gram.shape)} has row sums that are not positive: no random walk"
        )
    root = xp.sqrt(degree)
    size = xp.abs(xp.linalg.eigvalsh(gram / (root[:, None] * root[None, :])))
    top = xp.max(size)
    share = (size[size > gram.shape[0] * noise * top] / top) ** time
    return _renyi(share[share > 0], 1.0)  # high powers of small numbers underflow


def _symmetric(gram: Array) -> tuple[float, Array]:
    """The rounding unit of the matrix as given, and the matrix in float64."""
    shape = tuple(getattr(gram, "shape", ()))
    if len(shape) != 2 or shape[0] != shape[1] or shape[0] < 1:
        raise ValueError(f"gram must be a square (n, n) matrix, got shape {shape}")
    xp = array_namespace(gram)
    noise = float(xp.finfo(gram.dtype).eps) if xp.isdtype(gram.dtype, "real floating") else 0.0
    gram = xp.astype(gram, xp.float64)
    # Written so that NaN, which compares false, is caught as well.
    if not bool(xp.all(xp.abs(gram - gram.T) <= (1e-8 + 10 * noise) * xp.max(xp.abs(gram)))):
        raise ValueError(f"gram of shape {shape} is not symmetric and finite; pass (K + K.T) / 2")
    return max(noise, 2.0**-52), gram


def _spectrum(gram: Array, noise: float) -> Array:
    """Eigenvalues above rounding."""
    xp = array_namespace(gram)
    values = xp.linalg.eigvalsh(gram)
    top, floor = values[-1], gram.shape[0] * noise
    if bool(values[0] < -max(1e-8, 10 * floor) * top):
        lowest = float(values[0].detach() if is_torch_array(values) else values[0])
        raise ValueError(
            f"gram of shape {tuple(gram.shape)} has the eigenvalue {lowest:.3g}: it is not positive "
            "semidefinite, so it is no Gram matrix (entries set to 0 by hand do this)"
        )
    return values[values > floor * top]


def _renyi(weights: Array, alpha: float) -> Array:
    """Renyi entropy of positive weights, which are normalised here."""
    xp = array_namespace(weights)
    p = weights / xp.sum(weights)
    logs = xp.log(p)
    if alpha == 1:
        return -xp.sum(p * logs)
    top = xp.max(logs)
    if alpha == math.inf:
        return -top
    if abs(alpha - 1) < _NEAR_ONE:
        return xp.log1p(xp.sum(p * xp.expm1((alpha - 1) * logs))) / (1 - alpha)
    return (alpha * top + xp.log(xp.sum(xp.exp(alpha * (logs - top))))) / (1 - alpha)


def _information(gram_x: Array, gram_y: Array, alpha: float) -> tuple[Array, Array, Array, Array]:
    """Information, then the entropies of x, of y and of the pair."""
    if tuple(gram_x.shape) != tuple(gram_y.shape):
        raise ValueError(
            f"gram_x has shape {tuple(gram_x.shape)} and gram_y {tuple(gram_y.shape)}: both need the same n rows"
        )
    hx, hy = matrix_entropy(gram_x, alpha), matrix_entropy(gram_y, alpha)
    joint = matrix_entropy(gram_x * gram_y, alpha)
    return hx + hy - joint, hx, hy, joint


@settings
class MatrixRenyi:
    r"""Matrix-based Renyi entropy `MatrixRenyi()(x)` and information `MatrixRenyi()(x, y)`, in nats. Not Shannon's.

    .. math:: S_\alpha(A) = \frac{\log \mathrm{tr} A^\alpha}{1 - \alpha}, \quad A = \frac{K}{\mathrm{tr} K} \qquad
       I_\alpha = S_\alpha(A) + S_\alpha(B) - S_\alpha\left(\frac{A \circ B}{\mathrm{tr}(A \circ B)}\right)

    The value of a Gaussian kernel depends on its width, and lies between 0 (width much above all distances) and
    log n (much below). An integer vector is taken with the same-label kernel, whose entropy is the Renyi
    entropy of the label frequencies. Only \(I_1\) is never negative (for kernels with unit diagonal).
    Linear and cosine kernels are not centred: pass `x - x.mean(0)` for the spectrum of the covariance.

    `alpha=2` costs O(n^2 d); other orders need eigenvalues, O(n^3), or O(n d^2) for the entropy of a linear or
    cosine kernel.

    Arguments:
        alpha: the order, > 0; 1 is the von Neumann entropy, `inf` the min-entropy.
        kernel: `"gaussian"`, `"linear"`, or `"cosine"`.
        width: width of the Gaussian \(\exp(-r^2 / 2 w^2)\); no other kernel has one.
        relative: `width` is in units of the median distance between rows; `False` takes it as it is.

    Shapes:
        `x`: `(n, d)` or integers `(n,)`, n >= 4; `y` likewise. Numpy or torch, measured in float64 where they are.

    Raises:
        TypeError: for arrays that hold no real numbers, or that are in different libraries or on different devices.
        ValueError: for NaN, wrong shapes, unequal n, all columns constant, or a median distance of 0.

    References:
        Sanchez Giraldo, Rao & Principe, 2015.
        Skean et al., 2025, *Layer by layer: uncovering hidden representations in language models* (linear kernel).

    Example:
        >>> import numpy as np
        >>> x = np.repeat([[0.0], [100.0]], 50, axis=0)
        >>> print(MatrixRenyi(alpha=2.0, width=1.0, relative=False)(x))
        matrix-Renyi H_2 = 0.6931 nats  [MatrixRenyi(alpha=2.0, kernel='gaussian', width=1.0, relative=False), n=100,
        ceiling 4.605]
    """

    alpha: float = 2.0
    kernel: Kernel = "gaussian"
    width: float = 1.0
    relative: bool = True

    def __post_init__(self) -> None:
        check_kernel(self.kernel, self.width)
        if not self.alpha > 0:
            raise ValueError(f"alpha = {self.alpha} must be positive")

    def __call__(self, x: Array, y: Array | None = None, /) -> Estimate:
        samples = (x,) if y is None else (x, y)
        views, n, flags, details = sides(samples, self.kernel, self.width, self.relative, centred=False)
        ceilings = [_ceiling(view, n) for view in views]
        if y is None:
            value, ceiling = float(matrix_entropy(_smaller(views[0], n), self.alpha)), ceilings[0]
            details |= {"effective_rank": math.exp(value), "share_of_log_n": value / math.log(n)}
        else:
            parts = _information(views[0].gram, views[1].gram, self.alpha)
            value, hx, hy, joint = (float(part) for part in parts)
            details |= {"entropy_x": hx, "entropy_y": hy, "entropy_xy": joint}
            # A kernel with unit diagonal can only add to the entropy of the pair; any other may also take from it.
            unit = all(view.unit_diagonal for view in views)
            ceiling = min(ceilings) if unit else sum(ceilings)
            if joint > _SATURATION * math.log(n):
                flags = (
                    *flags,
                    "small-sample",
                )  # the joint entropy is cut off by n, which raises the difference
        if value > _SATURATION * math.log(n):
            flags = (*flags, "saturated")
        return Estimate(
            value=value,
            quantity=f"matrix-Renyi {'H' if y is None else 'I'}_{self.alpha:g}",
            n=n,
            method=repr(self),
            ceiling=ceiling,
            flags=flags,
            diagnostics=details,
        )


def _ceiling(side: Side, n: int) -> float:
    """Log of the largest rank that the kernel can have."""
    return math.log(n if side.features is None else min(n, side.d))


def _smaller(side: Side, n: int) -> Array:
    """A matrix with the Gram matrix's nonzero eigenvalues, of size n or d, whichever is less."""
    if side.features is None or side.d >= n:
        return side.gram
    return side.features.T @ side.features


@settings
class DiffusionEntropy:
    r"""Diffusion spectral entropy of samples, in nats: how many states a random walk between them tells apart.

    .. math:: G_{ij} = e^{-\|x_i - x_j\|^2 / 2 w^2}, \quad D = \mathrm{diag}\Big(\sum_j G_{ij}\Big), \quad
       \lambda = \mathrm{eig}(D^{-1/2} G D^{-1/2}), \quad p_i = \frac{|\lambda_i|^t}{\sum_j |\lambda_j|^t}, \quad
       S = -\sum_i p_i \log p_i

    Between 0 and log n. It is no Shannon entropy of X. `DiffusionEntropy(width=10.0, relative=False)` is the
    setting of the paper's code, which reports bits; an absolute width makes the number depend on the scale of x.

    Arguments:
        time: the power t > 0 of the random walk.
        width: width w of the Gaussian kernel.
        relative: `width` is in units of the median distance between rows; `False` takes it as it is.

    Shapes:
        `x`: `(n, d)`, n >= 4. Numpy or torch, measured in float64 where it is.

    Raises:
        TypeError: for a discrete variable or an array that holds no real numbers.
        ValueError: for NaN, wrong shapes, all columns constant, or a median distance of 0.

    References:
        Liao et al., 2024, *Assessing neural network representations during training using noise-resilient
        diffusion spectral entropy*.

    Example:
        >>> import numpy as np
        >>> x = np.repeat([[0.0], [100.0], [200.0]], 20, axis=0)
        >>> print(f"{DiffusionEntropy(width=1.0, relative=False)(x).value:.4f} = log 3")
        1.0986 = log 3
    """

    time: float = 1.0
    width: float = 1.0
    relative: bool = True

    def __post_init__(self) -> None:
        check_kernel("gaussian", self.width)
        if not 0 < self.time < math.inf:
            raise ValueError(f"time = {self.time} must be positive and finite")

    def __call__(self, x: Array, /) -> Estimate:
        x = as_samples(x)  # which refuses labels: equal affinities within them leave nothing to diffuse
        views, n, flags, details = sides((x,), "gaussian", self.width, self.relative, centred=False)
        value = float(diffusion_entropy(views[0].gram, self.time))
        if value > _SATURATION * math.log(n):
            flags = (*flags, "saturated")
        return Estimate(
            value=value,
            quantity="diffusion spectral entropy",
            n=n,
            method=repr(self),
            ceiling=math.log(n),
            flags=flags,
            diagnostics={**details, "states": math.exp(value), "share_of_log_n": value / math.log(n)},
        )
