"""The networks in PyTorch, shaped as llama.cpp's llama and bert architectures."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional


@dataclass(frozen=True, slots=True)
class Shape:
    vocabulary: int
    width: int
    layers: int
    heads: int
    feed_forward: int
    context: int
    epsilon: float

    @property
    def head(self) -> int:
        return self.width // self.heads


class LlamaBlock(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        width, inner = shape.width, shape.feed_forward
        self.attn_norm = nn.RMSNorm(width, shape.epsilon)
        self.attn_q, self.attn_k, self.attn_v = (nn.Linear(width, width, bias=False) for _ in range(3))
        self.attn_output = nn.Linear(width, width, bias=False)
        self.ffn_norm = nn.RMSNorm(width, shape.epsilon)
        self.ffn_gate, self.ffn_up = (nn.Linear(width, inner, bias=False) for _ in range(2))
        self.ffn_down = nn.Linear(inner, width, bias=False)
        for last in (self.attn_output, self.ffn_down):
            nn.init.zeros_(last.weight)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, mask: Tensor) -> Tensor:
        normed = self.attn_norm(x)
        q, k, v = (self._heads(project(normed)) for project in (self.attn_q, self.attn_k, self.attn_v))
        mixed = functional.scaled_dot_product_attention(rotate(q, cos, sin), rotate(k, cos, sin), v, attn_mask=mask)
        x = x + self.attn_output(mixed.transpose(1, 2).flatten(2))
        normed = self.ffn_norm(x)
        return x + self.ffn_down(functional.silu(self.ffn_gate(normed)) * self.ffn_up(normed))

    def _heads(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.shape.heads, self.shape.head)).transpose(1, 2)


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary positions on neighbouring pairs of numbers, llama.cpp's LLAMA_ROPE_TYPE_NORM."""
    even, odd = x[..., 0::2], x[..., 1::2]
    return torch.stack((even * cos - odd * sin, even * sin + odd * cos), -1).flatten(-2).to(x.dtype)


class Llama(nn.Module):
    """Token ids and their positions [batch, tokens] to normed states [batch, tokens, width]."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.token_embd = nn.Embedding(shape.vocabulary, shape.width)
        nn.init.normal_(self.token_embd.weight, std=0.05)
        self.blk = nn.ModuleList(LlamaBlock(shape) for _ in range(shape.layers))
        self.output_norm = nn.RMSNorm(shape.width, shape.epsilon)
        frequencies = 10_000.0 ** (-torch.arange(0, shape.head, 2) / shape.head)
        angles = torch.outer(torch.arange(shape.context), frequencies)
        self.register_buffer("cos", angles.cos(), persistent=False)
        self.register_buffer("sin", angles.sin(), persistent=False)

    def forward(self, tokens: Tensor, positions: Tensor, mask: Tensor) -> Tensor:
        """`mask` [batch, 1, tokens, tokens] is true where a token sees another."""
        x = self.token_embd(tokens)
        cos, sin = self.cos[positions].unsqueeze(1), self.sin[positions].unsqueeze(1)
        for block in self.blk:
            x = block(x, cos, sin, mask)
        return self.output_norm(x)

    def logits(self, states: Tensor) -> Tensor:
        return functional.linear(states, self.token_embd.weight)


class BertBlock(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        width, inner = shape.width, shape.feed_forward
        self.attn_q, self.attn_k, self.attn_v = (nn.Linear(width, width) for _ in range(3))
        self.attn_output = nn.Linear(width, width)
        self.attn_output_norm = nn.LayerNorm(width, shape.epsilon)
        self.ffn_up, self.ffn_down = nn.Linear(width, inner), nn.Linear(inner, width)
        self.layer_output_norm = nn.LayerNorm(width, shape.epsilon)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        q, k, v = (self._heads(project(x)) for project in (self.attn_q, self.attn_k, self.attn_v))
        mixed = functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        x = self.attn_output_norm(x + self.attn_output(mixed.transpose(1, 2).flatten(2)))
        inner = functional.gelu(self.ffn_up(x), approximate="tanh")
        return self.layer_output_norm(x + self.ffn_down(inner))

    def _heads(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.shape.heads, self.shape.head)).transpose(1, 2)


class Bert(nn.Module):
    """Token ids [batch, tokens], and which of them are there, to states [batch, tokens, width]."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.token_embd = nn.Embedding(shape.vocabulary, shape.width)
        self.position_embd = nn.Embedding(shape.context, shape.width)
        nn.init.normal_(self.token_embd.weight, std=0.05)
        # Places that training never reached stay zero, so that they do no harm.
        nn.init.zeros_(self.position_embd.weight)
        self.token_embd_norm = nn.LayerNorm(shape.width, shape.epsilon)
        self.blk = nn.ModuleList(BertBlock(shape) for _ in range(shape.layers))

    def forward(self, tokens: Tensor, there: Tensor) -> Tensor:
        return self.layers(tokens, there)[-1]

    def layers(self, tokens: Tensor, there: Tensor) -> list[Tensor]:
        """The states after each layer."""
        x = self.token_embd(tokens) + self.position_embd.weight[: tokens.shape[1]]
        x = self.token_embd_norm(x)
        mask = there[:, None, None, :]
        states: list[Tensor] = []
        for block in self.blk:
            x = block(x, mask)
            states.append(x)
        return states


def mean(states: Tensor, there: Tensor) -> Tensor:
    """The mean of the states that are there, of length 1 [batch, width]."""
    summed = (states * there.unsqueeze(-1)).sum(1)
    return functional.normalize(summed.float(), dim=-1)


class Reranker(nn.Module):
    """A Bert with one number on top of its first token: the logit that a passage answers a query.

    Two more are for training alone, one for each token: after the first layer the logit that it is in the passage,
    after the second that the other text has it too. They lead the net to compare the two texts; without them, and
    without the attention that it begins with, learning to do so takes several times as long.
    """

    SHARPNESS = 1.2

    def __init__(self, bert: Bert) -> None:
        super().__init__()
        self.bert = bert
        self.cls_output, self.cls_passage, self.cls_shared = (nn.Linear(bert.shape.width, 1) for _ in range(3))
        self._look_for_the_same(bert.blk[1], bert.shape)

    def _look_for_the_same(self, block: nn.Module, shape: Shape) -> None:
        """Begin with attention to tokens that are alike (A. Trockman and Z. Kolter, Mimetic Initialization, 2023)."""
        for head in range(shape.heads):
            rows = slice(head * shape.head, (head + 1) * shape.head)
            projection = torch.linalg.qr(torch.randn(shape.width, shape.head))[0].T * self.SHARPNESS
            for linear in (block.attn_q, block.attn_k):
                linear.weight.data[rows], linear.bias.data[rows] = projection, 0.0

    def forward(self, tokens: Tensor, there: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The logits of the passages [batch], and of the tokens [batch, tokens] twice: in the passage, in both."""
        first, second, *_, last = self.bert.layers(tokens, there)
        of_tokens = (self.cls_passage(first), self.cls_shared(second))
        return (self.cls_output(last[:, 0]).squeeze(-1), *(each.squeeze(-1) for each in of_tokens))
