"""/docs: the OpenAPI document as one page. No script: it works offline, and nothing foreign runs beside a key.

(FastAPI's own pages load theirs from a CDN.) What is documented stands in `documentation`.
"""

import json
from collections.abc import Iterator
from html import escape
from shlex import quote
from typing import Any

Document = dict[str, Any]
STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60em; margin: 2em auto; padding: 0 1em; color: #222 }
h2 { margin-top: 2.5em; border-top: 1px solid #ccc; padding-top: 1em } code, pre { font-size: 13px }
pre { background: #f4f4f4; padding: .8em; overflow-x: auto } table { border-collapse: collapse }
td, th { text-align: left; vertical-align: top; padding: .2em 1em .2em 0; border-bottom: 1px solid #eee }
"""


def page(document: Document, url: str) -> str:
    """One HTML page; `url` is where the server was asked, for the examples."""
    info = document["info"]
    operations = [(p, m, about) for p, methods in document["paths"].items() for m, about in methods.items()]
    body = "".join(_operation(document, path, method, about, url) for path, method, about in operations)
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(info["title"])}</title>'
        f"<style>{STYLE}</style><h1>{escape(info['title'])}</h1><p>{escape(info.get('description', ''))}</p>"
        f"<p>The same for machines: <a href='/openapi.json'>/openapi.json</a></p>{body}</html>"
    )


def _operation(document: Document, path: str, method: str, about: Document, url: str) -> str:
    parts = [f"<h2><code>{method.upper()} {escape(path)}</code></h2><p>{escape(about.get('summary', ''))}</p>"]
    parts.append(f"<p>{_keys(about)}</p>")
    for kind, content in about.get("requestBody", {}).get("content", {}).items():
        schema = _resolved(document, content["schema"])
        parts.append(_example(path, kind, schema, url))
        parts.append(_fields(schema))
    if about.get("parameters"):
        parts.append(_rows((p["name"], p["required"], p["schema"]) for p in about["parameters"]))
    parts.append(_answers(about["responses"]))
    return "".join(parts)


def _keys(about: Document) -> str:
    if not about.get("security"):
        return "Open: needs no API key."
    scope = escape(next(iter(about["security"][-1].values()))[0])
    now = " There are no keys now, so it answers this machine." if {} in about["security"] else ""
    return f"Needs an API key with the scope <code>{scope}</code>.{now}"


def _example(path: str, kind: str, schema: Document, url: str) -> str:
    headers = f'-H "Authorization: Bearer $LOOP_SERVING_KEY" -H "content-type: {kind}"'
    body = f"-d {quote(json.dumps(schema['example']))}" if "example" in schema else "--data-binary @image.png"
    return f"<pre>{escape(f'curl {url}{path} {headers} {body}')}</pre>"


def _fields(schema: Document) -> str:
    required = schema.get("required", [])
    return _rows((name, name in required, about) for name, about in schema.get("properties", {}).items())


def _rows(fields: Iterator[tuple[str, bool, Document]]) -> str:
    rows = "".join(
        f"<tr><td><code>{escape(name)}</code></td><td>{'required' if required else ''}</td>"
        f"<td>{escape(_type(about))}</td><td>{escape(about.get('description', ''))}</td></tr>"
        for name, required, about in fields
    )
    return f"<table>{rows}</table>" if rows else ""


def _type(about: Document) -> str:
    """Such as `number, 0 to 24`."""
    kinds = about.get("anyOf", [about])
    kind = next((each for each in kinds if each.get("type") != "null"), about)
    text = str(kind.get("format") or kind.get("type") or "list")
    low, high = kind.get("minimum"), kind.get("maximum")
    return text if low is None or high is None or high >= 1e12 else f"{text}, {low:g} to {high:g}"


def _answers(responses: Document) -> str:
    rows = "".join(
        f"<tr><td>{escape(code)}</td><td>{escape(about.get('description', ''))}</td></tr>"
        for code, about in sorted(responses.items())
    )
    return f"<h3>Answers</h3><table>{rows}</table>"


def _resolved(document: Document, schema: Document) -> Document:
    name = schema.get("$ref", "").rpartition("/")[2]
    found: Document = document["components"]["schemas"][name] if name else schema
    return found
