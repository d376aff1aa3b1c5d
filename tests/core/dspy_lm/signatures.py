"""Random signatures: every type an answer can have, with bounds."""

from __future__ import annotations

import string
from enum import Enum
from typing import Annotated, Any, Literal

import dspy
from hypothesis import strategies as st
from pydantic import Field, create_model

PATTERNS = (
    r"^[a-z]+$",
    r"^\d{4}-\d{2}-\d{2}$",
    r"^#[0-9a-fA-F]{6}$",
    r"^(yes|no|perhaps)( again)*$",
    r"^[A-Z][a-z]{1,8}( [A-Z][a-z]{1,8})?$",
    r"^[^aeiou]{2,5}\.\w?$",
)
names = st.text(string.ascii_lowercase, min_size=1, max_size=8).map(lambda text: f"f_{text}")
words = st.text(string.ascii_letters + " é秋-_'", min_size=1, max_size=10).filter(lambda text: text == text.strip())


# Types are built at run time here, which a type checker takes for a mistake.
_annotated: Any = Annotated
_list: Any = list
_dict: Any = dict


def _chosen(values: list[Any]) -> Any:
    return Literal[tuple(values)]


def _enum(values: list[Any]) -> Any:
    return Enum("Season", [(f"M{number}", value) for number, value in enumerate(values)])


@st.composite
def bounded_numbers(draw: st.DrawFn) -> Any:
    kind: Any = draw(st.sampled_from([int, float]))
    number = st.integers(-2000, 2000) if kind is int else st.floats(-2000, 2000).map(lambda each: round(each, 3))
    low, high = sorted((draw(number), draw(number)))
    bounds: dict[str, Any] = {}
    if draw(st.booleans()):
        bounds["ge" if draw(st.booleans()) else "gt"] = low
    if draw(st.booleans()):
        # Wide enough that a number lies between the two, also when neither is one of them.
        bounds["le" if draw(st.booleans()) else "lt"] = high + 2
    return _annotated[kind, Field(**bounds)]


@st.composite
def bounded_texts(draw: st.DrawFn) -> Any:
    if draw(st.booleans()):
        return Annotated[str, Field(pattern=draw(st.sampled_from(PATTERNS)))]
    fewest = draw(st.integers(0, 6))
    longest = draw(st.none() | st.integers(fewest, fewest + 20))
    return Annotated[str, Field(min_length=fewest, max_length=longest)]


def _bounded_list(kind: Any, fewest: int, more: int | None) -> Any:
    bounds = Field(min_length=fewest, max_length=None if more is None else fewest + more)
    return _annotated[_list[kind], bounds]


def _mapping(key: Any, kind: Any) -> Any:
    return _dict[key, kind]


def _model(fields: dict[str, Any]) -> Any:
    definitions: dict[str, Any] = {name: (kind, ...) for name, kind in fields.items()}
    return create_model("Part", **definitions)


texts = st.lists(words, min_size=1, max_size=4, unique=True).map(_chosen)
choices = texts | st.lists(st.integers(-9, 9), min_size=1, max_size=4, unique=True).map(_chosen)
enums = st.lists(words, min_size=1, max_size=4, unique=True).map(_enum) | st.lists(
    st.integers(0, 9), min_size=1, max_size=3, unique=True
).map(_enum)
scalars = st.sampled_from([str, int, float, bool]) | choices | enums | bounded_numbers() | bounded_texts()
keys = st.sampled_from([str, int]) | texts


def _larger(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(
        inner.map(lambda kind: kind | None),
        inner.map(lambda kind: _list[kind]),
        st.builds(_bounded_list, inner, st.integers(0, 2), st.none() | st.integers(0, 2)),
        st.builds(_mapping, keys, inner),
        st.dictionaries(names, inner, min_size=1, max_size=3).map(_model),
    )


types = st.recursive(scalars, _larger, max_leaves=4)


def _signature(fields: dict[str, Any]) -> Any:
    outputs = {name: (kind, dspy.OutputField()) for name, kind in fields.items()}
    return dspy.Signature({"question": (str, dspy.InputField()), **outputs}, "Answer.")


signatures = st.dictionaries(names, types, min_size=1, max_size=3).map(_signature)
