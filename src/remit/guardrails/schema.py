"""Whether values fit a JSON Schema: for results of tools whose own schema says little."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jsonschema
import jsonschema_rs
import msgspec

from remit.core.detectors import Detector, Finding, Places, Report
from remit.errors import BadInput

_MOST = 100


class SchemaFacts(msgspec.Struct, frozen=True):
    """How the values stand to the schema."""

    valid: bool = True
    errors: int = 0
    """At most 100 are counted."""
    missing: tuple[str, ...] = ()
    """Required fields that are not there."""
    unexpected: bool = False
    """Fields that the schema doesn't allow."""


def schema(document: Mapping[str, Any], name: str = "schema") -> Detector[SchemaFacts]:
    """Returns a detector of values that don't fit a JSON Schema (draft 2020-12 unless `$schema` says otherwise).

    Raises:
        BadInput: `document` is no JSON Schema, or refers to something outside of itself.
    """
    try:
        jsonschema.validators.validator_for(document, jsonschema.Draft202012Validator).check_schema(dict(document))
        validator = jsonschema_rs.validator_for(dict(document), validate_formats=True, retriever=_refuse)
    except (jsonschema.SchemaError, ValueError) as error:
        raise BadInput(f"not a JSON Schema: {error}") from error

    def look(places: Places) -> Report[SchemaFacts]:
        findings: list[Finding] = []
        missing: set[str] = set()
        unexpected = False
        for pointer, value in places:
            for error in validator.iter_errors(value):
                if len(findings) == _MOST:
                    break
                below = "".join(f"/{part}" for part in error.instance_path)
                kind = str(error.schema_path[-1]) if error.schema_path else "schema"
                findings.append(Finding(kind if kind.isidentifier() else "schema", pointer + below))
                if kind == "required":
                    missing.add(str(getattr(error.kind, "property", "")).strip('"'))
                unexpected = unexpected or kind in ("additionalProperties", "unevaluatedProperties")
        facts = SchemaFacts(not findings, len(findings), tuple(sorted(missing - {""})), unexpected)
        return Report(facts, tuple(findings))

    return Detector(name, SchemaFacts, look)


def _refuse(uri: str) -> Any:
    raise ValueError(f"`{uri}` is outside of the schema")
