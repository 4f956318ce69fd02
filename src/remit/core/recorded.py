"""A policy set as the journal holds it: to decide again, or explain, what was decided under it."""

from __future__ import annotations

from collections.abc import Mapping

import orjson

from remit.core.canonical import plain
from remit.core.entries import CallRecord, PolicyLoaded
from remit.core.facts import root_types
from remit.core.people import People, read_people
from remit.core.policy import PolicySet, load_policies
from remit.core.tools import JsonSchema, ToolSpec
from remit.errors import Tampered, ToolError

UNFIT = (ValueError, KeyError, TypeError, AttributeError, ArithmeticError, RecursionError, ToolError)
"""What values that were never checked may raise."""


class RecordedPolicies:
    """A policy set of the journal, with the tools and facts it was checked against."""

    def __init__(self, body: PolicyLoaded, artifacts: Mapping[str, bytes]) -> None:
        """Takes the artifacts that `body` names, by digest. Raises Tampered where they are not what they must be."""
        self.single_operator = body.single_operator
        self._digest = body.digest
        try:
            types = plain(artifacts[body.types])
            self._texts: dict[str, str] = orjson.loads(artifacts[body.texts])["files"]
            self.tools = {name: ToolSpec.from_document(row["spec"]) for name, row in types.items()}
            self._facts: dict[str, dict[str, JsonSchema]] = {name: row["facts"] for name, row in types.items()}
            self._findings: dict[str, dict[str, JsonSchema]] = {
                name: row.get("findings", {}) for name, row in types.items()
            }
        except UNFIT as error:
            raise Tampered(
                f"the policy files, or the tools they were checked against, are not there: {error}"
            ) from error
        self._loaded: PolicySet | None = None
        self._people: People | None = None

    def has(self, call: CallRecord) -> bool:
        """Whether these policies were checked against exactly the tool that was called."""
        return call.tool in self.tools and self.tools[call.tool].digest == call.tool_digest

    def root_types(self, tool: ToolSpec) -> Mapping[str, JsonSchema]:
        """Returns the types of the names that conditions on a tool saw."""
        return root_types(tool, self._facts[tool.name], self._findings[tool.name])

    def people(self) -> People:
        """Returns who was in charge; no rule is compiled for that. Raises PolicyError."""
        if self._people is None:
            self._people = read_people(self._texts)
        return self._people

    def load(self) -> PolicySet:
        """Returns the set, compiled. Raises PolicyError, or Tampered where it isn't the set of that digest."""
        if self._loaded is None:
            loaded = load_policies(self._texts, tuple(self.tools.values()), self.root_types, recorded=True)
            if loaded.digest != self._digest or loaded.single_operator != self.single_operator:
                raise Tampered("the policy files are not the ones whose digest was recorded")
            self._loaded = loaded
        return self._loaded
