"""Slow, readable twins of the objectives: one sample and one dimension at a time, in the notation of the papers."""

from __future__ import annotations

import itertools
import math

import torch
from torch import Tensor

from infossl.objectives import (
    BYOL,
    DCL,
    DINO,
    KDE,
    MMCR,
    WMSE,
    AlignUniform,
    BarlowTwins,
    FroSSL,
    Invariance,
    LogDet,
    Loss,
    PairDist,
    SIGReg,
    SimCLR,
    SimSiam,
    SpectralContrastive,
    SwAV,
    VICReg,
)

Rows = list[Tensor]


def dot(a: Tensor, b: Tensor) -> Tensor:
    return sum((a[i] * b[i] for i in range(len(a))), torch.zeros((), dtype=a.dtype))


def unit(z: Tensor) -> Rows:
    return [row / dot(row, row) ** 0.5 for row in z]


def mean_and_covariance(z: Tensor, denominator: int) -> tuple[list[Tensor], list[list[Tensor]]]:
    n, k = z.shape
    mean = [sum(z[i, j] for i in range(n)) / n for j in range(k)]
    return mean, [
        [sum((z[i, a] - mean[a]) * (z[i, b] - mean[b]) for i in range(n)) / denominator for b in range(k)]
        for a in range(k)
    ]


# -- two embeddings ---------------------------------------------------------------------------------------------


def invariance(z1: Tensor, z2: Tensor) -> Tensor:
    n, k = z1.shape
    return sum((z1[i, j] - z2[i, j]) ** 2 for i in range(n) for j in range(k)) / (n * k)


def vicreg(z1: Tensor, z2: Tensor, o: VICReg) -> Tensor:
    """Each library's sum, written out by index."""
    k = z1.shape[1]
    hinges, squares = [], []
    for z in (z1, z2):
        _, c = mean_and_covariance(z, z.shape[0] - 1)
        hinges.append(sum(max(o.gamma - (c[a][a] + o.eps) ** 0.5, 0 * c[a][a]) for a in range(k)) / k)
        squares.append(sum(c[a][b] ** 2 for a in range(k) for b in range(k) if a != b))
    v, c = hinges[0] + hinges[1], squares[0] + squares[1]
    variance, covariance = {
        "official": (v / 2, c / k),
        "solo": (v, c / k),
        "vicregl": (v / 2, c / (2 * k)),
        "eb_jepa": (v, c / (k * (k - 1))),
    }[o.preset]
    return o.invariance * invariance(z1, z2) + o.variance * variance + o.covariance * covariance


def nt_xent(z1: Tensor, z2: Tensor, o: SimCLR | DCL) -> Tensor:
    """Mean over 2N anchors of -log(positive / sum over the candidates)."""
    z, total = unit(torch.cat([z1, z2])), torch.zeros((), dtype=z1.dtype)
    for i in range(len(z)):
        positive = (i + len(z1)) % len(z)
        left_out = {i} if isinstance(o, SimCLR) else {i, positive}
        weight = [torch.exp(dot(z[i], z[k]) / o.temperature) for k in range(len(z))]
        total = total - torch.log(
            weight[positive] / sum(w for k, w in enumerate(weight) if k not in left_out)
        )
    return total / len(z)


def align_uniform(z1: Tensor, z2: Tensor, o: AlignUniform) -> Tensor:
    n = len(z1)
    u1, u2 = unit(z1), unit(z2)
    alignment = sum(dot(u1[i] - u2[i], u1[i] - u2[i]) for i in range(n)) / n
    logs = [
        torch.log(
            sum(torch.exp(-o.t * dot(u[i] - u[j], u[i] - u[j])) for i in range(n) for j in range(n) if i != j)
            / (n * (n - 1))
        )
        for u in (u1, u2)
    ]
    return o.alignment * alignment + o.uniformity * (logs[0] + logs[1]) / 2


def spectral(z1: Tensor, z2: Tensor, o: SpectralContrastive) -> Tensor:
    n, k = z1.shape
    total = o.beta * k * invariance(z1, z2)
    for a in range(k):
        for b in range(k):
            moment = sum(z[i, a] * z[i, b] for z in (z1, z2) for i in range(n)) / (2 * n)
            total = total + (moment - int(a == b)) ** 2
    return total


def barlow(z1: Tensor, z2: Tensor, o: BarlowTwins) -> Tensor:
    n, k = z1.shape
    (m1, c1), (m2, c2) = mean_and_covariance(z1, n), mean_and_covariance(z2, n)
    total = torch.zeros((), dtype=z1.dtype)
    for a in range(k):
        for b in range(k):
            cross = sum((z1[i, a] - m1[a]) * (z2[i, b] - m2[b]) for i in range(n)) / n
            c = cross / ((c1[a][a] + o.eps) * (c2[b][b] + o.eps)) ** 0.5
            total = total + ((1 - c) ** 2 if a == b else o.redundancy * c**2)
    return total


def whiten(z: Tensor, eps: float) -> Rows:
    """Gram-Schmidt's factor of the covariance, entry by entry, and forward substitution."""
    k = z.shape[1]
    mean, c = mean_and_covariance(z, len(z) - 1)
    c = [[(1 - eps) * c[a][b] + eps * (a == b) for b in range(k)] for a in range(k)]
    low: list[list[Tensor]] = [[torch.zeros(()) for _ in range(k)] for _ in range(k)]
    for a in range(k):
        for b in range(a + 1):
            rest = c[a][b] - sum(low[a][j] * low[b][j] for j in range(b))
            low[a][b] = rest**0.5 if a == b else rest / low[b][b]
    rows = []
    for row in z:
        w: Rows = []
        for a in range(k):
            w.append((row[a] - mean[a] - sum(low[a][j] * w[j] for j in range(a))) / low[a][a])
        rows.append(torch.stack(w))
    return rows


def wmse(z1: Tensor, z2: Tensor, o: WMSE) -> Tensor:
    n = len(z1)
    size = o.size or n
    total = torch.zeros((), dtype=z1.dtype)
    for start in range(0, n, size):
        w1, w2 = (whiten(z[start : start + size], o.eps) for z in (z1, z2))
        total = total + byol(torch.stack(w1), torch.stack(w2), stop=False) * size / n
    return total


def frossl(z1: Tensor, z2: Tensor, o: FroSSL) -> Tensor:
    k = z1.shape[1]
    u1, u2 = (torch.stack(unit(z.T)).T for z in (z1, z2))
    total = o.invariance * 2 * k * sum(invariance(u, (u1 + u2) / 2) for u in (u1, u2)) / 2
    for u in (u1, u2):
        c = [[dot(u[:, a], u[:, b]) for b in range(k)] for a in range(k)]
        trace = sum(c[a][a] for a in range(k))
        total = total + torch.log(sum((c[a][b] / trace) ** 2 for a in range(k) for b in range(k)))
    return total


def nuclear(m: Tensor) -> Tensor:
    gram = m @ m.T if len(m) <= m.shape[1] else m.T @ m
    return torch.linalg.eigvalsh(gram).sqrt().sum()


def mmcr(z1: Tensor, z2: Tensor, o: MMCR) -> Tensor:
    u1, u2 = unit(z1), unit(z2)
    centroids = torch.stack([(a + b) / 2 for a, b in zip(u1, u2, strict=True)])
    local = sum(nuclear(torch.stack([a, b])) for a, b in zip(u1, u2, strict=True)) / len(z1)
    return o.local * local - nuclear(centroids)


# -- predictions, scores, directions ----------------------------------------------------------------------------


def byol(p: Tensor, t: Tensor, stop: bool = True) -> Tensor:
    a, b = unit(p), unit(t.detach() if stop else t)
    return sum(dot(x - y, x - y) for x, y in zip(a, b, strict=True)) / len(p)


def softmax(row: Tensor) -> list[Tensor]:
    weight = [torch.exp(s) for s in row]
    return [w / sum(weight) for w in weight]


def cross_entropy(q: list[list[Tensor]], scores: Tensor) -> Tensor:
    rows = [softmax(row) for row in scores]
    return -sum(
        a * torch.log(b) for x, y in zip(q, rows, strict=True) for a, b in zip(x, y, strict=True)
    ) / len(q)


def codes(scores: Tensor, o: SwAV) -> list[list[Tensor]]:
    """Sinkhorn-Knopp on the matrix itself: all prototypes 1 / K, then all samples 1 / N, and so on."""
    n, k = scores.shape
    q = torch.exp(scores.detach() / o.eps)
    q = q / q.sum()
    for _ in range(o.iterations):
        for a in range(k):
            q[:, a] = q[:, a] / q[:, a].sum() / k
        for i in range(n):
            q[i] = q[i] / q[i].sum() / n
    return [[n * x for x in row] for row in q]


def swav(s1: Tensor, s2: Tensor, o: SwAV) -> Tensor:
    return (
        cross_entropy(codes(s1, o), s2 / o.temperature) + cross_entropy(codes(s2, o), s1 / o.temperature)
    ) / 2


def dino(s: Tensor, t: Tensor, centre: Tensor, o: DINO) -> Tensor:
    target = [softmax((row - centre.detach()) / o.teacher_temperature) for row in t.detach()]
    return cross_entropy(target, s / o.student_temperature)


def sigreg(z1: Tensor, z2: Tensor, directions: Tensor, o: SIGReg) -> Tensor:
    """The integral over [-r, r] in complex numbers, panel by panel."""
    n = len(z1)
    step = o.reach / (o.knots - 1)
    tests = []
    for z in (z1, z2):
        for a in directions.T:
            x = [dot(row, a) / dot(a, a) ** 0.5 for row in z]
            heights = []
            for j in range(-o.knots + 1, o.knots):
                t = j * step
                phi = sum(torch.exp(1j * t * v) for v in x) / n
                heights.append((phi - math.exp(-t * t / 2)).abs() ** 2 * math.exp(-t * t / 2))
            panels = itertools.pairwise(heights)
            tests.append(n * sum(step * (left + right) / 2 for left, right in panels))
    middle = (z1 + z2) / 2
    inv = (invariance(z1, middle) + invariance(z2, middle)) / 2
    return (1 - o.gaussian) * inv + o.gaussian * sum(tests) / len(tests)


# -- entropies --------------------------------------------------------------------------------------------------


def log_det(z: Tensor, beta: float) -> Tensor:
    _, c = mean_and_covariance(z, len(z))
    rows = [torch.stack([(a == b) + beta * c[a][b] for b in range(len(c))]) for a in range(len(c))]
    return 0.5 * torch.log(torch.det(torch.stack(rows)))


def pair_dist(z: Tensor, variance: float, divisor: int) -> Tensor:
    """Kolchinsky & Tracey with divergence |a - b|^2 / (divisor s^2)."""
    n, k = z.shape
    inside = [torch.log(sum(torch.exp(-dot(a - b, a - b) / (divisor * variance)) for b in z) / n) for a in z]
    return k / 2 * math.log(2 * math.pi * math.e * variance) - sum(inside) / n


def kde(z: Tensor, variance: float, leave_one_out: bool) -> Tensor:
    n, k = z.shape
    inside = [
        sum(
            torch.exp(-dot(z[i] - z[j], z[i] - z[j]) / (2 * variance))
            for j in range(n)
            if not (leave_one_out and i == j)
        )
        for i in range(n)
    ]
    logs = [torch.log(s / (n - leave_one_out) / (2 * math.pi * variance) ** (k / 2)) for s in inside]
    return -sum(logs) / n


def with_entropy(given: tuple[Tensor, ...], o: LogDet | PairDist | KDE) -> Tensor:
    single = o.inputs == "prediction and target"
    found = []
    for z in given[:1] if single else given[:2]:
        k = z.shape[1]
        z = torch.stack(unit(z)) * k**0.5 if o.scale_free else z
        if isinstance(o, LogDet):
            found.append(log_det(z, o.beta))
        elif isinstance(o, KDE):
            found.append(kde(z, k * o.variance, o.leave_one_out))
        else:
            found.append(pair_dist(z, k * o.variance, 8 if o.side == "lower" else 2))
    return total(o.inner, *given) - o.weight * sum(found) / len(found)


# -- all of them ------------------------------------------------------------------------------------------------


def total(o: object, *given: Tensor) -> Tensor:
    """The total of any objective, by its formula."""
    match o:
        case VICReg():
            return vicreg(*given, o)
        case SimCLR() | DCL():
            return nt_xent(*given, o)
        case AlignUniform():
            return align_uniform(*given, o)
        case SpectralContrastive():
            return spectral(*given, o)
        case BarlowTwins():
            return barlow(*given, o)
        case WMSE():
            return wmse(*given, o)
        case FroSSL():
            return frossl(*given, o)
        case MMCR():
            return mmcr(*given, o)
        case BYOL():
            return byol(*given)
        case SimSiam():
            return byol(*given) / 2 - 1
        case SwAV():
            return swav(*given, o)
        case DINO():
            return dino(*given, o)
        case SIGReg():
            return sigreg(*given, o)
        case Invariance():
            return o.weight * invariance(*given)
        case LogDet() | PairDist() | KDE():
            return with_entropy(given, o)
    raise NotImplementedError(repr(o))


def given(o: object, n: int, k: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> tuple[Tensor, ...]:
    """Normal inputs of the kind that an objective takes."""
    generator = torch.Generator().manual_seed(seed)
    draw = lambda *shape: torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)  # noqa: E731
    extra = {"student, teacher and centre": (k,), "two embeddings and directions": (k, 3)}
    pair = (draw(n, k), draw(n, k))
    takes = o.inputs  # type: ignore[attr-defined]
    if takes in ("two prototype scores", "student, teacher and centre"):
        pair = (pair[0] / 4, pair[1] / 4)
    return (*pair, draw(*extra[takes])) if takes in extra else pair


def weighted(o: object, loss: Loss) -> Tensor:
    """The total as the objective's weights make it from its terms."""
    t = loss.terms
    match o:
        case VICReg():
            return sum(getattr(o, name) * t[name] for name in ("invariance", "variance", "covariance"))
        case SimCLR() | DCL():
            return t["attraction"] + t["repulsion"]
        case AlignUniform():
            return o.alignment * t["alignment"] + o.uniformity * t["uniformity"]
        case SpectralContrastive():
            return o.beta * t["invariance"] + t["second_moment"]
        case BarlowTwins():
            return t["invariance"] + o.redundancy * t["redundancy"]
        case WMSE() | BYOL():
            return t["distance"]
        case FroSSL():
            return o.invariance * t["invariance"] - 2 * t["entropy"]
        case MMCR():
            return o.local * t["local"] - t["capacity"]
        case SimSiam():
            return -t["similarity"]
        case SwAV() | DINO():
            return t["cross_entropy"]
        case SIGReg():
            return (1 - o.gaussian) * t["invariance"] + o.gaussian * t["gaussian"]
        case Invariance():
            return o.weight * t["invariance"]
        case LogDet():
            return weighted(o.inner, loss) - o.weight * t["log_det"]
        case PairDist():
            return weighted(o.inner, loss) - o.weight * t["pair_dist"]
        case KDE():
            return weighted(o.inner, loss) - o.weight * t["kde"]
    raise NotImplementedError(repr(o))
