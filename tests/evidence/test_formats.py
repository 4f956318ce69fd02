"""Views in the formats of others, judged by what others wrote: csv, pyarrow, the OCSF schema, protobuf, prov."""

from __future__ import annotations

import asyncio
import base64
import csv
import importlib
import io
import json
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from vaults import IBAN, Vault
from worlds import one

from remit import Context
from remit.errors import BadInput
from remit.export.bundle import Request, export_view
from remit.export.withhold import withholding
from remit.store.journal import Journal

FORMULA = '=HYPERLINK("http://evil","x")'


async def _make(folder: Path) -> None:
    vault = Vault(folder)
    await vault.live([1, 9, 7])
    await vault.live([1], what=FORMULA, result="@SUM(A1)")
    act = vault.act()

    async def fails(ctx: Context) -> str:
        return await ctx.call(vault.act(body=lambda *_: 1 / 0), amount=1)

    async def waits(ctx: Context) -> str:
        return await ctx.call(act, amount=7)

    async def asks_wrongly(ctx: Context) -> str:
        return await ctx.call(act, what=[], amount=7)  # type: ignore[arg-type]

    for agent in (fails, waits, asks_wrongly):
        async with vault.runtime(one(agent, act)) as runtime:
            await runtime.run("app", principal="-2+3+cmd|' /C calc'!A0")


@pytest.fixture(scope="module")
def vault(tmp_path_factory: pytest.TempPathFactory) -> Vault:
    folder = tmp_path_factory.mktemp("formats") / "vault"
    asyncio.run(_make(folder))
    return Vault(folder)


async def view(vault: Vault, form: str, withhold: tuple[str, ...] = ()) -> bytes:
    out = vault.folder / f"view.{form}"
    out.unlink(missing_ok=True)
    async with await Journal.open(vault.url, keys=vault.keys) as journal:
        request = Request("2026-01-05T10:00:00.000000Z", "operator:tester", withhold=withholding(withhold))
        assert await export_view(journal, out, form, request) == 7
        with pytest.raises(BadInput, match="there already"):
            await export_view(journal, out, form, request)
    return out.read_bytes()


async def test_csv_has_a_row_for_each_call_and_nothing_that_a_spreadsheet_runs(vault: Vault) -> None:
    rows = list(csv.DictReader(io.StringIO((await view(vault, "csv")).decode(), newline="")))
    assert [row["tool"] for row in rows].count("act") == 7
    assert {row["outcome"] for row in rows} == {"allow", "deny", "escalate", ""}
    assert any(json.loads(row["args"]).get("what") == FORMULA for row in rows if row["args"])
    for row in rows:
        assert None not in row and None not in row.values()
        assert not any(value.startswith(("=", "+", "-", "@", "\t", "\r")) for value in row.values())


async def test_every_format_leaves_out_what_is_withheld_and_the_journal_says_that_it_was_made(vault: Vault) -> None:
    for form in ("csv", "ocsf", "otlp", "prov", "parquet"):
        assert IBAN.encode() not in await view(vault, form, ("tool:act",))
    (*_, last) = await vault.entries("store")
    assert last.body.scope == ("format:parquet", "all")  # type: ignore[attr-defined]


async def test_parquet_has_the_rows_of_the_csv(vault: Vault) -> None:
    parquet = importlib.import_module("pyarrow.parquet")
    table = parquet.read_table(io.BytesIO(await view(vault, "parquet"))).to_pylist()
    rows = list(csv.DictReader(io.StringIO((await view(vault, "csv")).decode(), newline="")))
    assert len(table) == len(rows)
    assert [row["digest"] for row in table] == [row["digest"] for row in rows]
    assert all(isinstance(row["attempts"], int) for row in table)


@pytest.fixture(scope="module")
def ocsf() -> Any:
    module = importlib.import_module("ocsf_json_schema")
    schema = module.OcsfJsonSchemaEmbedded(module.get_ocsf_schema("1.5.0"))
    found = schema.get_class_schema(class_name="api_activity", profiles=["security_control"])
    return jsonschema.Draft202012Validator(found)


async def test_every_event_is_an_api_activity_as_ocsf_has_it(vault: Vault, ocsf: Any) -> None:
    events = [json.loads(line) for line in (await view(vault, "ocsf")).splitlines()]
    assert len(events) == 11
    for event in events:
        assert [error.message for error in ocsf.iter_errors(event)] == []
        assert event["class_uid"] == 6003 and event["type_uid"] == 600300 + event["activity_id"]
    assert {event["disposition_id"] for event in events} == {0, 1, 2}
    assert list(ocsf.iter_errors({**events[0], "class_uid": 1}))  # the schema does judge


async def test_every_line_is_a_request_that_a_collector_parses(vault: Vault) -> None:
    json_format = importlib.import_module("google.protobuf.json_format")
    service = importlib.import_module("opentelemetry.proto.collector.trace.v1.trace_service_pb2")
    for line in (await view(vault, "otlp")).splitlines():
        document = json.loads(line, object_hook=_as_base64)
        found = json_format.ParseDict(document, service.ExportTraceServiceRequest())
        spans = [span for part in found.resource_spans for scope in part.scope_spans for span in scope.spans]
        ids = {span.span_id for span in spans}
        assert len(ids) == len(spans) >= 2
        assert len({span.trace_id for span in spans}) == 1
        for span in spans:
            assert len(span.trace_id) == 16 and len(span.span_id) == 8
            assert span.parent_span_id in ids or span.name.startswith("run ")
            assert span.end_time_unix_nano >= span.start_time_unix_nano > 10**18


def _as_base64(document: dict[str, Any]) -> dict[str, Any]:
    """OTLP writes ids in hex, and protobuf's JSON in base64."""
    ids = ("traceId", "spanId", "parentSpanId")
    return {
        key: base64.b64encode(bytes.fromhex(value)).decode() if key in ids else value for key, value in document.items()
    }


@pytest.fixture
def quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what prov imports
        yield


async def test_the_document_is_one_that_prov_reads_and_that_says_who_acted_for_whom(vault: Vault, quiet: None) -> None:
    model = importlib.import_module("prov.model")
    data = (await view(vault, "prov")).decode()
    found = model.ProvDocument.deserialize(content=data, format="json")
    calls = [
        record
        for record in found.get_records(model.ProvActivity)
        if "/call/" in f"/{record.identifier}".replace(":", "/")
    ]
    assert len(calls) == 11
    assert len(list(found.get_records(model.ProvDelegation))) >= 7
    assert any("reviewer" in str(record.identifier) for record in found.get_records(model.ProvAgent))
    again = model.ProvDocument.deserialize(content=found.serialize(format="json"), format="json")
    assert again == found
