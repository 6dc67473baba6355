"""Errors of the API: OpenAI's shape everywhere, Anthropic's on its own endpoints."""

from __future__ import annotations

import http
from collections.abc import Sequence
from typing import Any

from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse

from bitnet_tt.errors import BitNetError, ConfigError, RequestError, TokenizerError
from bitnet_tt.server.text_service import DeadlineError

_ANTHROPIC_TYPES = {
    401: "authentication_error",
    404: "not_found_error",
    408: "timeout_error",
    413: "request_too_large",
    429: "rate_limit_error",
    500: "api_error",
    503: "overloaded_error",
    504: "timeout_error",
}


class ApiError(Exception):
    """A request that is not answered, and what the client is told.

    Attributes:
        status: The HTTP status.
        message: What is wrong, and what to do.
        kind: OpenAI's `type`.
        param: The field that is wrong, such as `messages[0].content`.
        code: A word for programs, such as `context_length_exceeded`.
        retry_after: Seconds after which to try again.
        allow: The methods that the path takes, if the method is wrong.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        kind: str = "invalid_request_error",
        param: str | None = None,
        code: str | None = None,
        retry_after: int | None = None,
        allow: str = "",
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.kind = kind
        self.param = param
        self.code = code
        self.retry_after = retry_after
        self.allow = allow


class ClientGoneError(Exception):
    """The client closed the connection; nobody reads an answer."""


def invalid(message: str, param: str | None = None, code: str | None = "invalid_value") -> ApiError:
    """Return the error of a request that can never succeed as it is."""
    return ApiError(400, message, param=param, code=code)


def unsupported(param: str, why: str) -> ApiError:
    """Return the error of a field that this server does not support."""
    return ApiError(400, f"{param} is not supported: {why}", param=param, code="unsupported_parameter")


def internal() -> ApiError:
    """Return the error of a bug. It says nothing about the inside of the server; the log does."""
    return ApiError(500, "internal error; the server's log has the details", kind="server_error", code="internal_error")


def unavailable(message: str, code: str) -> ApiError:
    """Return the error of a server that cannot answer now."""
    return ApiError(503, message, kind="server_error", code=code, retry_after=1)


def api_error(error: BaseException, param: str | None = None) -> BaseException:
    """Return what a client is told about an error of the package; other errors are returned as they are."""
    if isinstance(error, DeadlineError):
        return ApiError(504, str(error), kind="server_error", code="request_timeout")
    if isinstance(error, ConfigError | RequestError | TokenizerError):
        return invalid(str(error), param)
    return unavailable(str(error), "device_error") if isinstance(error, BitNetError) else error


def error_body(error: ApiError, path: str) -> dict[str, Any]:
    """Return the body of an error, in the shape of the API that the path belongs to."""
    if path.startswith("/v1/messages"):
        kind = _ANTHROPIC_TYPES.get(error.status, "invalid_request_error")
        # This shape has no place for the field, so the message names it.
        names_field = error.param is None or error.param in error.message
        told = {"type": kind, "message": error.message if names_field else f"{error.param}: {error.message}"}
        if error.param == "thread":  # Anthropic's clients then send the whole conversation each time
            return {"type": "error", "error": told | {"details": {"error_code": "thread_unsupported_request"}}}
        return {"type": "error", "error": told}
    return {"error": {"message": error.message, "type": error.kind, "param": error.param, "code": error.code}}


def error_response(error: ApiError, path: str) -> JSONResponse:
    """Return the response of an error."""
    headers = {} if error.retry_after is None else {"retry-after": str(error.retry_after)}
    if error.allow:
        headers["allow"] = error.allow
    if error.status == 401:
        headers["www-authenticate"] = "Bearer"
    return JSONResponse(error_body(error, path), error.status, headers)


def from_status(status: int, detail: str, method: str, path: str, allow: str = "") -> ApiError:
    """Return the error of a request that no route takes, or whose body cannot be read."""
    if status == 404:
        message = f"there is no {method} {path}; GET /docs lists the endpoints"
        return ApiError(404, message, code="not_found")
    if status == 405:
        message = f"{path} does not take {method}; GET /docs lists the endpoints"
        return ApiError(405, message, code="method_not_allowed", allow=allow)
    phrase = http.HTTPStatus(status).phrase
    return ApiError(status, f"{phrase}: {detail}" if detail != phrase else phrase, code="invalid_request")


def from_validation(error: RequestValidationError, content_type: str) -> ApiError:
    """Return the error of a body that is not JSON, or whose fields are not what they should be."""
    problems = error.errors()
    problem = max(problems, key=lambda one: len(one["loc"]))  # of the members of a union, the one that got furthest
    location: Sequence[int | str] = problem["loc"][1:]
    kind = problem["type"]
    if kind == "json_invalid":
        return invalid(
            f"the body is not valid JSON: {problem['ctx']['error']} at character {location[0]}", code="invalid_json"
        )
    if not location and kind in ("model_attributes_type", "model_type", "dict_type", "missing"):
        if kind != "missing" and "json" not in content_type:
            message = "send the body as JSON, with the header `Content-Type: application/json`"
            return ApiError(415, message, code="unsupported_media_type")
        return invalid("the body must be a JSON object", code="invalid_json")
    param = _path(location)
    if kind == "missing":
        hint = "; GET /v1/models lists it" if param == "model" else ""
        return invalid(f"the field {param} is required{hint}", param, code="missing_required_parameter")
    if kind == "extra_forbidden":
        param = f"{_path(location[:-1])}.{location[-1]}".removeprefix(".")
        return ApiError(400, f"unknown field {param}", param=param, code="unknown_parameter")
    context = problem.get("ctx", {})
    if kind == "unsupported":
        separator = "" if context["field"].startswith("[") else "."
        param = f"{param}{separator}{context['field']}".removeprefix(".")
        return unsupported(param, context["why"])
    message = problem["msg"].removeprefix("Input ").removeprefix("Value error, ")
    name = param or "a field"
    return invalid(f"{name} {message}" if message.startswith("should") else f"{name}: {message}", param or None)


def _path(location: Sequence[int | str]) -> str:
    """Return a location as people write it: `messages[0].content`."""
    path = ""
    for step in location:
        if isinstance(step, int):
            path += f"[{step}]"
        elif step.isidentifier() and step not in ("str", "int", "float", "dict"):  # else pydantic's name of a type
            path += f".{step}" if path else step
    return path
