"""The page at /docs: every endpoint with its fields, from the OpenAPI schema. It loads nothing from elsewhere."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

_STYLE = """
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif }
body { max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
table { border-collapse: collapse; width: 100% }
td, th { text-align: left; vertical-align: top; padding: .2rem .6rem .2rem 0; border-bottom: 1px solid #8884 }
code { font-family: ui-monospace, monospace }
"""


def endpoint_page(schema: Mapping[str, Any]) -> str:
    """Return the page for an OpenAPI schema."""
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width">',
            f"<title>{escape(schema['info']['title'])}</title><style>{_STYLE}</style></head><body>",
            f"<h1>{escape(schema['info']['title'])}</h1>",
            '<p>The same as data: <a href="/openapi.json">/openapi.json</a></p>',
            *_endpoints(schema),
            "</body></html>",
        ]
    )


def _endpoints(schema: Mapping[str, Any]) -> Iterator[str]:
    for path, methods in schema["paths"].items():
        for method, operation in methods.items():
            yield f"<h2><code>{method.upper()} {escape(path)}</code></h2>"
            yield f"<p>{escape(operation.get('description', ''))}</p>"
            content = operation.get("requestBody", {}).get("content", {}).get("application/json")
            if content:
                body = _resolve(schema, content["schema"])
                yield "<table><tr><th>field</th><th>type</th><th>default</th></tr>"
                for name, field in body.get("properties", {}).items():
                    default = "required" if name in body.get("required", ()) else json.dumps(field.get("default"))
                    kind = escape(_type(field))
                    yield f"<tr><td><code>{escape(name)}</code></td><td>{kind}</td><td>{escape(default)}</td></tr>"
                yield "</table>"


def _resolve(schema: Mapping[str, Any], part: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the part of the schema that a reference names, or the part itself."""
    if "$ref" not in part:
        return part
    found: Mapping[str, Any] = schema["components"]["schemas"][part["$ref"].rpartition("/")[2]]
    return found


def _type(field: Mapping[str, Any]) -> str:
    """Return the type of a field in a few words."""
    if "$ref" in field:
        return str(field["$ref"].rpartition("/")[2])
    if "anyOf" in field:
        return " or ".join(_type(one) for one in field["anyOf"] if one.get("type") != "null")
    if "const" in field:
        return json.dumps(field["const"])
    if "enum" in field:
        return " or ".join(json.dumps(one) for one in field["enum"])
    if field.get("type") == "array":
        return f"list of {_type(field.get('items', {}))}"
    limits = [f"{sign} {field[key]}" for key, sign in _SIGNS.items() if key in field]
    return " ".join([str(field.get("type", "any")), *limits])


_SIGNS = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
