"""What the trainings share: where they run, how they step, and how far they are."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.optim import AdamW


def device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def half(place: torch.device) -> AbstractContextManager[None]:
    """Matrix products in bfloat16, but not on a processor without AVX-512, where they take a hundred times as long."""
    fast = place.type != "cpu" or torch.backends.cpu.get_cpu_capability() == "AVX512"
    context: AbstractContextManager[None] = torch.autocast(place.type, dtype=torch.bfloat16, enabled=fast)
    return context


class Muon:
    """Momentum whose step has no preferred direction (K. Jordan, 2024), scaled to be as large as one of AdamW.

    torch.optim.Muon does the same in bfloat16 always, which takes a processor without it a hundred times as long.
    """

    MOMENTUM = 0.95
    DECAY = 0.05

    def __init__(self, matrices: Sequence[nn.Parameter]) -> None:
        self.matrices = [(matrix, torch.zeros_like(matrix)) for matrix in matrices]

    def step(self, rate: float) -> None:
        with torch.no_grad():
            for matrix, momentum in self.matrices:
                if matrix.grad is None:
                    continue
                momentum.lerp_(matrix.grad, 1 - self.MOMENTUM)
                step = orthogonal(matrix.grad.lerp(momentum, self.MOMENTUM))
                matrix.mul_(1 - rate * self.DECAY)
                matrix.sub_(step, alpha=rate * 0.2 * math.sqrt(max(matrix.shape)))


def orthogonal(matrix: Tensor) -> Tensor:
    """About the nearest matrix whose singular values are all 1, by five rounds of Newton-Schulz."""
    x = matrix / (matrix.norm() + 1e-7)
    if tall := x.shape[0] > x.shape[1]:
        x = x.T
    for _ in range(5):
        square = x @ x.T
        x = 3.4445 * x + (-4.7750 * square + 2.0315 * square @ square) @ x
    return x.T if tall else x


class Stepper:
    """Muon for the matrices inside, AdamW for the rest; warmed up, then down to nothing in a straight line."""

    WARM_UP = 60

    def __init__(self, net: nn.Module, steps: int, rate: float) -> None:
        self.net, self.steps, self.done = net, steps, 0
        inner = [p for name, p in net.named_parameters() if p.ndim == 2 and "embd" not in name and "cls" not in name]
        known = {id(p) for p in inner}
        rest = [p for p in net.parameters() if id(p) not in known]
        self.muon, self.adam = Muon(inner), AdamW(rest, lr=rate, betas=(0.9, 0.98), weight_decay=0.0)
        self.rate = rate

    def step(self, loss: Tensor) -> None:
        loss.backward()
        nn.utils.clip_grad_norm_(self.net.parameters(), 1.0)
        share = min(1.0, (self.done + 1) / self.WARM_UP) * (1 - self.done / self.steps)
        self.muon.step(self.rate * share)
        for group in self.adam.param_groups:
            group["lr"] = self.rate * share
        self.adam.step()
        self.net.zero_grad()
        self.done += 1


@dataclass(slots=True)
class Report:
    """A line now and then: the step, the loss since the last line, and the time that is left."""

    name: str
    steps: int
    every: int = 10
    began: float = field(default_factory=time.monotonic)
    losses: list[float] = field(default_factory=list)

    def __call__(self, done: int, loss: float) -> None:
        self.losses.append(loss)
        if done % self.every and done != self.steps:
            return
        taken = time.monotonic() - self.began
        left = taken / done * (self.steps - done)
        mean = math.fsum(self.losses) / len(self.losses)
        self.losses.clear()
        print(
            f"{self.name}: step {done:,} of {self.steps:,}, loss {mean:.4f}, {left / 60:.0f} min left", file=sys.stderr
        )
