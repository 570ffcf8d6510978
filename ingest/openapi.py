"""The receiver's contract as an OpenAPI document, made from the tables of `contract`."""

from __future__ import annotations

from typing import Any, Final

from ingest.contract import (
    CONTRACT,
    ID_CHARACTERS_MAX,
    OTHER_TYPE,
    TYPE_BY_NAME,
    TYPE_KEYS,
    EventType,
    Field,
)
from ingest.settings import WEBHOOK_PATH, Settings

EXAMPLES: Final[dict[str, dict[str, Any]]] = {
    "user_registered": {
        "event": "user_registered",
        "data": {
            "email": "ada@example.com",
            "registration_timestamp": "2024-04-01T09:00:00Z",
            "source": "landing_page",
        },
    },
    "workspace_created": {
        "event": "workspace_created",
        "data": {
            "workspace_id": "abc123",
            "owner_id": "user456",
            "owner_email": "ada@example.com",
            "workspace_name": "My Workspace",
        },
    },
    "workspace_deleted": {
        "event": "workspace_deleted",
        "data": {
            "workspace_id": "abc123",
            "owner_email": "ada@example.com",
            "deletion_time": "2024-04-27T10:00:00Z",
        },
    },
    "plan_changed": {
        "event": "plan_changed",
        "data": {
            "plan_id": "business",
            "owner_email": "ada@example.com",
            "auto_renew": True,
            "start_date": "2024-04-01",
            "end_date": "2024-05-01",
        },
    },
    "plan_renewed": {
        "event": "plan_renewed",
        "data": {
            "renewal_date": "2024-05-01",
            "plan_id": "business",
            "owner_email": "ada@example.com",
        },
    },
    "overdue_payment": {
        "event": "overdue_payment",
        "data": {
            "payment_id": "pay789",
            "amount": 49.99,
            "due_date": "2024-04-20",
            "owner_email": "ada@example.com",
        },
    },
}
"""One body for each event, as the sender's lesson shows them (user_registered has no sample)."""

_TYPES: Final[dict[str, dict[str, Any]]] = {
    "account": {"type": ["string", "number"]},
    "text": {"type": ["string", "number"]},
    "plan": {"type": ["string", "number", "object"]},
    "boolean": {"type": ["boolean", "string", "integer"]},
    "amount": {"type": ["number", "string"], "description": "at most two decimals"},
    "date": {"type": ["string", "number"], "description": "YYYY-MM-DD, or an instant"},
}
_INSTANT: Final[dict[str, Any]] = {
    "type": ["string", "number", "null"],
    "description": "RFC 3339 (naive is UTC), or Unix time in seconds or milliseconds",
}
_PROBLEM: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["field", "code", "message"],
    "properties": {
        "field": {"type": "string"},
        "code": {"enum": ["missing", "unreadable", "invalid_json", "too_deep"]},
        "message": {"type": "string"},
    },
}
_REASON: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["status", "reason"],
    "properties": {"status": {"type": "string"}, "reason": {"type": "string"}},
}


def openapi_document(settings: Settings) -> dict[str, Any]:
    """OpenAPI 3.1, importable by Postman; holds no secret."""
    delivery = {
        "summary": "Deliver one event",
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": {"$ref": "#/components/schemas/Event"},
                    "examples": {name: {"value": body} for name, body in EXAMPLES.items()},
                }
            },
        },
        "responses": _responses(),
    }
    token = {"name": "token", "in": "path", "required": True, "schema": {"type": "string"}}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "hooklake receiver",
            "version": "1",
            "description": "Takes a chat platform's partner webhooks. Accepted schemes: "
            f"{', '.join(settings.verify)}; one satisfied scheme suffices.",
        },
        "servers": [{"url": settings.webhook_url.removesuffix(WEBHOOK_PATH)}],
        "paths": {
            WEBHOOK_PATH: {"post": {**delivery, "operationId": "deliver"}},
            f"{WEBHOOK_PATH}/{{token}}": {
                "post": {**delivery, "operationId": "deliverWithToken", "parameters": [token]}
            },
            "/healthz": _get("Whether the process lives", "alive"),
            "/readyz": _get(
                "Whether a delivery can be stored durably now", "ready", unready="not now, and why"
            ),
            "/metrics": _get("Prometheus metrics", "text"),
            "/openapi.json": _get("This document", "JSON"),
        },
        "components": {"schemas": {"Event": event_schema()}},
    }


def event_schema() -> dict[str, Any]:
    """JSON Schema 2020-12 of a body: valid is what becomes an event without a warning.

    Two things it cannot say: an event's name may be in any case, and blank text counts as absent.
    """
    return {
        "description": "Fields under `data` or flat; the type under event, event_type or type. "
        "Unknown fields are kept, unknown types accepted.",
        "type": "object",
        "anyOf": [*(_schema_of(kind) for kind in CONTRACT), _schema_of(OTHER_TYPE)],
    }


def _get(summary: str, answer: str, *, unready: str | None = None) -> dict[str, Any]:
    responses = {"200": {"description": answer}}
    if unready is not None:
        responses["503"] = {"description": unready}
    return {"get": {"summary": summary, "responses": responses}}


def _schema_of(kind: EventType) -> dict[str, Any]:
    fields = {
        name: {**_TYPES[wanted.kind], "type": _or_null(wanted), "title": wanted.column}
        for wanted in kind.fields
        for name in wanted.names
    }
    fields |= dict.fromkeys(("occurred_at", *kind.instants), _INSTANT)
    identity = {"type": ["string", "number", "null"], "maxLength": ID_CHARACTERS_MAX}
    return {
        "title": kind.name,
        "properties": {
            **fields,
            "event_id": identity,
            "data": {"type": "object", "properties": {**fields, "event_id": identity}},
        },
        "allOf": [_type_of(kind), *(_given(field) for field in kind.fields if field.is_required)],
    }


def _or_null(wanted: Field) -> list[str]:
    """Null counts as absent."""
    found = _TYPES[wanted.kind]["type"]
    return [*([found] if isinstance(found, str) else found), "null"]


def _type_of(kind: EventType) -> dict[str, Any]:
    """The type's name, or one of its aliases, under any of the keys that may hold it."""
    name: dict[str, Any] = {"enum": [kind.name, *kind.aliases]}
    if kind is OTHER_TYPE:
        name = {"type": "string", "minLength": 1, "not": {"enum": list(TYPE_BY_NAME)}}
    return {"anyOf": [{"required": [key], "properties": {key: name}} for key in TYPE_KEYS]}


def _given(wanted: Field) -> dict[str, Any]:
    """A required field, under any of its names, in either place."""
    given = [
        {"required": [name], "properties": {name: _TYPES[wanted.kind]}} for name in wanted.names
    ]
    return {"anyOf": [{"required": ["data"], "properties": {"data": {"anyOf": given}}}, *given]}


def _responses() -> dict[str, Any]:
    stored = {
        "type": "object",
        "required": ["status", "event_id", "event_type", "seq"],
        "properties": {
            "status": {"enum": ["accepted", "duplicate"]},
            "event_id": {"type": "string"},
            "event_type": {"type": "string"},
            "seq": {"type": "integer"},
            "id_reused": {"type": "boolean"},
            "warnings": {"type": "array", "items": _PROBLEM},
        },
    }
    erased = {
        "type": "object",
        "required": ["status", "seq"],
        "properties": {"status": {"const": "erased"}, "seq": {"type": "integer"}},
    }
    quarantined = {
        "type": "object",
        "required": ["status", "seq", "errors"],
        "properties": {
            "status": {"const": "quarantined"},
            "seq": {"type": "integer"},
            "errors": {"type": "array", "items": _PROBLEM},
        },
    }
    texts = {
        "400": "the body's length is ambiguous, or the bytes are no HTTP request",
        "401": "not verified; the reason says why each scheme failed",
        "408": "header or body came too slowly",
        "413": "the body is too large",
        "415": "a Content-Encoding other than identity",
        "431": "more than 64 header fields or 16 KiB of them",
        "503": "cannot be stored durably now; send it again after Retry-After",
    }
    return {
        "200": _answer(
            "stored durably, or known already; `erased`: about a forgotten person, counted alone",
            {"anyOf": [stored, erased]},
        ),
        "202": _answer("authentic but malformed: kept byte for byte in quarantine", quarantined),
        **{status: _answer(text, _REASON) for status, text in texts.items()},
    }


def _answer(description: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": schema}}}
