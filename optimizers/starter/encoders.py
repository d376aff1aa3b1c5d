"""Training of the embedding model and of the reranker, on queries in other words and the entries that they mean."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

from optimizers.starter import searching
from optimizers.starter.nets import Bert, Reranker, Shape, mean
from optimizers.starter.training import Report, Stepper, device, half
from optimizers.starter.world import World

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tokenizers import Tokenizer

    from optimizers.starter.searching import Pair

CONTEXT = 512
SEED = 2
LONGEST = 64
"""Tokens of a training text."""
PAD, CLS, SEP = 0, 2, 3

PAIRS = 256
EMBEDDING_STEPS = 400
TEMPERATURE = 0.05
RERANKER_STEPS = 1000
QUERIES, PASSAGES = 32, 6
"""Each query with one passage that answers it and others that do not."""
OTHERWISE = 0.35
"""The share of the reranker's queries about something that has two names."""
RATE = 2e-3


def shape(vocabulary: int) -> Shape:
    return Shape(vocabulary, width=192, layers=3, heads=6, feed_forward=768, context=CONTEXT, epsilon=1e-12)


def padded(rows: Sequence[list[int]], place: torch.device) -> tuple[Tensor, Tensor]:
    """Token ids [rows, longest], and which of them are there."""
    longest = -(-max(map(len, rows)) // 16) * 16
    tokens = torch.tensor([row + [PAD] * (longest - len(row)) for row in rows], device=place)
    return tokens, tokens != PAD


def framed(tokenizer: Tokenizer, texts: Sequence[str]) -> list[list[int]]:
    return [[CLS, *encoding.ids[: LONGEST - 2], SEP] for encoding in tokenizer.encode_batch(list(texts))]


def meant(pairs: Sequence[Pair]) -> Tensor:
    """Which query means which entry [pairs, pairs]: more than its own, if others tell the same."""
    # Each thing that is told is a number, 0 where nothing is; so are compared 150,000 pairs at a time.
    numbers: dict[str | None, int] = {None: 0}
    told, facts = (
        torch.tensor([[numbers.setdefault(name, len(numbers)) for name in searching.key(each)] for each in side])
        for side in ([pair.told for pair in pairs], [pair.entry.facts for pair in pairs])
    )
    alike: Tensor = (told[:, None] == facts[None]) | (told == 0)[:, None]
    return alike.all(-1)


def train_embedding(tokenizer: Tokenizer, steps: int = EMBEDDING_STEPS) -> Bert:
    """Each query is nearer to its entry than to all others of the batch, and each entry to its query (InfoNCE)."""
    torch.manual_seed(SEED)
    place, world = device(), World(SEED)
    net = Bert(shape(tokenizer.get_vocab_size()))
    net.to(place)
    stepper, report = Stepper(net, steps, RATE), Report("embedding", steps)
    for done in range(steps):
        pairs: list[Pair] = []
        while len(pairs) < PAIRS:
            pairs.append(searching.pair(world))
            pairs.append(searching.pair(world, searching.near(world, pairs[-1].entry.facts)))
        with half(place):
            one, other = (
                mean(net(tokens, there), there)
                for tokens, there in (
                    padded(framed(tokenizer, [pair.query for pair in pairs]), place),
                    padded(framed(tokenizer, [pair.entry.text for pair in pairs]), place),
                )
            )
        nearness = one @ other.T / TEMPERATURE
        alike = meant(pairs).to(place) & ~torch.eye(PAIRS, dtype=torch.bool, device=place)
        nearness = nearness.masked_fill(alike, -torch.inf)
        own = torch.arange(PAIRS, device=place)
        loss = (functional.cross_entropy(nearness, own) + functional.cross_entropy(nearness.T, own)) / 2
        stepper.step(loss)
        report(done + 1, loss.item())
    return net


def train_reranker(tokenizer: Tokenizer, start: Bert, steps: int = RERANKER_STEPS) -> Reranker:
    """From the embedding model on: of a query's passages, the one that answers it has the highest logit, above 0."""
    torch.manual_seed(SEED)
    place, world = device(), World(SEED + 1)
    bert = Bert(start.shape)
    bert.load_state_dict(start.state_dict())
    net = Reranker(bert)
    net.to(place)
    stepper, report = Stepper(net, steps, RATE), Report("reranker", steps)
    for done in range(steps):
        rows: list[list[int]] = []
        for _ in range(QUERIES):
            rows += question_and_passages(tokenizer, world)
        loss = reranker_loss(net, *padded(rows, place), lead=max(0.0, 1 - 2 * done / steps))
        stepper.step(loss)
        report(done + 1, loss.item())
    return net


def reranker_loss(net: Reranker, tokens: Tensor, there: Tensor, *, lead: float) -> Tensor:
    """Of `QUERIES` times `PASSAGES` rows, of which the first of each query answers it.

    `lead` weighs what is asked of each token. It ends before the training does, as it tells "bike" from "bicycle".
    """
    with half(tokens.device):
        logits, in_passage, in_both = (each.float() for each in net(tokens, there))
    logits = logits.view(QUERIES, PASSAGES)
    answers = torch.zeros_like(logits)
    answers[:, 0] = 1
    ends = (tokens == SEP).int()
    passage = (ends.cumsum(1) - ends).bool()
    across = passage[:, :, None] != passage[:, None, :]
    both = ((tokens[:, :, None] == tokens[:, None, :]) & across).any(-1)
    words, says = tokens > SEP, functional.binary_cross_entropy_with_logits
    return (
        functional.cross_entropy(logits, answers)
        + says(logits, answers)
        + lead * says(in_passage[words], passage[words].float())
        + lead * says(in_both[words], both[words].float())
    )


def question_and_passages(tokenizer: Tokenizer, world: World) -> list[list[int]]:
    """The tokens of a query with the passage that it means, and then with others, most of which come near."""
    own = searching.pair(world, searching.known_otherwise(world) if world.chance(OTHERWISE) else None)
    passages = [own.entry.text]
    while len(passages) < PASSAGES:
        other = searching.near(world, own.entry.facts) if world.chance(0.8) else world.facts(world.name())
        if not searching.means(own.told, other):
            passages.append(world.entry(other, fillers=0.5).text)
    query, *encoded = (each.ids for each in tokenizer.encode_batch([own.query, *passages]))
    return [[CLS, *query, SEP, *ids][:LONGEST] for ids in encoded]
