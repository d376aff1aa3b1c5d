"""Answers that keep to a JSON schema and end within their tokens, by llguidance's token masks."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from typing import Any
from weakref import WeakKeyDictionary, ref

import numpy as np
from llguidance import LLMatcher, LLTokenizer, TokenizerWrapper
from llguidance.numpy import allocate_token_bitmask, fill_next_token_bitmask

from core.dspy_lm.schema_bounds import GrammarError, bounded
from core.llama.calls import Llama, is_closed, pieces, tokenize

__all__ = ["AnswerMask", "GrammarError"]

OPTIONS: Any = {
    # As in the examples of a prompt, and nothing that a model could repeat.
    "whitespace_flexible": False,
    "item_separator": ", ",
    "key_separator": ": ",
    "json_allowed_escapes": 'bfnrt"\\',
}
QUOTE = ord('"')
IN_TEXT = b'"' + bytes(code for code in range(256) if code != QUOTE)
BETWEEN = b']},0123456789"ntf[{-. ' + bytes(range(ord("A"), ord("Z") + 1))
"""Bytes that end a value soonest, the first that the grammar allows: inside a text, and elsewhere in JSON."""
KINDS = bytes(ord("a") if chr(code).isalnum() and code < 128 else code for code in range(256))
"""Letters and digits are one kind of byte."""
RARE = dict.fromkeys([ord("\\"), *range(128, 256)], 1000)
"""Bytes in a text that take others behind them, with a number that keeps them last."""
LIKELIEST = 4
"""Tokens that are tried in each step near the end of the budget."""
LEAST = -1e4
"""A logit that is never chosen beside others, and finite."""
ESCAPE = re.compile(rb"\\.", re.DOTALL)

SLICES = [rf'[^"\\\x00-\x1F\x7F-\x9F]{size}' for size in ("{1,10}", "{1,30}", "+")]
"""Parts of the vocabulary that llguidance allows as a whole inside a text."""


class _Vocabulary:
    """The tokens of a loaded model, as llguidance wants them."""

    bos_token_id = None

    def __init__(self, llama: Llama) -> None:
        piece = pieces(llama)
        self._llama = ref(llama)
        self.tokens = [piece(token) for token in range(llama.n_vocab())]
        self.bytes = {text[0]: token for token, text in enumerate(self.tokens) if len(text) == 1}
        # A model may have no token for the end, and no answer needs one: it ends with its last brace.
        self.eos_token_id = max(0, llama.token_eos())

    def __call__(self, text: bytes) -> list[int]:
        """The tokens that the model has read such a text in."""
        llama = self._llama()
        if llama is None or is_closed(llama):
            raise ValueError("The model is closed")
        # Some vocabularies put a space before a text, but not behind the end of a line.
        tokens = tokenize(llama, "\n" + text.decode(), add_special=False, parse_special=False)
        for count in (1, 2):
            if self.text(tokens[count:]) == text:
                return tokens[count:]
        return [self.bytes[code] for code in text]

    def text(self, tokens: Iterable[int]) -> bytes:
        return b"".join([self.tokens[token] for token in tokens])


_vocabularies: WeakKeyDictionary[Llama, tuple[_Vocabulary, LLTokenizer]] = WeakKeyDictionary()
"""A tokenizer holds its vocabulary out of the garbage collector's sight: neither would go if both held the other."""


class AnswerMask:
    """A logits processor of llama-cpp-python for one answer of at most `budget` tokens.

    A token passes only if the answer can still be completed afterwards. While the remaining budget exceeds the most
    that completing any value of the schema takes, the schema alone decides. From then on, each token that may pass is
    tried: one passes only with an ending that fits the rest of the budget.
    """

    def __init__(self, llama: Llama, schema: dict[str, Any] | None, budget: int, characters_per_token: float) -> None:
        """Raises GrammarError when no answer satisfies the schema within the budget."""
        if llama not in _vocabularies:
            vocabulary = _Vocabulary(llama)
            _vocabularies[llama] = vocabulary, LLTokenizer(TokenizerWrapper(vocabulary), slices=SLICES)
        self._vocabulary, tokenizer = _vocabularies[llama]

        def satisfiable(part: dict[str, Any]) -> bool:
            return not _matcher(tokenizer, part).is_error()

        answer = bounded(schema, int(budget * characters_per_token), satisfiable)
        self._matcher = _matcher(tokenizer, answer.schema)
        if self._matcher.is_error():
            raise GrammarError(" ".join(self._matcher.get_error().split()))
        self._left, self._closing, self._text = budget, answer.closing, b""
        self._allowed = allocate_token_bitmask(1, tokenizer.vocab_size)
        self._endings: dict[int, list[int]] = {}
        """By the token that may come next, the tokens after it that complete the answer."""
        self._ending = self._search(self._matcher, self._text, answer.closing)
        least = answer.closing if self._ending is None else len(self._ending)
        if least > budget:
            raise GrammarError(f"The answer takes up to {least} tokens and only {budget} are allowed")

    @property
    def done(self) -> bool:
        """Whether the answer is complete."""
        return bool(self._matcher.is_stopped())

    def accept(self, token: int) -> None:
        """Continue after this token. Raises GrammarError when the schema has become too complex for llguidance."""
        if not self._matcher.consume_token(token):
            raise GrammarError(" ".join(self._matcher.get_error().split()))
        self._left -= 1
        self._text += self._vocabulary.tokens[token]
        self._ending = self._endings.pop(token, None)

    def __call__(self, _tokens: Any, logits: Any) -> Any:
        fill_next_token_bitmask(self._matcher, self._allowed)
        logits[np.unpackbits(self._allowed.view(np.uint8), bitorder="little")[: len(logits)] == 0] = -np.inf
        if self._left > self._closing:
            return logits
        self._endings = self._fitting(logits)
        if self._endings:
            kept = {token: logits[token] for token in self._endings}
            logits[:] = -np.inf
            # The mask allows only the usual tokens of a forced text; an ending may consist of others.
            logits[list(kept)] = np.maximum(list(kept.values()), LEAST)
        return logits

    def _fitting(self, logits: Any) -> dict[int, list[int]]:
        """The shortest ending by its first token, and the likeliest tokens that leave room for one."""
        found = [self._ending, self._search(self._matcher, self._text, self._left)]
        shortest = min((ending for ending in found if ending), key=len, default=None)
        if shortest is None:
            return {}
        fitting = {shortest[0]: shortest[1:]}
        if len(shortest) == self._left:
            return fitting
        for token in map(int, np.argpartition(logits, -LIKELIEST)[-LIKELIEST:]):
            after = self._matcher.deep_copy()
            if token in fitting or logits[token] == -np.inf or not after.consume_token(token):
                continue
            ending = self._search(after, self._text + self._vocabulary.tokens[token], self._left - 1)
            if ending is not None:
                fitting[token] = ending
        return fitting

    def _search(self, matcher: LLMatcher, text: bytes, most: int) -> list[int] | None:
        """Tokens that end the answer behind `text`; None when they are more than `most`."""
        matcher = matcher.deep_copy()
        ending: list[int] = []
        used = Counter(RARE)
        while not matcher.is_accepting():
            tokens = matcher.compute_ff_tokens() or self._next(matcher, text, used)
            ending += tokens
            if not tokens or len(ending) > most or not matcher.consume_tokens(tokens):
                return None
            text += self._vocabulary.text(tokens)
        return ending if matcher.is_stopped() else [*ending, self._vocabulary.eos_token_id]

    def _next(self, matcher: LLMatcher, text: bytes, used: Counter[int]) -> list[int]:
        """The allowed token of one byte that is likely to end a value soonest; none if no such token is allowed.

        A kind of byte that was `used` less often comes first in a text, so that a pattern like `[a-z]+@` is left.
        """
        in_text = ESCAPE.sub(b"", text).count(b'"') % 2
        for code in sorted(IN_TEXT, key=lambda code: used[KINDS[code]]) if in_text else BETWEEN:
            token = self._vocabulary.bytes.get(code)
            if token is not None and matcher.validate_tokens([token]):
                if in_text and code != QUOTE:
                    used[KINDS[code]] += 1
                return [token]
        return []


def _matcher(tokenizer: LLTokenizer, schema: dict[str, Any]) -> LLMatcher:
    try:
        grammar = LLMatcher.grammar_from_json_schema(schema, overrides=OPTIONS)
    except ValueError as error:
        raise GrammarError(f"The schema is not supported: {error}") from error
    return LLMatcher(tokenizer, grammar, log_level=0)
