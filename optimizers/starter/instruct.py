"""Training of the instruct model: lessons packed into rows, the loss over the replies alone."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.data import DataLoader

from optimizers.starter import by_example, lessons
from optimizers.starter.nets import Llama, Shape
from optimizers.starter.training import Report, Stepper, device, half
from optimizers.starter.world import World

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tokenizers import Tokenizer

    from optimizers.starter.lessons import Lesson

CONTEXT = 2048
SEED = 1
ROW = 448
ROWS = 16
STEPS = 7200
RATE = 3e-3
SPREAD = 0.4
"""The share of lessons whose positions are drawn out over the whole context, so that long prompts are learned too;
in the second half of training."""
FIRST = 4.0
"""The weight of a reply's first token: it says which entry answers, or that none does, and the rest follows from it."""
TRIES = 3
"""Lessons that are drawn for the rest of a row before it is left empty."""
SHOWN_ROW, SHOWN_ROWS, SHOWN = 1024, 2, 0.2
"""Lessons by example are longer: in the second half of training they have rows of their own, with so much
of the loss."""
SEEDS = 1_000_000
"""Seeds of batches from one SEED on."""
PACKERS = 8
"""Processes that make lessons ahead, which on a GPU takes longer than to learn them."""
BEGINNING = 0
"""The branch number of a lesson's beginning, which all its branches see."""


def shape(vocabulary: int) -> Shape:
    return Shape(vocabulary, width=192, layers=6, heads=4, feed_forward=512, context=CONTEXT, epsilon=1e-5)


@dataclass(frozen=True, slots=True)
class Tokens:
    """A lesson's tokens; all lists are as long as `ids`."""

    ids: list[int]
    positions: list[int]
    branches: list[int]
    learned: list[bool]


def encode(lesson: Lesson, tokenizer: Tokenizer, room: int) -> Tokens | None:
    """The tokens of a lesson and of as many of its branches as there is room for; None if there is room for none."""
    ids: list[int] = tokenizer.encode(lesson.beginning).ids
    tokens = Tokens(ids, list(range(len(ids))), [BEGINNING] * len(ids), [False] * len(ids))
    beginning = len(ids)
    for number, branch in enumerate(lesson.branches, start=1):
        spans = [(tokenizer.encode(span.text).ids, span.learned) for span in branch]
        length = sum(len(ids) for ids, _ in spans)
        if len(tokens.ids) + length > room:
            break
        tokens.positions.extend(range(beginning, beginning + length))
        tokens.branches.extend([number] * length)
        for ids, learned in spans:
            tokens.ids.extend(ids)
            tokens.learned.extend([learned] * len(ids))
    return tokens if any(tokens.learned) else None


def spread(tokens: Tokens, world: World) -> None:
    """Leave gaps in the positions, the same in every branch, up to the whole context."""
    longest = max(tokens.positions) + 1
    cuts = sorted(world.random.randrange(longest) for _ in range(3))
    free = world.random.randrange(CONTEXT - longest)
    gaps = [free * world.random.random() / 3 for _ in cuts]
    for index, position in enumerate(tokens.positions):
        tokens.positions[index] = position + sum(
            int(gap) for cut, gap in zip(cuts, gaps, strict=True) if position > cut
        )


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows of packed lessons; each tensor is [rows, tokens of a row], of whole numbers."""

    ids: Tensor
    positions: Tensor
    lessons: Tensor
    branches: Tensor
    learned: Tensor

    def to(self, place: torch.device) -> Batch:
        return Batch(*(getattr(self, field.name).to(place) for field in fields(self)))

    def mask(self) -> Tensor:
        """A token sees what is before it in its own lesson: the beginning, and its own branch."""
        same_lesson = self.lessons[:, :, None] == self.lessons[:, None, :]
        in_sight = (self.branches[:, None, :] == BEGINNING) | (self.branches[:, :, None] == self.branches[:, None, :])
        length = self.ids.shape[1]
        before = torch.ones(length, length, dtype=torch.bool, device=self.ids.device).tril()
        return (same_lesson & in_sight & before)[:, None]


class Packer:
    """Makes rows of lessons, the last of which loses the branches that do not fit."""

    def __init__(self, tokenizer: Tokenizer, world: World) -> None:
        self.tokenizer, self.world = tokenizer, world

    def batch(self, progress: float) -> Batch:
        return _stacked(self._row(lambda: lessons.lesson(self.world, progress), ROW, progress) for _ in range(ROWS))

    def shown(self) -> Batch:
        """Lessons by example."""
        return _stacked(self._row(lambda: by_example.lesson(self.world), SHOWN_ROW, 1.0) for _ in range(SHOWN_ROWS))

    def _row(self, lesson: Callable[[], Lesson], length: int, progress: float) -> tuple[list[int], ...]:
        columns: tuple[list[int], ...] = ([], [], [], [], [])
        tries = 0
        while tries < TRIES:
            tokens = encode(lesson(), self.tokenizer, length - len(columns[0]))
            if tokens is None:
                tries += 1
                continue
            if progress > 0.5 and self.world.chance(SPREAD):
                spread(tokens, self.world)
            number = columns[2][-1] + 1 if columns[2] else 1
            learned = [int(each) for each in tokens.learned]
            of_lesson = (tokens.ids, tokens.positions, [number] * len(tokens.ids), tokens.branches, learned)
            for column, part in zip(columns, of_lesson, strict=True):
                column.extend(part)
        for column in columns:
            column.extend([0] * (length - len(column)))
        return columns


def _stacked(rows: Iterable[tuple[list[int], ...]]) -> Batch:
    return Batch(*(torch.tensor(column) for column in zip(*rows, strict=True)))


class Lessons:
    """The batches of a training by their number: the usual, and in the second half one of lessons by example too.

    Each is drawn from a seed of its own, so they are the same whichever process makes them.
    """

    def __init__(self, tokenizer: Tokenizer, steps: int) -> None:
        self.tokenizer, self.steps = tokenizer, steps

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, done: int) -> tuple[Batch, Batch | None]:
        packer, progress = Packer(self.tokenizer, World(SEED * SEEDS + done)), done / self.steps
        return packer.batch(progress), packer.shown() if progress > 0.5 else None


def loss_of(net: Llama, states: Tensor, batch: Batch) -> Tensor:
    """The mean loss of the replies' tokens, each foretold from the one before; a reply's first counts for FIRST."""
    learned = batch.learned.bool()
    chosen, first = learned[:, 1:], learned[:, 1:] & ~learned[:, :-1]
    logits = net.logits(states[:, :-1][chosen])
    losses = functional.cross_entropy(logits.float(), batch.ids[:, 1:][chosen], reduction="none")
    weights = torch.where(first[chosen], FIRST, 1.0)
    return (losses * weights).sum() / weights.sum()


def train(tokenizer: Tokenizer, steps: int = STEPS) -> Llama:
    torch.manual_seed(SEED)
    place = device()
    net = Llama(shape(tokenizer.get_vocab_size()))
    net.to(place)
    stepper, report = Stepper(net, steps, RATE), Report("instruct", steps)
    # One compilation for each length of rows, and none that has to do for both.
    forward = torch.compile(net, dynamic=False)

    def loss(batch: Batch) -> Tensor:
        batch = batch.to(place)
        return loss_of(net, forward(batch.ids, batch.positions, batch.mask()), batch)

    made = Lessons(tokenizer, steps)
    batches = DataLoader(made, batch_size=None, num_workers=PACKERS, multiprocessing_context="spawn")
    for done, (batch, shown) in enumerate(batches, start=1):
        with half(place):
            whole = loss(batch) if shown is None else (1 - SHOWN) * loss(batch) + SHOWN * loss(shown)
        stepper.step(whole)
        report(done, whole.item())
    return net


def perplexity(net: Llama, tokenizer: Tokenizer) -> float:
    """Of the replies' tokens in held-out lessons, one after the other as llama.cpp reads them."""
    losses: list[Tensor] = []
    for said, reply in lessons.held_out_replies():
        before, after = (tokenizer.encode(text).ids for text in (said, reply))
        ids = torch.tensor([before + after], device=net.token_embd.weight.device)
        positions = torch.arange(ids.shape[1], device=ids.device)[None]
        mask = torch.ones(1, 1, ids.shape[1], ids.shape[1], dtype=torch.bool, device=ids.device).tril()
        with torch.no_grad():
            logits = net.logits(net(ids, positions, mask))[0, len(before) - 1 : -1]
        losses.append(functional.cross_entropy(logits, ids[0, len(before) :], reduction="none"))
    return float(torch.cat(losses).mean().exp())
