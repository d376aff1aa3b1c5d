"""What the trainings share: where they run, how they step, and how far they are."""

from __future__ import annotations

import math
import sys
import time
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.optim import AdamW, Muon


def device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def half(place: torch.device) -> AbstractContextManager[None]:
    """Matrix products in bfloat16: twice as fast on a processor that has it, and needed on a GPU."""
    context: AbstractContextManager[None] = torch.autocast(place.type, dtype=torch.bfloat16)
    return context


class Stepper:
    """Muon for the matrices inside, AdamW for the rest; warmed up, then down to nothing in a straight line."""

    WARM_UP = 60

    def __init__(self, net: nn.Module, steps: int, rate: float) -> None:
        self.net, self.steps, self.done = net, steps, 0
        inner = [p for name, p in net.named_parameters() if p.ndim == 2 and "embd" not in name and "cls" not in name]
        known = {id(p) for p in inner}
        rest = [p for p in net.parameters() if id(p) not in known]
        self.optimizers = (
            Muon(inner, lr=rate, weight_decay=0.05, adjust_lr_fn="match_rms_adamw"),
            AdamW(rest, lr=rate, betas=(0.9, 0.98), weight_decay=0.0),
        )
        self.rate = rate

    def step(self, loss: Tensor) -> None:
        loss.backward()
        nn.utils.clip_grad_norm_(self.net.parameters(), 1.0)
        share = min(1.0, (self.done + 1) / self.WARM_UP) * (1 - self.done / self.steps)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = self.rate * share
            optimizer.step()
            optimizer.zero_grad()
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
