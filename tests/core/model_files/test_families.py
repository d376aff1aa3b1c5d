"""The families of embedding models: by their names, as published headers have them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from core.model_files.families import PLAIN, text_form
from core.model_files.fingerprint import embedding_id
from core.model_files.gguf import read_header
from core.model_files.spec import DEFAULT_ENCODER_CONTEXT, default_spec, role_of
from core.roles import Role
from tests.architectures.encoders import qwen3_embedding, qwen3_reranker
from tests.model_variants import renamed

if TYPE_CHECKING:
    from pathlib import Path

SEARCH = "Represent this sentence for searching relevant passages: "
TASK = "Instruct: Given a web search query, retrieve relevant passages that answer the query\nQuery:"
FORMS = {
    "nomic-bert nomic-embed-text-v1.5": ("search_query: ", "search_document: ", "", "mean"),
    "nomic-bert-moe Nomic Embed Text v2 Moe": ("search_query: ", "search_document: ", "", "mean"),
    "modern-bert modernbert-embed-base": ("search_query: ", "search_document: ", "", "mean"),
    "qwen3 Qwen3-Embedding-0.6B": (TASK, "", "<|endoftext|>", "last"),
    "qwen3 Qwen3 Embedding 4B Qwen3 4B Base": (TASK, "", "<|endoftext|>", "last"),
    "gemma-embedding Embeddinggemma 300M": ("task: search result | query: ", "title: none | text: ", "", None),
    "bert E5 Base v2": ("query: ", "passage: ", "", "mean"),
    "bert multilingual-e5-small": ("query: ", "passage: ", "", "mean"),
    "bert Multilingual E5 Large Instruct": (f"{TASK} ", "", "", "mean"),
    "llama e5-mistral-7b-instruct": (f"{TASK} ", "", "", "last"),
    "qwen2 gte-Qwen2-1.5B-instruct": (f"{TASK} ", "", "", "last"),
    "bert Bge Small En v1.5": (SEARCH, "", "", "cls"),
    "bert bge-large-en-v1.5": (SEARCH, "", "", "cls"),
    "bert mxbai-embed-large-v1": (SEARCH, "", "", "cls"),
    "bert Snowflake Arctic Embed M": (SEARCH, "", "", "cls"),
    "nomic-bert snowflake-arctic-embed-m-long nomic-embed-text-v1": (SEARCH, "", "", "cls"),
    "bert Snowflake Arctic Embed L v2.0 bge-m3": ("query: ", "", "", "cls"),
    "lfm2 LFM2.5-Embedding-350M": ("query: ", "document: ", "", None),
}
PLAIN_ONES = [
    "bert all-MiniLM-L6-v2",
    "bert bge-m3",
    "bert bge-reranker-v2-m3",
    "bert gte-base-en-v1.5",
    "jina-bert-v2 jina-embeddings-v2-base-de",
    "qwen3 Qwen3-Reranker-0.6B Qwen3-0.6B-Base",
    "qwen3 Qwen3 8B",
    "gemma3 gemma-3-12b-it",
    "",
]


@pytest.mark.parametrize("names", FORMS)
def test_a_family_has_its_published_form(names: str) -> None:
    form = text_form(names)
    assert (form.query, form.passage, form.end, form.pooling) == FORMS[names]


@pytest.mark.parametrize("names", PLAIN_ONES)
def test_other_models_read_plain_texts(names: str) -> None:
    assert text_form(names) == PLAIN


@pytest.mark.parametrize("key", ["name", "basename", "base_model.0.name", "base_model.0.repo_url"])
def test_the_family_is_found_in_the_header(tiny: dict[Role, Path], tmp_path: Path, key: str) -> None:
    name = "https://example.org/nomic-ai/nomic-embed-text-v1.5" if "url" in key else "nomic-embed-text-v1.5"
    file = renamed(tiny[Role.EMBEDDING], tmp_path / "mine.gguf", {f"general.{key}": name})
    assert read_header(file).text_form.query == "search_query: "
    assert read_header(tiny[Role.EMBEDDING]).text_form == PLAIN


def test_the_family_decides_on_a_pooling_that_the_header_lacks(tmp_path: Path) -> None:
    header = read_header(qwen3_embedding.write(tmp_path / "a.gguf"))
    assert (header.pooling, role_of(header)) == ("last", Role.EMBEDDING)
    other = read_header(qwen3_embedding.write(tmp_path / "b.gguf", name="Qwen3 0.6B"))
    assert (other.pooling, role_of(other)) == (None, Role.INSTRUCT)


def test_the_same_file_with_other_words_around_its_passages_has_another_key(tiny: dict[Role, Path]) -> None:
    spec = default_spec(read_header(tiny[Role.EMBEDDING]))
    forms = [PLAIN, replace(PLAIN, passage="passage: "), replace(PLAIN, end="<end>"), replace(PLAIN, query="query: ")]
    ids = [embedding_id(replace(spec, header=replace(spec.header, text_form=form))) for form in forms]
    assert ids.count(ids[0]) == 2, "what stands before a query is no part of a passage's vector"
    assert len(set(ids)) == 3


def test_a_passage_has_512_tokens_by_default(tmp_path: Path) -> None:
    for write in (qwen3_embedding.write, qwen3_reranker.write):
        spec = default_spec(read_header(write(tmp_path / "model.gguf")))
        assert spec.header.context_length > spec.context_length == DEFAULT_ENCODER_CONTEXT == 512
