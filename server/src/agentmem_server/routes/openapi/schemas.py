"""The schemas of the OpenAPI document: those of all models, and of the feed's messages."""

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias, get_args

from agentmem_client import models as m
from agentmem_client.endpoints import ENDPOINTS
from agentmem_client.errors import BY_CODE
from pydantic.json_schema import GenerateJsonSchema, models_json_schema
from pydantic_core import core_schema

from .words import FIELDS

Refs: TypeAlias = Mapping[tuple[Any, Literal["validation", "serialization"]], dict[str, Any]]

_NEVER_NULL = ("content", "archived", "embedding", "embeddings")
"""Of the fields of an update: null would clear them, and they can't be empty."""
_CRITERIA = ("ids", "filters", "user_id", "agent_id", "session_id", "namespace", "everything")


def _as_json(schema: dict[str, Any]) -> dict[str, Any]:
    """A text that is JSON of a schema."""
    return {"type": "string", "contentMediaType": "application/json", "contentSchema": schema}


_MESSAGE: dict[str, Any] = {
    "title": "EventMessage",
    "description": "One message of the stream; its schema is of each one, not of all together.",
    "type": "object",
    "properties": {
        "id": {
            "type": "string",
            "pattern": "^[0-9]+$",
            "description": "Where to go on after this message: what `Last-Event-ID` takes.",
        },
        "event": {"type": "string", "description": "What the message is about."},
        "data": {"type": "string", "description": "What it says, as JSON."},
    },
    "required": ["event", "data"],
    "oneOf": [
        {
            "description": "A change.",
            "properties": {
                "event": {"enum": list(get_args(m.Action))},
                "data": _as_json({"$ref": "#/components/schemas/Event"}),
            },
            "required": ["id"],
        },
        {
            "description": "There were events that are no longer known; all from here on are told.",
            "properties": {
                "event": {"const": "reset"},
                "data": _as_json(
                    {
                        "type": "object",
                        "properties": {
                            "oldest": {
                                "type": "integer",
                                "description": "All events from this id on are kept.",
                            }
                        },
                        "required": ["oldest"],
                    }
                ),
            },
            "required": ["id"],
        },
        {
            "description": "The last message: why the stream ends.",
            "properties": {
                "event": {"const": "end"},
                "data": _as_json(
                    {
                        "type": "object",
                        "properties": {"error": {"$ref": "#/components/schemas/ErrorBody"}},
                        "required": ["error"],
                    }
                ),
            },
        },
    ],
}


def model_schemas() -> tuple[dict[str, Any], Refs]:
    """The schemas by name, and the reference to each model as it is asked and as it is answered."""
    asked = {model for row in ENDPOINTS for model in (row.body, row.query) if model}
    answered = {row.answer for row in ENDPOINTS} | {m.ErrorAnswer}
    refs, top = models_json_schema(
        [
            *((model, "validation") for model in sorted(asked, key=lambda one: one.__name__)),
            *((model, "serialization") for model in sorted(answered, key=lambda one: one.__name__)),
        ],
        ref_template="#/components/schemas/{model}",
        schema_generator=_Schemas,
    )
    schemas: dict[str, Any] = top["$defs"]
    schemas["ErrorBody"]["properties"]["code"]["enum"] = sorted(BY_CODE)
    schemas["EventMessage"] = _MESSAGE
    _say_what_goes_together(schemas)
    for schema in schemas.values():
        for name, field in schema.get("properties", {}).items():
            if name in FIELDS:
                field.setdefault("description", FIELDS[name])
            if field.get("default", ...) is None:
                del field[
                    "default"
                ]  # left out is not null: an update would clear what it leaves out
    return schemas, refs


def _say_what_goes_together(schemas: dict[str, Any]) -> None:
    """Add what the models' validators ask of several fields, as far as a schema can say it."""
    schemas["SearchRequest"]["anyOf"] = [{"required": ["query"]}, {"required": ["embedding"]}]
    for name in ("Criteria", "DeleteRequest", "ArchiveRequest"):
        schemas[name]["anyOf"] = [{"required": [criterion]} for criterion in _CRITERIA]
    hit = schemas["Hit"]
    hit["required"].remove("explanation")
    hit["properties"]["explanation"] = without_null(hit["properties"]["explanation"])
    update = schemas["MemoryUpdate"]
    update["minProperties"] = 1
    for name in _NEVER_NULL:
        update["properties"][name] = without_null(update["properties"][name])


def without_null(field: dict[str, Any]) -> dict[str, Any]:
    """The schema of a field that can be left out, but not be null."""
    schema = {name: value for name, value in field.items() if name != "anyOf"}
    kinds = [kind for kind in field.get("anyOf", ()) if kind != {"type": "null"}]
    return schema | (kinds[0] if len(kinds) == 1 else {"anyOf": kinds} if kinds else {})


class _Schemas(GenerateJsonSchema):
    """What is answered has all of its fields; and a field's name needs no title beside it."""

    def field_is_required(
        self,
        field: core_schema.ModelField | core_schema.DataclassField | core_schema.TypedDictField,
        total: bool,
    ) -> bool:
        return self.mode == "serialization" or super().field_is_required(field, total)

    def field_title_should_be_set(self, _schema: Any) -> bool:
        return False
