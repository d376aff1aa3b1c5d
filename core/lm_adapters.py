"""DSPy's two adapters with a grammar from the signature: whatever a model writes parses at the first try.

DSPy's own JSONAdapter sends a schema without the bounds of the fields, and none at all for a `dict`; its ChatAdapter
sends nothing. These two send what `core.grammar` reads, and leave the prompt as it is. They keep DSPy's names, by which
its stream listeners know what they read.

Only DSPy's callers import this module: it imports DSPy.
"""

from __future__ import annotations

import json
from enum import Enum
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import dspy
from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema

from core.grammar.schema import BARE, SECTIONS


class _Schema(GenerateJsonSchema):
    """Says also what the keys of a `dict` are, which pydantic leaves out."""

    def dict_schema(self, schema: Any) -> dict[str, Any]:
        made: dict[str, Any] = super().dict_schema(schema)
        if "keys_schema" in schema:
            made["propertyNames"] = self.generate_inner(schema["keys_schema"])
            # Keys with a pattern come as this instead, which says less.
            if values := made.pop("patternProperties", None):
                (made["additionalProperties"],) = values.values()
        return made


def output_schema(signature: Any) -> dict[str, Any]:
    """The JSON schema of a signature's output fields, with their bounds."""
    adapters: dict[str, TypeAdapter[Any]] = {}
    for name, info in signature.output_fields.items():
        bounded: Any = Annotated[info.annotation, *info.metadata, None]
        adapters[name] = TypeAdapter(bounded)
    found, shared = TypeAdapter.json_schemas(
        [(name, "validation", adapter) for name, adapter in adapters.items()], schema_generator=_Schema
    )
    return shared | {"type": "object", "properties": {name: found[name, "validation"] for name in adapters}}


def section_schema(signature: Any) -> dict[str, Any]:
    """The same for the sections of ChatAdapter, in which texts and choices stand without quotes."""
    schema = output_schema(signature) | {SECTIONS: True}
    for name, info in signature.output_fields.items():
        if (bare := _bare(info.annotation, schema["properties"][name])) is not None:
            schema["properties"][name] = bare | {BARE: True}
    return schema


def _bare(annotation: Any, schema: dict[str, Any]) -> dict[str, Any] | None:
    """What stands in a section whose value DSPy does not read as JSON; None for one that it does."""
    if annotation is str:
        return schema
    arguments = get_args(annotation)
    if get_origin(annotation) is Literal and all(isinstance(each, str) for each in arguments):
        return {"enum": [_unambiguous(each) for each in arguments]}
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return {"enum": [_named(member) for member in annotation]}
    if get_origin(annotation) in (Union, UnionType) and {str, NoneType} <= set(arguments):
        # DSPy takes any text here for a `str`, so that none is left for None.
        text: dict[str, Any] = next(part for part in schema["anyOf"] if part.get("type") == "string")
        return text
    return None


def _unambiguous(text: str) -> str:
    """In quotes if DSPy would cut something off it."""
    return text if text == text.strip() and text[:1] not in "\"'" else f'"{text}"'


def _named(member: Enum) -> str:
    """By its value, as DSPy shows it in the prompt, or by its name where the value is no plain text."""
    value = member.value
    return value if isinstance(value, str) and value == value.strip() and value.isprintable() else member.name


class JSONAdapter(dspy.JSONAdapter):  # type: ignore[misc]  # dspy is untyped
    """DSPy's, with a grammar that knows bounds, patterns and the types of a `dict`; its examples look as answers do."""

    def format_field_with_value(self, fields_with_values: dict[Any, Any], role: str = "user") -> str:
        text: str = super().format_field_with_value(fields_with_values, role)
        # DSPy breaks lines in an example's object, and the grammar has none.
        return text if role == "user" else json.dumps(json.loads(text), ensure_ascii=False)

    def _call_preprocess(self, lm: Any, lm_kwargs: dict[str, Any], signature: Any, inputs: dict[str, Any]) -> Any:
        asked = super()._call_preprocess(lm, lm_kwargs, signature, inputs)
        lm_kwargs["response_format"] = _response_format(output_schema(asked))
        return asked

    def parse(self, signature: Any, completion: str) -> dict[str, Any]:
        """JSON of the right types is taken as it stands: DSPy reads some texts in it, like "[a]" or "5", once more."""
        try:
            values = json.loads(completion)
            fields = signature.output_fields.items()
            return {name: TypeAdapter(info.annotation).validate_python(values[name]) for name, info in fields}
        except (ValueError, LookupError, TypeError):
            parsed: dict[str, Any] = super().parse(signature, completion)
            return parsed


class ChatAdapter(dspy.ChatAdapter):  # type: ignore[misc]
    """DSPy's, with a grammar for its sections."""

    def _call_preprocess(self, lm: Any, lm_kwargs: dict[str, Any], signature: Any, inputs: dict[str, Any]) -> Any:
        asked = super()._call_preprocess(lm, lm_kwargs, signature, inputs)
        lm_kwargs["response_format"] = _response_format(section_schema(asked))
        return asked


def _response_format(schema: dict[str, Any]) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema, "strict": True}}
