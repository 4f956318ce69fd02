"""JSON Schema as a document: its drafts, its keywords that hold schemas, and references within it.

The keywords are those of drafts 4 to 2020-12 (https://json-schema.org/specification-links). A reference is followed
inside its document only: nothing is ever fetched.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final
from urllib.parse import unquote, urldefrag, urljoin

Schema = Mapping[str, Any]

MEMBERS: Final = ("properties", "patternProperties")
"""Objects of schemas, each of one member of an object."""
PARTS: Final = ("additionalProperties", "unevaluatedProperties", "additionalItems", "unevaluatedItems")
"""One schema, of a part of the value."""
TESTS: Final = ("not", "if", "contains", "propertyNames")
"""One schema that tests a value and doesn't describe it."""
SAME: Final = ("allOf", "anyOf", "oneOf")
"""Lists of schemas of the same value."""
THEN: Final = ("then", "else")
BESIDE: Final = ("dependentSchemas", "dependencies")
"""Objects of schemas of the same value."""
STORES: Final = ("$defs", "definitions")

_DRAFTS: Final = {
    "http://json-schema.org/draft-04/schema": "4",
    "http://json-schema.org/draft-06/schema": "6",
    "http://json-schema.org/draft-07/schema": "7",
    "https://json-schema.org/draft/2019-09/schema": "2019-09",
    "https://json-schema.org/draft/2020-12/schema": "2020-12",
}
DRAFTS: Final = {draft: uri for uri, draft in _DRAFTS.items()}
"""The address of each draft's metaschema, as `$schema` says it."""


def draft_of(schema: object) -> str:
    """Returns the draft that `$schema` names, 2020-12 where there is none. Raises ValueError for any other."""
    said = schema.get("$schema", DRAFTS["2020-12"]) if isinstance(schema, Mapping) else DRAFTS["2020-12"]
    draft = _DRAFTS.get(said.removesuffix("#")) if isinstance(said, str) else None
    if draft is None:
        raise ValueError(f"`$schema` is `{said}`, and it must be that of a draft: {', '.join(DRAFTS.values())}")
    return draft


def subschemas(schema: Schema) -> Iterator[tuple[tuple[str, ...], object]]:
    """Yields the schemas directly in a schema, each with the steps to it."""
    for key, value in schema.items():
        if key in PARTS or key in TESTS or key in THEN or (key == "items" and not isinstance(value, list)):
            yield (key,), value
        elif isinstance(value, Mapping) and (key in MEMBERS or key in BESIDE or key in STORES):
            for name, inner in value.items():
                if isinstance(inner, (Mapping, bool)):
                    yield (key, name), inner
        elif isinstance(value, (list, tuple)) and (key in SAME or key in ("items", "prefixItems")):
            for place, inner in enumerate(value):
                yield (key, str(place)), inner


def pointer(steps: tuple[str, ...]) -> str:
    """Returns steps as a JSON pointer (RFC 6901)."""
    return "".join(f"/{step.replace('~', '~0').replace('/', '~1')}" for step in steps)


class Document:
    """A schema with its references. Its addresses and anchors are found once."""

    def __init__(self, root: object) -> None:
        self.root = root
        self._resources: dict[str, object] = {"": root}
        self._anchors: dict[tuple[str, str], tuple[object, str]] = {}
        self._dynamic: dict[str, int] = {}
        self._bases: dict[int, str] = {}
        pending: list[tuple[object, str]] = [(root, "")]
        while pending:
            schema, base = pending.pop()
            if not isinstance(schema, Mapping) or id(schema) in self._bases:
                continue
            base = self._enter(schema, base)
            self._bases[id(schema)] = base
            pending.extend((inner, base) for _, inner in subschemas(schema))

    def _enter(self, schema: Schema, base: str) -> str:
        name = schema.get("$id", schema.get("id") if isinstance(schema.get("id"), str) else None)
        if isinstance(name, str):
            address, fragment = urldefrag(urljoin(base, name))
            if fragment and not fragment.startswith("/"):
                self._anchors[(address or base, fragment)] = (schema, base)
            if address and not name.startswith("#"):
                base = address
                self._resources.setdefault(base, schema)
        for key in ("$anchor", "$dynamicAnchor"):
            anchor = schema.get(key)
            if isinstance(anchor, str):
                self._anchors.setdefault((base, anchor), (schema, base))
                if key == "$dynamicAnchor":
                    self._dynamic[anchor] = self._dynamic.get(anchor, 0) + 1
        if schema.get("$recursiveAnchor") is True:
            self._dynamic["#"] = self._dynamic.get("#", 0) + 1
        return base

    def holds(self, schema: object) -> bool:
        """Whether this is a schema of the document, in the place of one."""
        return isinstance(schema, bool) or id(schema) in self._bases

    def target(self, schema: Schema) -> object | None:
        """Returns the schema that `$ref`, `$dynamicRef` or `$recursiveRef` stands for.

        None where there is no such reference, where it leaves the document, or where what it stands for depends on
        how it was come to (a dynamic anchor that occurs more than once).
        """
        base = self._bases.get(id(schema), "")
        said = schema.get("$ref")
        if isinstance(said, str):
            return self.follow(said, base)
        said = schema.get("$dynamicRef")
        if isinstance(said, str):
            name = urldefrag(said)[1]
            return self.follow(said, base) if self._dynamic.get(name, 0) <= 1 else None
        if schema.get("$recursiveRef") == "#":
            return self.follow("#", base) if self._dynamic.get("#", 0) <= 1 else None
        return None

    def follow(self, reference: str, base: str = "") -> object | None:
        """Returns the schema that a reference stands for; None where it is not in the document."""
        address, fragment = urldefrag(urljoin(base, reference) if reference else base)
        fragment = unquote(fragment)
        if reference.startswith("#"):
            address = base
        if fragment and not fragment.startswith("/"):
            found = self._anchors.get((address, fragment))
            return None if found is None else found[0]
        if address not in self._resources:
            return None
        here = self._resources[address]
        for step in fragment.split("/")[1:]:
            name = step.replace("~1", "/").replace("~0", "~")
            if isinstance(here, Mapping) and name in here:
                here = here[name]
            elif isinstance(here, (list, tuple)) and name.isdigit() and int(name) < len(here):
                here = here[int(name)]
            else:
                return None
        return here if isinstance(here, (Mapping, bool)) else None

    def in_place(self, schema: object) -> Iterator[Schema]:
        """Yields a schema and those it applies to the same value; not what only tests it (`not`, `if`)."""
        seen: set[int] = set()
        pending = [schema]
        while pending:
            here = pending.pop()
            if not isinstance(here, Mapping) or id(here) in seen:
                continue
            seen.add(id(here))
            yield here
            pending.append(self.target(here))
            for key in SAME:
                pending.extend(_schemas(here.get(key)))
            pending.extend(here.get(key) for key in ("if", *THEN))
            for key in BESIDE:
                if isinstance(here.get(key), Mapping):
                    pending.extend(here[key].values())


def _schemas(value: object) -> list[object]:
    return list(value) if isinstance(value, (list, tuple)) else []


def names_of(schema: Schema) -> tuple[str, ...]:
    """Returns the names of members that an object's schema names, in its parts too (`allOf`, `$ref`), in order."""
    found: dict[str, None] = {}
    for part in Document(schema).in_place(schema):
        properties = part.get("properties")
        if isinstance(properties, Mapping):
            found.update(dict.fromkeys(properties))
    return tuple(found)
