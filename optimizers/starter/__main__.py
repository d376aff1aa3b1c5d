"""Builds the three starter models and says how good they are: `python -m optimizers.starter`."""

from __future__ import annotations

import json
import sys

from core import starter
from core.roles import Role
from optimizers.starter import encoders, evaluate, export, instruct, vocabulary

VOCABULARY_SEED = 7


def build() -> None:
    """Train all three and write their files where Charlie looks for them."""
    pieces = vocabulary.train_word_pieces(VOCABULARY_SEED)
    embedding = encoders.train_embedding(pieces)
    export.write_embedding(starter.path_of(Role.EMBEDDING), embedding, pieces)
    export.write_reranker(starter.path_of(Role.RERANKER), encoders.train_reranker(pieces, embedding), pieces)
    bpe = vocabulary.train_bpe(VOCABULARY_SEED)
    net = instruct.train(bpe)
    export.write_instruct(starter.path_of(Role.INSTRUCT), net, bpe)
    found = {"perplexity": instruct.perplexity(net, bpe)}
    evaluate.FRAMEWORK.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    build()
    sys.exit(evaluate.main())
