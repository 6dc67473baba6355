"""The fields that give an answer a format: OpenAI's, and those of other open servers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from bitnet_tt.server.api.schema import ApiRequest, Refusal, SamplingFields
from bitnet_tt.server.errors import invalid
from bitnet_tt.server.structured_output import ANY_OBJECT, AnswerFormat

REFUSED_FORMATS: Mapping[str, Refusal] = {
    "grammar": Refusal("GBNF cannot be read here; write the grammar in Lark's syntax, in structured_outputs.grammar"),
    "guided_choice": Refusal("it is the older name of structured_outputs.choice"),
    "guided_grammar": Refusal("it is the older name of structured_outputs.grammar"),
    "guided_json": Refusal("it is the older name of structured_outputs.json"),
    "guided_regex": Refusal("it is the older name of structured_outputs.regex"),
}


class JsonSchemaFormat(ApiRequest):
    """The schema of `response_format`. It is always enforced, so `strict` changes nothing."""

    ignored: ClassVar[frozenset[str]] = frozenset({"strict", "description"})

    name: str = ""
    schema_: dict[str, Any] = Field(alias="schema")


class ResponseFormat(ApiRequest):
    """The format that an answer must have."""

    refused: ClassVar[Mapping[str, Refusal]] = {
        "schema": Refusal("give the type json_schema, and the schema as json_schema.schema")
    }

    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchemaFormat | None = None

    @model_validator(mode="after")
    def _check_schema(self) -> Self:
        if (self.type == "json_schema") != (self.json_schema is not None):
            raise PydanticCustomError("format", "json_schema must be given if, and only if, the type is json_schema")
        return self


class StructuredOutputs(ApiRequest):
    """vLLM's formats of an answer: one of them."""

    refused: ClassVar[Mapping[str, Refusal]] = {
        "disable_additional_properties": Refusal("say it in the schema: additionalProperties", (False,)),
        "disable_any_whitespace": Refusal("JSON has one space after commas and colons", (True,)),
        "structural_tag": Refusal("give json, regex, choice or grammar"),
        "whitespace_pattern": Refusal("JSON has one space after commas and colons"),
    }

    json_: dict[str, Any] | str | None = Field(default=None, alias="json")
    regex: str | None = None
    choice: list[str] | None = Field(default=None, min_length=1)
    grammar: str | None = None
    json_object: bool | None = None

    @model_validator(mode="after")
    def _check_one(self) -> Self:
        if len(self.model_fields_set - ({"json_object"} if self.json_object is False else set())) != 1:
            raise PydanticCustomError("format", "give exactly one of json, regex, choice, grammar, json_object")
        return self

    def answer_format(self, param: str) -> AnswerFormat:
        """Return the format. `param` is the name of this field."""
        if self.json_object:
            return AnswerFormat("json_schema", ANY_OBJECT, f"{param}.json_object")
        if self.regex is not None:
            return AnswerFormat("regex", self.regex, f"{param}.regex")
        if self.choice is not None:
            return AnswerFormat("choice", self.choice, f"{param}.choice")
        if self.grammar is not None:
            return AnswerFormat("lark", self.grammar, f"{param}.grammar")
        schema = self.json_
        if isinstance(schema, str):
            try:
                schema = json.loads(schema)
            except (ValueError, RecursionError) as error:
                raise invalid(f"{param}.json is a text, but not JSON: {error}", f"{param}.json") from error
        if not isinstance(schema, dict):
            raise invalid(f"{param}.json must be a JSON schema that is an object", f"{param}.json")
        return AnswerFormat("json_schema", schema, f"{param}.json")


class FormatFields(SamplingFields):
    """The formats of an answer that completions and chats share.

    `structured_outputs` is vLLM's, `json_schema` llama.cpp's.
    """

    refused: ClassVar[Mapping[str, Refusal]] = REFUSED_FORMATS

    response_format: ResponseFormat | None = None
    structured_outputs: StructuredOutputs | None = None
    json_schema: dict[str, Any] | None = None

    @property
    def answer_format(self) -> AnswerFormat | None:
        """The format that the answer must have; None if there is none.

        Raises:
            ApiError: There are several, or an answer with a format is to have no end.
        """
        forms: list[AnswerFormat] = []
        if self.response_format is not None and self.response_format.type != "text":
            given = self.response_format.json_schema
            forms.append(AnswerFormat("json_schema", ANY_OBJECT if given is None else given.schema_, "response_format"))
        if self.structured_outputs is not None:
            forms.append(self.structured_outputs.answer_format("structured_outputs"))
        if self.json_schema is not None:
            forms.append(AnswerFormat("json_schema", self.json_schema, "json_schema"))
        if len(forms) > 1:
            raise invalid(f"{forms[0].param} and {forms[1].param} both give a format; give one", forms[1].param)
        if forms:
            self.check_end(forms[0].param)
        return forms[0] if forms else None

    def check_end(self, param: str) -> None:
        """Check that an answer with a grammar may end.

        Raises:
            ApiError: `ignore_eos` forbids it.
        """
        if self.ignore_eos:
            raise invalid(f"ignore_eos cannot be combined with {param}: such an answer has an end", "ignore_eos")
