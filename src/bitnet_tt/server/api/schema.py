"""The base of all request models: which fields exist, which are ignored, and which are refused by name."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo, field_validator, model_validator
from pydantic_core import PydanticCustomError

TEXT_ONLY = "this server reads and writes only text"
OWN_TOOLS = "only functions with a JSON schema can be called, and the client runs them"
NO_FUNCTIONS = "functions are the older form of tools; give tools"
STATELESS = "this server keeps no conversations; send the whole conversation each time"


@dataclass(frozen=True, slots=True)
class Refusal:
    """A field of a published schema that this server does not support.

    Attributes:
        why: What it cannot do.
        neutral: Values that ask for nothing, and are accepted. A missing value and null always are.
    """

    why: str
    neutral: tuple[Any, ...] = ()


class ApiRequest(BaseModel):
    """A JSON object of a request. Fields that are null count as missing; unknown ones are an error.

    Attributes:
        ignored: Fields that cannot change the result.
        refused: Fields of the published schema that we do not support.
    """

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    ignored: ClassVar[frozenset[str]] = frozenset()
    refused: ClassVar[Mapping[str, Refusal]] = {}

    @model_validator(mode="before")
    @classmethod
    def _screen(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        kept = {}
        for name, value in data.items():
            refusal = cls.refused.get(name)
            if value is None or name in cls.ignored or (refusal and _is_neutral(value, refusal.neutral)):
                continue
            if refusal is not None:
                raise unsupported_field(name, refusal.why)
            kept[name] = value
        return kept


class TextPart(ApiRequest):
    """A part of a message's content: text."""

    ignored: ClassVar[frozenset[str]] = frozenset(
        {"annotations", "cache_control", "citations", "logprobs", "prompt_cache_breakpoint"}
    )

    type: Literal["text", "input_text", "output_text"]
    text: str


def join_parts(content: Any) -> Any:
    """Return the content of a message as one text. It may be a list of parts, which must all be text."""
    if not isinstance(content, list):
        return content
    texts = []
    for index, part in enumerate(content):
        kind = part.get("type") if isinstance(part, dict) else None
        if isinstance(kind, str) and kind not in ("text", "input_text", "output_text"):
            raise unsupported_field(f"[{index}]", f"a content part of type {kind[:40]!r} is not text; {TEXT_ONLY}")
        texts.append(TextPart.model_validate(part).text)
    return "".join(texts)


Content = Annotated[str, BeforeValidator(join_parts, json_schema_input_type=str | list[TextPart])]
"""The content of a message: a text, or parts that are texts."""


class CalledFunction(ApiRequest):
    """The function of a tool call, with its arguments as JSON."""

    name: str
    arguments: str


class ToolCall(ApiRequest):
    """A tool call that the assistant made earlier."""

    id: str
    type: Literal["function"] = "function"
    function: CalledFunction


class ChatMessage(ApiRequest):
    """A message of a chat. `developer` is OpenAI's newer name for `system`."""

    ignored: ClassVar[frozenset[str]] = frozenset({"annotations"})
    refused: ClassVar[Mapping[str, Refusal]] = {
        "function_call": Refusal(NO_FUNCTIONS),
        "audio": Refusal(TEXT_ONLY),
        "refusal": Refusal(TEXT_ONLY, ("",)),
    }

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: Content | None = None
    name: str | None = None
    reasoning_content: str | None = None
    tool_calls: list[ToolCall] = Field(default_factory=list)
    tool_call_id: str | None = None

    @model_validator(mode="after")
    def _check_content(self) -> Self:
        if self.tool_calls and self.role != "assistant":
            raise unsupported_field("tool_calls", "only messages of the assistant have them")
        if (self.role == "tool") != (self.tool_call_id is not None):
            raise PydanticCustomError("tool", "tool_call_id must be given if, and only if, the role is tool")
        if self.content is None and not self.tool_calls:
            raise PydanticCustomError(
                "no_content", "content is missing; only a message with tool_calls may leave it out"
            )
        return self

    def for_template(self) -> dict[str, Any]:
        """Return the message as chat templates know it."""
        message = self.model_dump(exclude_none=True, exclude_defaults=True) | {"role": self.role}
        return message | ({"role": "system"} if self.role == "developer" else {})


class CommonFields(ApiRequest):
    """The model and how to pick tokens: the fields that all APIs share. Some extend the published schemas."""

    model: str
    temperature: float = Field(default=1.0, ge=0, le=2)
    top_p: float = Field(default=1.0, gt=0, le=1)
    seed: int | None = Field(default=None, ge=-(2**63), lt=2**64)
    top_k: int = Field(default=0, ge=-1, lt=2**31)
    min_p: float = Field(default=0.0, ge=0, le=1)

    def with_fields(self, **more: Any) -> SamplingFields:
        """Return these fields, and more, as those of completions and chats."""
        return SamplingFields(**{name: getattr(self, name) for name in CommonFields.model_fields}, **more)


class SamplingFields(CommonFields):
    """How to pick tokens and when to stop: the fields that completions and chats share.

    Fields after `stop` extend OpenAI's schema, as llama.cpp's and vLLM's servers do.
    """

    n: int = Field(default=1, ge=1)
    presence_penalty: float = Field(default=0.0, ge=-2, le=2)
    frequency_penalty: float = Field(default=0.0, ge=-2, le=2)
    logit_bias: dict[str, float] = Field(default_factory=dict)
    stop: str | list[str] = Field(default_factory=list)
    repetition_penalty: float = Field(default=1.0, ge=0.01, le=100)
    stop_token_ids: list[int] = Field(default_factory=list, max_length=1024)
    ignore_eos: bool = False

    @property
    def stop_strings(self) -> Sequence[str]:
        """The stop strings as a list."""
        return [self.stop] if isinstance(self.stop, str) else self.stop


class StreamOptions(ApiRequest):
    """What a stream holds besides text."""

    ignored: ClassVar[frozenset[str]] = frozenset({"include_obfuscation"})

    include_usage: bool = False


class StreamFields(ApiRequest):
    """Whether the answer is a stream, for OpenAI's chats and completions."""

    stream: bool = False
    stream_options: StreamOptions = Field(default_factory=StreamOptions)

    @field_validator("stream_options")
    @classmethod
    def _check_options(cls, options: StreamOptions, fields: ValidationInfo) -> StreamOptions:
        if not fields.data.get("stream"):
            raise PydanticCustomError("stream", "it needs stream: true")
        return options


def unsupported_field(field: str, why: str) -> PydanticCustomError:
    """Return the error of a field, or of a value of a field, that this server does not support."""
    return PydanticCustomError("unsupported", "{field} is not supported: {why}", {"field": field, "why": why})


def kind_of(value: Any) -> str:
    """Return the type that an object of a request gives itself, as the tag of a pydantic union.

    A tag has a space, so that no error takes it for a field.
    """
    kind = value.get("type") if isinstance(value, dict) else getattr(value, "type", None)
    return f"type {kind}"


def refuse_kinds(known: Collection[str | None], why: str) -> Callable[[Any], Any]:
    """Return the check of an object that its type is one that we know; None stands for a type that is missing."""

    def check(value: Any) -> Any:
        kind = value.get("type") if isinstance(value, dict) else None
        if isinstance(value, dict) and (kind is None or isinstance(kind, str)) and kind not in known:
            names = ", ".join(map(repr, filter(None, known)))
            raise unsupported_field("type", f"{kind and kind[:40]!r} is not {names}; {why}")
        return value

    return check


def _is_neutral(value: Any, neutral: tuple[Any, ...]) -> bool:
    """Return whether a value asks for nothing. True is not 1 here."""
    return any(value == one and isinstance(value, bool) == isinstance(one, bool) for one in neutral)
