"""The starter models' tokenizers, trained on text of our own: BPE over bytes, and WordPiece."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from optimizers.starter import lessons, searching
from optimizers.starter.lessons import END, START
from optimizers.starter.world import World

if TYPE_CHECKING:
    from collections.abc import Iterator

PIECES = 2048
LESSONS = 6_000
"""What the pieces are learned from."""


def instruct_texts(seed: int) -> Iterator[str]:
    world = World(seed)
    for number in range(LESSONS):
        lesson = lessons.lesson(world, number / LESSONS)
        text = lesson.beginning + "".join(span.text for branch in lesson.branches for span in branch)
        yield text.replace(START, "\n").replace(END, "\n")


def train_bpe(seed: int) -> Tokenizer:
    """Byte-level BPE, split as GPT-2 does, which llama.cpp calls "gpt-2"; the control tokens come first."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=PIECES,
        special_tokens=[AddedToken(text, normalized=False) for text in ("<|endoftext|>", START, END)],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(instruct_texts(seed), trainer)
    return tokenizer


UNKNOWN = "[UNK]"
MASK = "[MASK]"
SPECIAL = ("[PAD]", UNKNOWN, "[CLS]", "[SEP]", MASK)
WORD_PIECES = 4096
CONTINUES = "##"


def search_texts(seed: int) -> Iterator[str]:
    world = World(seed)
    for _ in range(LESSONS * 4):
        made = searching.pair(world)
        yield f"{made.query} {made.entry.text}"
        yield f"{world.sign(world.mood())} {world.thing()}"


def train_word_pieces(seed: int) -> Tokenizer:
    """WordPiece over lower-case words, and the letters of other scripts, so that their words are no unknown ones."""
    tokenizer = Tokenizer(models.WordPiece(unk_token=UNKNOWN, max_input_chars_per_word=200))
    _as_bert(tokenizer)
    trainer = trainers.WordPieceTrainer(
        vocab_size=WORD_PIECES,
        special_tokens=list(SPECIAL),
        initial_alphabet=[chr(code) for code in range(0x21, 0x7F) if not chr(code).isupper()],
        continuing_subword_prefix=CONTINUES,
        show_progress=False,
    )
    tokenizer.train_from_iterator(search_texts(seed), trainer)
    letters = [*range(0x30, 0x3A), *range(0x61, 0x7B), *range(0xA1, 0x700), *range(0x3041, 0x3100)]
    pieces = {prefix + chr(code) for code in letters if _is_small_letter(chr(code)) for prefix in ("", CONTINUES)}
    # In an order of our own: the trainer's is another each time.
    ordered = [*SPECIAL, *sorted((pieces | set(tokenizer.get_vocab())) - set(SPECIAL))]
    numbers = {piece: number for number, piece in enumerate(ordered)}
    whole = Tokenizer(models.WordPiece(numbers, unk_token=UNKNOWN, max_input_chars_per_word=200))
    _as_bert(whole)
    return whole


def _is_small_letter(letter: str) -> bool:
    return letter.isalnum() and letter == letter.lower()


def _as_bert(tokenizer: Tokenizer) -> None:
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
