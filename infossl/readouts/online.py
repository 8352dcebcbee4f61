"""Online linear probe: trained beside the model, on representations that carry no gradient back."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from infossl.readouts.accuracy import Accuracy, accuracy_of

__all__ = ["OnlineProbe"]


class OnlineProbe(nn.Module):
    """A linear classifier with an optimizer of its own.

    It follows a moving target and sees augmented views, so its accuracy is biased downwards against a probe
    that is fitted on frozen features; it costs next to nothing.

    Arguments:
        dim: dimension of the representation.
        classes: number of classes.
        lr: learning rate of its Adam.
        seed: of the initial weights; the random state of the process is left as it was.
    """

    def __init__(self, dim: int, classes: int, lr: float = 1e-2, seed: int = 0) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.linear = nn.Linear(dim, classes)
        self.lr = lr
        self._optimizer: torch.optim.Adam | None = None

    @property
    def optimizer(self) -> torch.optim.Adam:
        """Made on first use, when the parameters are where they will stay."""
        if self._optimizer is None:
            self._optimizer = torch.optim.Adam(self.linear.parameters(), lr=self.lr)
        return self._optimizer

    def forward(self, h: Tensor) -> Tensor:
        """Logits `(N, classes)` for representations `(N, dim)`."""
        return self.linear(h)

    @property
    def protocol(self) -> str:
        """How the probe was trained, in words."""
        state = next(iter(self.optimizer.state.values()), None)  # counts across resumed runs
        steps = 0 if state is None else int(state["step"])
        return (
            f"online linear probe, Adam with lr {self.lr:g} for {steps} steps beside the training of the model, "
            "last step counts"
        )

    @torch.no_grad()
    def score(self, h: Tensor, y: Tensor) -> Accuracy:
        """Accuracy on test samples with its protocol."""
        return accuracy_of(self(h.float()).argmax(1), y, f"{self.protocol}, scored on test (n={len(y)})")

    def update(self, h: Tensor, y: Tensor) -> Tensor:
        """One optimizer step on the cross-entropy in nats; returns it. Nothing flows back into `h`."""
        with torch.autocast(h.device.type, enabled=False), torch.enable_grad():
            loss = F.cross_entropy(self(h.detach().float()), y)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        return loss.detach()

    @torch.no_grad()
    def accuracy(self, h: Tensor, y: Tensor) -> float:
        """Share of samples that the probe classifies as labelled."""
        return float((self(h.float()).argmax(1) == y).double().mean())
