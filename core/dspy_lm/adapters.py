"""DSPy's JSONAdapter with a grammar from the signature: a model's answer parses at the first try.

DSPy's own sends a schema without the bounds of the fields, and none at all for a `dict`. This one sends the whole
schema and leaves the prompt unchanged. It keeps DSPy's name, by which DSPy's stream listeners choose how to read it.

Only DSPy's callers import this module: it imports DSPy.
"""

from __future__ import annotations

import json
from typing import Annotated, Any

import dspy
from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema


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


class JSONAdapter(dspy.JSONAdapter):  # type: ignore[misc]  # dspy is untyped
    """DSPy's, with a grammar that knows bounds, patterns and the types of a `dict`; its examples look as answers do."""

    def format_field_with_value(self, fields_with_values: dict[Any, Any], role: str = "user") -> str:
        text: str = super().format_field_with_value(fields_with_values, role)
        # DSPy breaks lines in an example's object, and the grammar has none.
        return text if role == "user" else json.dumps(json.loads(text), ensure_ascii=False)

    def _call_preprocess(self, lm: Any, lm_kwargs: dict[str, Any], signature: Any, inputs: dict[str, Any]) -> Any:
        asked = super()._call_preprocess(lm, lm_kwargs, signature, inputs)
        answer = {"name": "answer", "schema": output_schema(asked), "strict": True}
        lm_kwargs["response_format"] = {"type": "json_schema", "json_schema": answer}
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
