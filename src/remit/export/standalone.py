"""Checks the export of a Remit journal, with nothing but Python's standard library.

    python -I verify.py [--key NAME+ID+BASE64]... [--checkpoint FILE] [EXPORT]

EXPORT is the export's folder; without it, the folder that this file lies in. Whoever made an export can have changed
the verify.py in it: check with a copy of your own, which `remit audit verifier` prints.

It checks each file's SHA-256, every entry's bytes and hash chain, the Merkle tree or the proofs, the signatures
on checkpoint, manifest and activations of policy sets, every disclosed value against its commitment, and that no
tool ran without an allow verdict for exactly that call before it, under the policy set that was in force, nor an
approval counted twice, late, or for another call, nor a grant was used for another agent, tool or principal, after
its end, or too often. It does not make the decisions again, nor check the signatures on rulings: `remit audit
verify` does, and for one ruling `ssh-keygen -Y verify` (see README.txt). Exit codes: 0 it holds; 1 it doesn't; 2 the
export can't be read, or an option is wrong, which says nothing about the export.

Without --key, signatures are checked against the keys in the bundle: compare those with the ones you got elsewhere.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import os
import stat
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, BinaryIO

HERE = Path(__file__).resolve().parent
GENESIS = "0" * 64
FILES = ("entries.jsonl", "payloads.jsonl", "artifacts.jsonl", "README.txt")
WITHHELD = "withheld.jsonl"
SIGNED = ("checkpoint", "proofs.jsonl", "consistency.json", "keys.json", "allowed_signers")
OTHERS = ("index.html", "verify.py", WITHHELD, *SIGNED)
MEMBERS, FILE_BYTES, SMALL_BYTES, LINE_BYTES = 64, 8 << 30, 256 << 20, 64 << 20
"""At most so many files, bytes of a file, of one that is read at once, and of a line, are read."""

GRANTED = 100
"""At most so many grants, and uses of one, are listed."""

# --- Ed25519 verification (RFC 8032 section 5.1.7) -----------------------------------------------------

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
ROOT = pow(2, (P - 1) // 4, P)
Point = tuple[int, int, int, int]


def _add(a: Point, b: Point) -> Point:
    (x1, y1, z1, t1), (x2, y2, z2, t2) = a, b
    e, f = (y1 - x1) * (y2 - x2) % P, (y1 + x1) * (y2 + x2) % P
    c, d = 2 * D * t1 * t2 % P, 2 * z1 * z2 % P
    h, g, k, m = f - e, d - c, d + c, f + e
    return h * g % P, k * m % P, g * k % P, h * m % P


def _times(number: int, point: Point) -> Point:
    total: Point = (0, 1, 1, 0)
    while number:
        if number & 1:
            total = _add(total, point)
        point, number = _add(point, point), number >> 1
    return total


def _point(data: bytes) -> Point | None:
    y = int.from_bytes(data, "little")
    sign, y = y >> 255, y & (2**255 - 1)
    if y >= P:
        return None
    square = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * ROOT % P
    if (x * x - square) % P or (x == 0 and sign):
        return None
    if x & 1 != sign:
        x = P - x
    return x, y, 1, x * y % P


def ed25519_holds(public: bytes, text: bytes, signature: bytes) -> bool:
    """Says whether `signature` is that of `public` over `text`."""
    if len(public) != 32 or len(signature) != 64:
        return False
    key, commit = _point(public), _point(signature[:32])
    scalar = int.from_bytes(signature[32:], "little")
    base = _point((4 * pow(5, P - 2, P) % P).to_bytes(32, "little"))
    if key is None or commit is None or base is None or scalar >= L:
        return False
    challenge = int.from_bytes(hashlib.sha512(signature[:32] + public + text).digest(), "little") % L
    left, right = _times(scalar, base), _add(commit, _times(challenge, key))
    return not (left[0] * right[2] - right[0] * left[2]) % P and not (left[1] * right[2] - right[1] * left[2]) % P


# --- the Merkle tree (RFC 6962 section 2.1, checks of RFC 9162 section 2.1) -----------------------------


def _node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


class Tree:
    """The right edge of a tree that entries are added to one by one."""

    def __init__(self) -> None:
        self.size = 0
        self._edge: list[bytes] = []

    def add(self, leaf: bytes) -> None:
        number = self.size
        while number & 1:
            leaf, number = _node(self._edge.pop(), leaf), number >> 1
        self._edge.append(leaf)
        self.size += 1

    def root(self) -> bytes:
        if not self._edge:
            return hashlib.sha256(b"").digest()
        root = self._edge[-1]
        for left in reversed(self._edge[:-1]):
            root = _node(left, root)
        return root


def is_included(leaf: bytes, index: int, size: int, root: bytes, proof: list[bytes]) -> bool:
    node, last = index, size - 1
    if not 0 <= index < size:
        return False
    for hash in proof:
        if last == 0:
            return False
        if node & 1 or node == last:
            leaf = _node(hash, leaf)
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            leaf = _node(leaf, hash)
        node, last = node >> 1, last >> 1
    return last == 0 and leaf == root


def is_consistent(old: int, new: int, old_root: bytes, new_root: bytes, proof: list[bytes]) -> bool:
    if not 0 < old <= new:
        return False
    if old == new:
        return not proof and old_root == new_root
    path = [old_root, *proof] if not old & (old - 1) else proof
    if not path:
        return False
    node, last = old - 1, new - 1
    while node & 1:
        node, last = node >> 1, last >> 1
    before = after = path[0]
    for hash in path[1:]:
        if last == 0:
            return False
        if node & 1 or node == last:
            before, after = _node(hash, before), _node(hash, after)
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            after = _node(after, hash)
        node, last = node >> 1, last >> 1
    return last == 0 and before == old_root and after == new_root


# --- signed notes (C2SP signed-note, tlog-checkpoint) ---------------------------------------------------


def open_note(note: str, keys: list[str]) -> str:
    """Returns the text of a note that one of `keys` signed. Raises ValueError."""
    text, gap, tail = note.rpartition("\n\n")
    text += "\n"
    if not gap or not tail.endswith("\n"):
        raise ValueError("not a signed note: no text, blank line and signatures")
    known = {}
    for key in keys:
        name, id, data = key.strip().split("+", 2)
        known[name, bytes.fromhex(id)] = base64.b64decode(data, validate=True)[1:]
    signed = False
    for line in tail.removesuffix("\n").split("\n"):
        name, _, data = line.removeprefix("\u2014 ").rpartition(" ")
        signature = base64.b64decode(data, validate=True)
        if not line.startswith("\u2014 ") or not name or base64.b64encode(signature).decode() != data:
            raise ValueError("not a signed note: a line after the text is no signature")
        public = known.get((name, signature[:4]))
        if public is None:
            continue
        if not ed25519_holds(public, text.encode(), signature[4:]):
            raise ValueError(f"the signature of key {name} is not over this text")
        signed = True
    if not signed:
        raise ValueError("no key that is known here signed it")
    return text


def read_checkpoint(text: str) -> tuple[str, int, bytes]:
    origin, size, root = text.split("\n")[:3]
    return origin, int(size), base64.b64decode(root, validate=True)


# --- the journal ---------------------------------------------------------------------------------------


def canonical(value: object) -> bytes:
    """RFC 8785 for what entries hold: no floats, keys in ASCII."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


NAMES = (
    "input",
    "endorsed",
    "source",
    "output",
    "result",
    "error",
    "shown",
    "reason",
    "findings",
    "original",
    "comment",
    "answer",
    "amount",
    "secret",
)


SHOWN = ("/args/", "/edited/", "/result")
"""Values that are looked into: what obligations ask for must be seen in them."""


def commitments(kind: str, body: dict[str, Any]) -> dict[str, str]:
    """What an entry commits to, by the path of the payload."""
    found: dict[str, Any] = {}
    if kind == "call.decided":
        found = {f"/args/{name}": said for name, said in body["call"]["args"].items()}
    if kind in ("call.decided", "call.decided_again"):
        found |= {
            "/facts": body["facts"],
            "/reasons": body["verdict"].get("reasons"),
            "/findings": body.get("findings"),
            "/asked": body.get("asked"),
        } | edited_of(body)
    elif kind == "call.rejected":
        found = {"/args": body["args"], "/error": body["error"]}
    else:
        found = {f"/{n}": body.get(n) for n in NAMES} | edited_of(body)
        if "verdict" in body:
            found |= {"/facts": body["facts"], "/reasons": body["verdict"].get("reasons")}
    if kind == "review.ruled" and "grant" in body:
        found["/grant"] = body["grant"]["condition"]
    return {path: said for path, said in found.items() if said is not None}


def edited_of(body: dict[str, Any]) -> dict[str, str]:
    edited = body.get("edited", {})
    return {f"/edited/{name}": said for name, said in edited.items()}


def is_open(value: Any, steps: list[str], one: dict[str, Any]) -> bool:
    """Whether something that had to be covered or capped is not; what isn't there is."""
    if steps:
        items = value.items() if isinstance(value, dict) else enumerate(value if isinstance(value, list) else [])
        return any(is_open(item, steps[1:], one) for key, item in items if steps[0] in ("*", str(key)))
    if one["kind"] == "cap":
        return Decimal(str(value)) > Decimal(one["to"])
    if value is None or value == "[redacted]" or one["kind"] not in ("mask", "redact"):
        return False
    return (
        not isinstance(value, str)
        or any(letter.isalnum() for letter in value)
        or (one["kind"] == "redact" and value != "[********]")
    )


def still_open(root: str, value: Any, obliged: list[dict[str, Any]]) -> bool:
    """Whether arguments (`/args`) or a result (`/result`) are not what obligations ask for."""
    covers = [one.get("at", "") for one in obliged if one["kind"] in ("mask", "redact")]
    for one in obliged:
        at = one.get("at", "")
        if (at + "/").startswith(root + "/") and not (one["kind"] == "cap" and at in covers):
            steps = [step.replace("~1", "/").replace("~0", "~") for step in at[len(root) :].split("/")[1:]]
            if is_open(value, steps, one):
                return True
    return False


def seats_filled(terms: dict[str, Any], people: list[set[str]]) -> bool:
    """Whether people, given by their groups, make a quorum; each takes one seat."""
    seats = [group for group, count in sorted(terms.get("groups", {}).items()) for _ in range(count)]
    if not seats:
        return bool(len(people) >= terms.get("approvals", 1))
    takes: dict[int, int] = {}

    def seat(index: int, tried: set[int]) -> bool:
        for person, groups in enumerate(people):
            if seats[index] in groups and person not in tried:
                tried.add(person)
                if person not in takes or seat(takes[person], tried):
                    takes[person] = index
                    return True
        return False

    return all(seat(index, set()) for index in range(len(seats)))


def is_permitted(grant: dict[str, Any], review: dict[str, Any], at: str, body: dict[str, Any]) -> bool:
    """Whether a ruling may grant this: as its queue permits, beside an approval of the call as it was asked for."""
    limits = review["terms"].get("grant")
    if not limits or not body["approved"] or "proposes" in body or review["version"] != review["digest"]:
        return False
    latest = datetime.fromisoformat(at.removesuffix("Z")) + timedelta(seconds=limits["seconds"])
    ends = datetime.fromisoformat(grant["until"].removesuffix("Z"))
    same = all(grant[name] == review[name] for name in ("agent", "tool", "principal"))
    in_time = at < grant["until"] and ends <= latest
    return same and in_time and 1 <= grant["uses"] <= limits["uses"] and not review.get("in_doubt")


def call_digest(run: str, principal: str, call: dict[str, Any]) -> str:
    said = {name: call[name] for name in ("agent", "args", "id", "task", "tool", "tool_digest", "version")}
    return hashlib.sha256(canonical({**said, "run": run, "principal": principal})).hexdigest()


def idempotency_key(digest: str) -> str:
    return hashlib.sha256(b"remit idempotency key v1\x00" + digest.encode()).hexdigest()[:40]


def proposal_digest(body: dict[str, Any]) -> str:
    """What the reviewers of an activation approve."""
    names = ("by", "digest", "expires", "previous", "revision", "texts", "types")
    said = {name: body.get(name, "") for name in names}
    return hashlib.sha256(canonical({**said, "statement": "remit policy proposal v1"})).hexdigest()


def sums_of(digest: str) -> dict[str, str] | None:
    """SHA-256 of each file of the policy set in artifacts.jsonl; None where it isn't there."""
    for _, line in lines("artifacts.jsonl"):
        row = json.loads(line)
        data = row["data"].encode() if row["digest"] == digest else b""
        if data and hashlib.sha256(data).hexdigest() == digest:
            files = json.loads(data)["files"]
            return {name: hashlib.sha256(text.encode()).hexdigest() for name, text in files.items()}
    return None


STATEMENTS = {"review.ruled": "remit ruling v1", "grant.revoked": "remit revocation v1"}
STATUS = {"allow": "intended", "escalate": "waiting", "deny": "refused"}
STEPS = {
    **{("waiting", outcome): status for outcome, status in STATUS.items()},
    ("waiting", "refused"): "refused", ("waiting", "answered"): "settled", ("intended", "settled"): "settled",
    ("intended", "in_doubt"): "in_doubt",
    ("intended", "again"): "intended", ("in_doubt", "again"): "intended", ("in_doubt", "in_doubt"): "in_doubt",
    ("in_doubt", "settled"): "settled", ("approved", "expired"): "expired",
    ("approved", "withdrawn"): "withdrawn", ("approved", "consumed"): "consumed",
    **{(was, event): after for was in ("open", "claimed") for event, after in {
        "claimed": "claimed", "commented": was, "voted": "open", "handed on": "open", "approved": "approved",
        "denied": "denied", "expired": "expired", "withdrawn": "withdrawn",
    }.items()},
    ("claimed", "released"): "open",
}  # fmt: skip
KINDS = {
    "run.started", "run.owned", "run.finished", "task.started", "task.expanded", "task.finished", "task.skipped",
    "call.decided", "call.rejected", "call.decided_again", "call.refused", "call.settled", "call.in_doubt",
    "call.intended_again", "call.recorded", "review.opened", "review.ruled", "review.expired", "review.consumed",
    "review.withdrawn", "review.claimed", "review.released", "review.commented", "review.handed_on", "call.answered",
    "run.vouched", "flow.vouched", "policy.loaded", "policy.activated", "policy.kept",
    "policy.revoked", "policy.restored",
    "store.exported", "store.erased", "store.key_added", "store.key_retired",
    "grant.made", "grant.used", "grant.revoked",
    "store.counting_begun", "store.adopted", "counter.counted",
}  # fmt: skip


REVOKING = {
    "policy.revoked": "remit revocation of a reviewer v1", "policy.restored": "remit restoration of a reviewer v1",
}  # fmt: skip


def in_place(kind: str, entry: dict[str, Any]) -> str:
    """What the signature of an entry of the stream `policy` is over."""
    said = {name: value for name, value in entry["body"].items() if name != "signature"}
    return f"{kind}\n{canonical({**said, 'prev': entry['prev'], 'seq': entry['seq']}).decode()}\n"


def key_in(signature: str) -> str:
    """The public key in an armored SSH signature, as a `.pub` file says it; "" where it can't be read."""
    try:
        blob = base64.b64decode("".join(signature.split("\n")[1:-2]))[10:]
        key = blob[4 : 4 + int.from_bytes(blob[:4], "big")]
        kind = key[4 : 4 + int.from_bytes(key[:4], "big")].decode("ascii")
    except ValueError:
        return ""
    return f"{kind} {base64.b64encode(key).decode()}"


class Journal:
    """The entries so far, and what is wrong with them."""

    def __init__(self) -> None:
        self.problems: list[str] = []
        self.heads: dict[str, tuple[int, str]] = {}
        self.tree = Tree()
        self.runs: dict[str, dict[str, Any]] = {}
        self.calls: dict[str, dict[str, dict[str, Any]]] = {}
        self.reviews: dict[str, dict[str, Any]] = {}
        self.reviews_of: dict[str, list[str]] = {}
        self.over: set[str] = set()
        self.used: dict[str, str] = {}
        self.grants: dict[str, dict[str, Any]] = {}
        self.granted: dict[str, tuple[str, dict[str, Any]]] = {}
        self.counters: dict[str, tuple[str, int, dict[str, set[str]]]] = {}
        self.whole = True
        self.vouched: dict[str, dict[str, Any]] = {}
        self.effects = 0
        self.values: dict[str, Any] = {}
        self.absent: set[tuple[str, int, str]] = set()
        self.erasures: list[str] = []
        self.erased = 0
        self.held = -1
        self.before = b""
        self.keys: dict[str, str] = {}
        self.revision = 0
        self.in_force: dict[str, Any] = {}
        self.last: dict[str, Any] = {}
        self.kept: set[tuple[str, str]] = set()
        self.ends: dict[str, str] = {}
        self.revoked: set[str] = set()

    def bad(self, place: str, what: str) -> None:
        if len(self.problems) < 1_000:
            self.problems.append(f"{place}: {what}")

    def entry(self, number: int, line: bytes, payloads: Payloads) -> None:
        place = f"entries.jsonl:{number}"
        self.tree.add(hashlib.sha256(b"\x00" + line).digest())
        if self.tree.size == self.held:
            self.before = self.tree.root()
        try:
            entry = json.loads(line)
            stream, seq, kind, body = entry["stream"], entry["seq"], entry["kind"], entry["body"]
            if entry["v"] != 1 or kind not in KINDS:
                raise ValueError(f"version {entry['v']}, kind {kind}: of a newer Remit than this verifier")
            place += f": {stream}#{seq} {kind}"
            if canonical(entry) != line:
                self.bad(place, "these are not the canonical bytes of an entry")
            last, hash = self.heads.get(stream, (-1, GENESIS))
            if seq != last + 1 or entry["prev"] != hash:
                self.bad(place, f"it does not follow #{last} of its stream")
            self.heads[stream] = (seq, hashlib.sha256(b"\x00" + line).hexdigest())
            given = payloads.of(stream, seq)
            self.values = {path: json.loads(value) for path, (_, value) in given.items() if path.startswith(SHOWN)}
            for path, said in commitments(kind, body).items():
                found = given.pop(path, None)
                if found is None:
                    self.absent.add((stream, seq, path))
                if found and hashlib.sha256(b"remit payload v1\x00" + found[0] + found[1]).hexdigest() != said:
                    self.bad(place, f"{path}: the value is not what the entry committed to")
            for path in given:
                self.bad(place, f"{path}: a value that no entry commits to")
            if stream in self.over:
                self.bad(place, "it comes after the end of its run")
            if kind == "store.erased":
                self.erase(entry["at"], body)
            if stream in ("policy", "store"):
                self.policy(place, entry)
            self.meaning(place, stream, kind, entry["at"], body)
            self.forget(stream, kind, body)
        except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
            self.bad(place, f"not an entry: {type(error).__name__}: {error}")

    def erase(self, at: str, body: dict[str, Any]) -> None:
        """Takes note that values were erased: they needn't be here."""
        self.erasures.append(f"{at} by {body['by']}: {len(body['places'])} values of {body['stream']}")
        for seq, path in body["places"]:
            if (body["stream"], seq, path) in self.absent:
                self.absent.remove((body["stream"], seq, path))
                self.erased += 1

    def meaning(self, place: str, stream: str, kind: str, at: str, body: dict[str, Any]) -> None:
        """Follows the calls: no effect without its verdict, no approval but for its call, in time and once."""
        if kind == "run.started":
            self.runs[stream], self.calls[stream] = {**body, "worker": ""}, {}
            if body.get("pinned") and self.in_force and body["policies"] != self.in_force["digest"]:
                self.bad(place, "it is pinned to a policy set that was not in force")
        elif kind == "run.owned":
            self.runs[stream]["worker"] = body["worker"]
        elif kind == "review.opened":
            self.reviews[stream] = {
                **body, "ruled": None, "consumed": False, "ended": False, "status": "open", "votes": [],
                "terms": body.get("terms") or {}, "version": body["digest"], "proposal": {}, "released": [],
            }  # fmt: skip
            self.reviews_of.setdefault(f"run/{body['run']}", []).append(stream)
        elif kind == "review.ruled":
            self.ruled(place, stream, at, body)
        elif kind == "flow.vouched":
            self.vouched[self.heads[stream][1]] = body
            self.is_in_charge(place, body.get("by", ""), body)
            if not body.get("signature") and not body.get("single_operator"):
                self.bad(place, "it is neither signed nor made in single-operator mode")
        elif kind == "run.vouched":
            word = self.vouched.get(body["hash"], {})
            same = all(word.get(name) == body.get(name) for name in ("by", "source", "label"))
            if word.get("run") != self.runs[stream]["run"] or not same:
                self.bad(place, "nobody has vouched for that before it")
        elif kind in ("review.claimed", "review.released", "review.commented"):
            self.step(place, self.reviews[stream], kind.removeprefix("review."))
        elif kind == "review.handed_on":
            review = self.reviews[stream]
            allowed = review["terms"].get("hand_on_to", []) if "reviewer" in body else [review["terms"].get("next")]
            if body["to"] not in allowed or ("reviewer" in body) == (at >= review["expires"]):
                self.bad(place, "its queue does not hand it on so, or not now")
            self.step(place, review, "handed on")
            review |= {"expires": body["expires"], "terms": body["terms"], "votes": [], "version": review["digest"]}
            review["proposal"] = {}
        elif kind in ("review.consumed", "review.expired", "review.withdrawn"):
            self.step(place, self.reviews[stream], kind.removeprefix("review."))
            self.reviews[stream]["ended"] = True
            self.reviews[stream]["consumed"] = kind == "review.consumed"
        elif kind.startswith("grant."):
            self.grant(place, stream, kind, at, body)
        elif kind == "counter.counted":
            self.count(place, stream, body)
        elif kind == "call.decided":
            self.under(place, self.runs[stream], at, body["verdict"]["policies"])
            self.decided(place, stream, body)
            for id in body.get("grants", []):
                self.covered(place, at, stream, body, id)
        elif kind in ("call.decided_again", "call.intended_again"):
            call = self.calls[stream][body["id"]]
            if kind == "call.decided_again" or body["because"] == "ruled":
                self.approved(place, at, call, body, used=bool(body.get("key")))
            if "verdict" in body:
                self.under(place, self.runs[stream], at, body["verdict"]["policies"])
            if kind == "call.intended_again" and body.get("verdict", {"outcome": "allow"})["outcome"] != "allow":
                self.bad(place, "it was run again, and the policies did not allow that")
            if kind == "call.decided_again":
                self.edited(place, stream, call, body)
                call |= {"outcome": body["verdict"]["outcome"], "key": body.get("key", "")}
                call["obliged"] = call["obliged"] + body["verdict"].get("obliged", [])
                call["reviews"] = body.get("reviews", [])
            self.step(place, call, body["verdict"]["outcome"] if kind == "call.decided_again" else "again")
        elif kind == "call.answered":
            call = self.calls[stream][body["id"]]
            self.approved(place, at, call, body, used=True)
            said = [self.reviews[f"review/{r['review']}"]["proposal"].get("answer") for r in body["rulings"]]
            if body["result"] not in said:
                self.bad(place, "it is not the answer that a reviewer gave")
            self.step(place, call, "answered")
        elif kind in ("call.in_doubt", "call.refused"):
            call = self.calls[stream][body["id"]]
            self.step(place, call, kind.removeprefix("call."))
            call |= {"reviews": [body["review"]]} if kind == "call.in_doubt" else {"outcome": "deny"}
        elif kind == "call.settled":
            if "verdict" in body:
                self.under(place, self.runs[stream], at, body["verdict"]["policies"])
            self.settled(place, stream, body)

    def count(self, place: str, stream: str, body: dict[str, Any]) -> None:
        """Follows a counter: a count comes right after the one before it, of a call that was just decided, once."""
        name, number, runs = self.counters.setdefault(stream, (body["counter"], 0, {}))
        if (body["counter"], body["number"]) != (name, number + 1):
            self.bad(place, f"count {body['number']} of {body['counter']} comes after {number} of {name}")
        self.counters[stream] = name, body["number"], runs
        run, waits = f"run/{body['run']}", bool(body.get("reviews"))
        call = self.calls.get(run, {}).get(body["call"])
        if call is None:
            if self.whole or run in self.heads:
                self.bad(place, "there is no such call before it")
            return
        if call["status"] != ("waiting" if waits else "intended"):
            self.bad(place, "it counts a call that was not allowed, or that does not wait")
        if not waits and body["call"] in runs.setdefault(run, set()):
            self.bad(place, "it counts this call a second time")
        elif not waits:
            runs[run].add(body["call"])

    def policy(self, place: str, entry: dict[str, Any]) -> None:
        """Follows which policy set is in force: the newest activation that is signed, or what was loaded last."""
        kind, body = entry["kind"], entry["body"]
        if kind == "store.key_added":
            self.keys[body["key"]] = place
        elif kind == "store.key_retired":
            self.keys.pop(body["key"], None)
        elif kind == "policy.kept" and body["digest"] == self.in_force.get("digest"):
            self.kept.add((body["worker"], body["kept"]))
        elif kind in REVOKING:
            text = in_place(REVOKING[kind], entry)
            try:
                open_note(f"{text}\n{body.get('signature', '')}\n", list(self.keys))
            except ValueError as error:
                return self.bad(place, f"its signature does not hold: {error}")
            who = body.get("key") or body["reviewer"].casefold()
            (self.revoked.add if kind == "policy.revoked" else self.revoked.discard)(who)
        elif kind in ("policy.loaded", "policy.activated"):
            texts = hashlib.sha256(canonical(body["files"])).hexdigest()
            if texts != body["digest"]:
                self.bad(place, "its digest is not that of its files")
            if kind == "policy.activated":
                return self.activated(place, entry, body)
            if self.in_force and body["digest"] != self.in_force["digest"]:
                return self.bad(place, "another policy set is activated than the one that was loaded")
            self.last = body
        return None

    def activated(self, place: str, entry: dict[str, Any], body: dict[str, Any]) -> None:
        """Checks signature, revision, files and approval of an activation; one that fails puts nothing in force."""
        before = len(self.problems)
        note = f"{in_place('remit policy activation v1', entry)}\n{body.get('signature', '')}\n"
        try:
            open_note(note, list(self.keys))
        except ValueError as error:
            self.bad(place, f"its signature does not hold: {error}")
        revision = body.get("revision", 0)
        if revision <= self.revision:
            self.bad(place, f"it is revision {revision}, and revision {self.revision} was activated before it")
        self.revision = max(revision, self.revision)
        if sums_of(body["texts"]) != body["files"]:
            self.bad(place, "the files in artifacts.jsonl are not those that it lists")
        queue, id = self.last.get("activation", ""), body.get("review", "")
        review = self.reviews.get(f"review/{id}")
        if queue and not id:
            self.bad(place, f"the set in force says that queue {queue} must approve it, and nobody has")
        elif id and (not review or not review["ruled"] or review["status"] != "approved" or id in self.used):
            self.bad(place, f"there is no unused approval in review {id}")
        elif (
            id
            and review
            and not (
                review.get("activation")
                and review["digest"] == review["version"] == proposal_digest(body)
                and entry["at"] < review["expires"]
                and review["principal"] == body.get("by")
                and queue in ("", review["queue"])
            )
        ):
            self.bad(place, f"the approval in review {id} is for another set or queue, or had expired")
        if id:
            self.used[id] = place
        if len(self.problems) == before:
            self.in_force = self.last = body
            self.kept = set()
            self.ends[body["digest"]] = body.get("expires", "")

    def under(self, place: str, run: dict[str, Any], at: str, policies: str) -> None:
        """Checks that a decision was made under the set in force, or under the one that its run is pinned to."""
        if run.get("pinned"):
            held = policies == run["policies"]
        else:
            held = not self.in_force or policies == self.in_force["digest"] or (run["worker"], policies) in self.kept
        if not held:
            self.bad(place, "it was decided under another policy set than was in force for it")
        if self.ends.get(policies) and at >= self.ends[policies]:
            self.bad(place, "it was decided under a policy set that had expired")

    def ruled(self, place: str, stream: str, at: str, body: dict[str, Any]) -> None:
        """Counts a vote: one for each person, for the call as it stands. Signatures are not checked here."""
        review = self.reviews[stream]
        terms, version = review["terms"], body.get("proposes") or body["digest"]
        if body["digest"] != review["version"] or at >= review["expires"] or review["ruled"]:
            self.bad(place, "a ruling for another call, after the deadline, or after it was settled")
        if not body.get("signature") and not body.get("single_operator"):
            self.bad(place, "a ruling that is neither signed nor made in single-operator mode")
        self.is_in_charge(place, body["reviewer"], body)
        self.is_in_charge(place, body.get("on_behalf", ""), {})
        proposed = {"edited", "answer"} & set(body)
        if bool(proposed) != ("proposes" in body) or not set(body.get("edited", {})) <= set(terms.get("edit", [])):
            self.bad(place, "it changes what its queue does not permit to be changed")
        names = {name.casefold() for name in (body["reviewer"], body.get("on_behalf") or body["reviewer"])}
        for vote in review["votes"]:
            same = vote["version"] == version or not (vote["approved"] or body["approved"])
            if same and names & vote["names"]:
                self.bad(place, "somebody rules twice")
        vote = {"version": version, "names": names, "approved": body["approved"], "groups": body.get("groups", [])}
        vote["grant"] = body.get("grant")
        if vote["grant"] and not is_permitted(vote["grant"], review, at, body):
            self.bad(place, "it grants what its queue does not permit, or what its review is not about")
        review["votes"].append({**vote, "by": body["reviewer"].casefold(), "who": body["reviewer"]})
        if proposed:
            review |= {"version": version, "proposal": body}
        last = {vote["by"]: vote for vote in review["votes"]}.values()
        approving = [set(v["groups"]) for v in last if v["approved"] and v["version"] == review["version"]]
        if sum(not v["approved"] for v in last) >= terms.get("denials", 1):
            event = "denied"
        else:
            event = "approved" if seats_filled(terms, approving) else "voted"
        self.step(place, review, event)
        counted = [v["grant"] for v in last if v["approved"] and v["version"] == review["version"]]
        review["granted"] = counted[0] if event == "approved" and all(g == counted[0] for g in counted) else None
        if event != "voted":
            review["ruled"] = {**body, "hash": self.heads[stream][1]}
        review["ended"] = event == "denied"

    def is_in_charge(self, place: str, name: str, body: dict[str, Any]) -> None:
        """Whom, or whose key, was revoked before it has no word; without a signature nobody's name is in question."""
        if body.get("single_operator") or not self.revoked:
            return
        if name.casefold() in self.revoked or key_in(body.get("signature", "")) in self.revoked:
            self.bad(place, f"{name}, or the key that signed, was revoked before it")

    def grant(self, place: str, stream: str, kind: str, at: str, body: dict[str, Any]) -> None:
        """Follows a grant: made in its review, used once a number and a call, and not after its end."""
        if kind == "grant.made":
            review = self.reviews[f"review/{body['grant']}"]
            ruled = review["ruled"] or {}
            said = (body["terms"], body["queue"], body["disclosed"], body["ruling"], stream)
            if body["terms"] is None or said != (
                review.get("granted"), review["queue"], ruled.get("disclosed", []), ruled.get("hash"),
                f"grant/{review['review']}",
            ):  # fmt: skip
                self.bad(place, "it is not what everybody whose approval counts has granted in its review")
            yes = [vote for vote in review["votes"] if vote["approved"] and vote["version"] == review["version"]]
            by = sorted({vote["who"] for vote in yes})
            over = stream in self.grants
            self.grants[stream] = {**body, "used": 0, "over": over, "by": by, "calls": [], "end": ""}
            return
        grant = self.grants[stream]
        if grant["over"]:
            self.bad(place, "the grant was over before")
        if kind == "grant.revoked":
            grant["over"], grant["end"] = True, f", revoked by {body['reviewer']} at {at}"
            if not body.get("signature") and not body.get("single_operator"):
                self.bad(place, "a revocation that is neither signed nor made in single-operator mode")
            return
        grant["used"] += 1
        if len(grant["calls"]) < GRANTED:
            grant["calls"].append(f"{at}: call {body['call']} of run {body['run']}")
        grant["over"] = grant["used"] >= grant["terms"]["uses"]
        expected = self.granted.pop(stream, None)
        missing = self.whole or f"run/{body['run']}" in self.heads
        if at >= grant["terms"]["until"] or body["number"] != grant["used"]:
            self.bad(place, "a use after the end, or out of turn")
        if expected[1] != body if expected else missing:
            self.bad(place, "it is not the use of the call before it")

    def covered(self, place: str, at: str, stream: str, body: dict[str, Any], id: str) -> None:
        """Checks that a grant is for this call. Its condition is CEL, which is not evaluated here."""
        call, run, grant = body["call"], self.runs[stream], self.grants.get(f"grant/{id}")
        if grant is None:
            self.bad(place, f"there is no grant {id} before it")
            return
        terms, same = grant["terms"], ("agent", "version", "tool", "tool_digest")
        if any(call[name] != terms[name] for name in same) or run["principal"] != terms["principal"]:
            self.bad(place, f"grant {id} is for another agent, tool or principal")
        if grant["over"] or at >= terms["until"] or not body.get("key") or f"grant/{id}" in self.granted:
            self.bad(place, f"grant {id} was over, or is used twice for one call, or for none that was intended")
        asking = [*body["verdict"].get("rules", []), *body["verdict"].get("broken", [])]
        asking = [h for h in asking if h["effect"] == "escalate"]
        shown = [set(self.grants[f"grant/{g}"]["disclosed"]) for g in body["grants"] if f"grant/{g}" in self.grants]
        if not {h["digest"] for h in asking} <= set().union(*shown):
            self.bad(place, "a rule escalates it that those who granted it were not shown")
        use = {"grant": id, "number": grant["used"] + 1, "run": run["run"], "call": call["id"]}
        self.granted[f"grant/{id}"] = place, {**use, "digest": body.get("digest") or call["digest"]}

    def edited(self, place: str, stream: str, call: dict[str, Any], body: dict[str, Any]) -> None:
        """Takes over what a reviewer changed, where that is what was approved."""
        if "edited" not in body:
            return
        run, record = self.runs[stream], call["record"]
        record = {**record, "args": {**record["args"], **body["edited"]}}
        said = [self.reviews[f"review/{r['review']}"]["version"] for r in body["rulings"]]
        if call_digest(run["run"], run["principal"], record) != body["digest"] or body["digest"] not in said:
            self.bad(place, "the call as edited is not the one that the reviewers approved")
        call |= {"record": record, "digest": body["digest"]}

    def forget(self, stream: str, kind: str, body: dict[str, Any]) -> None:
        """Drops what nothing can refer to any more: a run that is over, and its reviews when they are, too."""
        run = stream
        if kind == "run.finished":
            del self.runs[run], self.calls[run]
            for _, _, runs in self.counters.values():
                runs.pop(run, None)
            self.over.add(run)
        elif stream in self.reviews:
            run = f"run/{self.reviews[stream]['run']}"
        if run not in self.over:
            return
        for name in self.reviews_of.pop(run, []):
            if self.reviews[name]["ended"]:
                self.used_up(name, self.reviews.pop(name))
                self.over.add(name)
            else:
                self.reviews_of.setdefault(run, []).append(name)

    def used_up(self, stream: str, review: dict[str, Any]) -> None:
        if not self.whole and f"run/{review['run']}" not in self.heads:
            return  # a grant brings its review along, and not that review's run
        if review["consumed"] != (self.used.pop(review["review"], None) is not None):
            self.bad(stream, "an approval is used exactly where a call is intended, and here it is not")

    def step(self, place: str, thing: dict[str, Any], event: str) -> None:
        """Takes a call or review to its next status, where there is a way to it."""
        after = STEPS.get((thing["status"], event))
        if after is None:
            self.bad(place, f"what is {thing['status']} can't be {event}")
        thing["status"] = after or thing["status"]

    def decided(self, place: str, stream: str, body: dict[str, Any]) -> None:
        call, run = body["call"], self.runs[stream]
        if call_digest(run["run"], run["principal"], call) != call["digest"]:
            self.bad(place, "the call's digest is not the digest of what it says")
        obliged, edited = body["verdict"].get("obliged", []), body.get("edited", {})
        if edited:  # obligations changed it: it is run with these arguments
            call = {**call, "args": {**call["args"], **edited}, "digest": body["digest"]}
            if call_digest(run["run"], run["principal"], call) != call["digest"]:
                self.bad(place, "the digest of the call that obligations changed is not the digest of what it says")
        paths = {name: f"/edited/{name}" if name in edited else f"/args/{name}" for name in call["args"]}
        args = {name: self.values[path] for name, path in paths.items() if path in self.values}
        if body["verdict"]["outcome"] != "deny" and still_open("/args", args, obliged):
            self.bad(place, "what was run is not what the verdict obliges the call to be")
        if call["id"] in self.calls[stream]:
            self.bad(place, "this call was decided before")
        outcome, key = body["verdict"]["outcome"], body.get("key", "")
        if bool(key) != (outcome == "allow"):
            self.bad(place, f"the verdict is {outcome}, but it was {'intended' if key else 'not intended'}")
        self.calls[stream][call["id"]] = {
            "digest": call["digest"], "outcome": outcome, "key": key, "reviews": body.get("reviews", []),
            "status": STATUS.get(outcome, outcome), "record": call, "obliged": obliged,
        }  # fmt: skip

    def approved(self, place: str, at: str, call: dict[str, Any], body: dict[str, Any], *, used: bool) -> None:
        rulings = {ruling["review"]: ruling["hash"] for ruling in body.get("rulings", [])}
        if set(rulings) != set(call["reviews"]) or not rulings:
            self.bad(place, "it does not rest on a ruling in each of the call's reviews")
        for id, hash in rulings.items():
            review = self.reviews.get(f"review/{id}")
            ruled = review and review["ruled"]
            if not review or not ruled or ruled["hash"] != hash or not ruled["approved"]:
                self.bad(place, f"review {id} holds no such approval before it")
            elif call["digest"] not in (review["digest"], review["version"]) or at >= review["expires"]:
                self.bad(place, f"the approval in review {id} is for another call, or had expired")
            if used and id in self.used:
                self.bad(place, f"the approval in review {id} was used before, at {self.used[id]}")
            if used:
                self.used[id] = place

    def settled(self, place: str, stream: str, body: dict[str, Any]) -> None:
        call = self.calls[stream][body["id"]]
        if "verdict" in body and (body["verdict"]["outcome"] != "deny" or body["ok"]):
            self.bad(place, "it says that it was not run again, and its verdict or its result says otherwise")
        given_up = (call["status"] == "in_doubt" or "verdict" in body) and not body["ok"]
        self.step(place, call, "settled")
        if given_up:
            return
        self.effects += 1
        if call["outcome"] != "allow" or call["key"] != idempotency_key(call["digest"]):
            self.bad(place, "an effect without an allow verdict for exactly this call before it")
        labels = {one["to"] for one in call["obliged"] if one["kind"] == "label"}
        if body["ok"] and not labels <= set(body.get("labels", [])):
            self.bad(place, "its result does not have the labels that the verdict obliges it to have")
        if still_open("/result", self.values.get("/result"), call["obliged"]):
            self.bad(place, "its result shows what the verdict obliges to cover")


class Payloads:
    """The values, read beside the entries: they stand in the same order."""

    def __init__(self) -> None:
        self.count = 0
        self._rows = self._read()
        self._next = next(self._rows, None)

    def of(self, stream: str, seq: int) -> dict[str, tuple[bytes, bytes]]:
        """Returns salt and value of each value of an entry, by path."""
        found: dict[str, tuple[bytes, bytes]] = {}
        while self._next is not None and self._next[1:3] == (stream, seq):
            number, _, _, path, *value = self._next
            if path in found:
                raise ValueError(f"payloads.jsonl:{number}: a second value for {path}")
            found[path] = (value[0], value[1])
            self._next = next(self._rows, None)
        return found

    def left(self) -> Iterator[tuple[int, str]]:
        """Yields line and name of those that no entry has taken."""
        while self._next is not None:
            number, stream, seq, path = self._next[:4]
            yield number, f"{stream}#{seq} {path}"
            self._next = next(self._rows, None)

    def _read(self) -> Iterator[tuple[int, str, int, str, bytes, bytes]]:
        for number, line in lines("payloads.jsonl"):
            row = json.loads(line)
            self.count += 1
            yield number, row["stream"], row["seq"], row["path"], bytes.fromhex(row["salt"]), row["value"].encode()


def opened(name: str) -> BinaryIO:
    """Opens a regular file of the export; a link, FIFO or device raises OSError."""
    number = os.open(HERE / name, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
    found = os.fstat(number)
    if not stat.S_ISREG(found.st_mode) or found.st_size > FILE_BYTES:
        os.close(number)
        raise OSError(f"{name} is not a regular file of at most {FILE_BYTES} bytes")
    return os.fdopen(number, "rb")


def whole(name: str) -> bytes:
    """Returns the bytes of a file that is read at once."""
    with opened(name) as file:
        data = file.read(SMALL_BYTES + 1)
    if len(data) > SMALL_BYTES:
        raise OSError(f"{name} has more than the {SMALL_BYTES} bytes that are read of it")
    return data


def lines(name: str) -> Iterator[tuple[int, bytes]]:
    with opened(name) as file:
        number = 0
        while line := file.readline(LINE_BYTES + 1):
            number += 1
            if len(line) > LINE_BYTES:
                raise OSError(f"{name}:{number} has more than the {LINE_BYTES} bytes that a line may have")
            yield number, line[:-1] if line.endswith(b"\n") else line + b" (cut)"


Held = tuple[int, bytes]
"""Size and root of the checkpoint that the auditor holds."""


def check_tree(
    journal: Journal, manifest: dict[str, Any], keys: list[str], held: Held | None, demanded: bool
) -> list[str]:
    """Checks checkpoint, proofs and consistency; returns what could not be checked."""
    if not (HERE / "checkpoint").exists() or not (HERE / "manifest.note").exists():
        if demanded or held:
            raise ValueError("the export is not signed")
        return ["the export is not signed: the journal had no key"]
    _, size, root = read_checkpoint(open_note(whole("checkpoint").decode(), keys))
    if size != manifest["size"]:
        journal.bad("checkpoint", f"it is of {size} entries, and the export of {manifest['size']}")
    if manifest["scope"] == ["all"]:
        if journal.tree.size != size or journal.tree.root() != root:
            journal.bad("checkpoint", "the entries are not those that were signed")
    elif not (HERE / "proofs.jsonl").exists():
        journal.bad("proofs.jsonl", "it is missing, and the scope is of single runs: a file or the scope was changed")
    else:
        proved = set()
        for number, line in lines("proofs.jsonl"):
            row = json.loads(line)
            seq, hash = journal.heads.get(row["stream"], (-1, GENESIS))
            proof = [base64.b64decode(text) for text in row["proof"]]
            if seq != row["seq"] or not is_included(bytes.fromhex(hash), row["index"], size, root, proof):
                journal.bad(f"proofs.jsonl:{number}", f"{row['stream']} is not in the tree that was signed")
            proved.add(row["stream"])
        for stream in sorted(set(journal.heads) - proved):
            journal.bad(stream, "there is no proof that it is in the tree")
    if held is not None:
        begins(journal, held, size, root)
    return []


def begins(journal: Journal, held: Held, size: int, root: bytes) -> None:
    """Checks that the journal begins with the entries of the checkpoint that the auditor holds."""
    old, old_root = held
    if old > size:
        missing = f"{old - size} entries are missing"
        what = f"the export ends at {size} entries, and the checkpoint you gave covers {old}: {missing}"
        return journal.bad("checkpoint", what)
    if journal.whole:
        holds = journal.before == old_root
    elif old == size:
        holds = old_root == root
    elif not (HERE / "consistency.json").exists():
        what = "no consistency proof: ask for an export with --from-checkpoint, the one you hold"
        return journal.bad("consistency.json", what)
    else:
        proof = [base64.b64decode(text) for text in json.loads(whole("consistency.json"))["proof"]]
        holds = is_consistent(old, size, old_root, root, proof)
    if not holds:
        journal.bad("checkpoint", f"the journal does not begin with the {old} entries of the checkpoint you hold")
    return None


def withheld_places(journal: Journal, manifest: dict[str, Any]) -> set[tuple[str, int, str]] | None:
    """Returns the places listed as withheld; None where an export of an earlier version only counts them."""
    if WITHHELD not in manifest["files"]:
        return None if manifest.get("withheld") else set()
    found: set[tuple[str, int, str]] = set()
    for number, line in lines(WITHHELD):
        row = json.loads(line)
        for path in row["paths"]:
            if (row["stream"], row["seq"], path) in found:
                journal.bad(f"{WITHHELD}:{number}", f"{row['stream']}#{row['seq']} {path}: listed a second time")
            found.add((row["stream"], row["seq"], path))
    if manifest.get("withheld") != len(found):
        what = f"it says that {manifest.get('withheld')} values were withheld, and {WITHHELD} lists {len(found)}"
        journal.bad("manifest.json", what)
    return found


def check_counts(journal: Journal, manifest: dict[str, Any], payloads: int) -> None:
    """Compares what the manifest counts with what is there. What is gone was erased, or withheld as it says."""
    listed = withheld_places(journal, manifest)
    if listed is not None:
        for stream, seq, path in sorted(journal.absent - listed):
            journal.bad(
                f"{stream}#{seq} {path}", f"the value is missing: not erased by an entry, not listed in {WITHHELD}"
            )
        for stream, seq, path in sorted(listed - journal.absent):
            journal.bad(f"{stream}#{seq} {path}", f"{WITHHELD} lists it, and it is there, was erased, or never was")
    elif manifest.get("withheld") != len(journal.absent):
        gone = f"{len(journal.absent)} values are missing that no entry erased"
        journal.bad("payloads.jsonl", f"{gone}, and the manifest says that {manifest.get('withheld')} were withheld")
        for stream, seq, path in sorted(journal.absent)[:20]:
            journal.bad(f"{stream}#{seq} {path}", "the value is missing, or one of those that were withheld")
    count = journal.tree.size
    for name, found in (("entries", count), ("payloads", payloads)):
        if manifest.get(name) != found:
            journal.bad("manifest.json", f"it says {manifest.get(name)} {name}, and there are {found}")
    if manifest["size"] < count or (journal.whole and manifest["size"] != count):
        journal.bad("manifest.json", f"it says the journal has {manifest['size']} entries, and {count} are here")
    runs = {stream.removeprefix("run/") for stream in journal.heads if stream.startswith("run/")}
    if not journal.whole and set(manifest["scope"]) != runs:
        odd = ", ".join(sorted(set(manifest["scope"]) ^ runs)[:5])
        journal.bad("manifest.json", f"its scope was changed: it is not the runs that are here: {odd}")


class Misused(Exception):
    """An option is wrong, which says nothing about the export."""


def held_of(note: str, keys: list[str]) -> Held | None:
    """Reads the checkpoint that the auditor holds. Raises Misused."""
    if not note:
        return None
    try:
        return read_checkpoint(open_note(note, keys))[1:]
    except ValueError as error:
        raise Misused(
            f"the checkpoint you gave can't be used: {error}: name a checkpoint file, and with --key the key that "
            f"signed it"
        ) from error


def key_of(text: str) -> str:
    """Reads the value of --key. Raises Misused."""
    try:
        if text.strip().count("+") < 2 or text.strip().startswith("PRIVATE+KEY+"):
            raise Misused("--key takes a public key, written NAME+ID+BASE64")
        name, id, data = text.strip().split("+", 2)
        raw = base64.b64decode(data, validate=True)
        if not name or len(raw) != 33 or hashlib.sha256(name.encode() + b"\n" + raw).digest()[:4].hex() != id:
            raise ValueError("its parts don't fit each other: it was mistyped or cut")
    except ValueError as error:
        raise Misused(f"--key `{text}`: not a public key, written NAME+ID+BASE64: {error}") from error
    return text


def check(keys: list[str], held: str) -> tuple[Journal, list[str]]:
    """Returns the journal with its problems, and what could not be checked."""
    journal, notes, given = Journal(), [], bool(keys)
    there = [path.name for path, _ in zip(sorted(HERE.iterdir()), range(MEMBERS + 1), strict=False)]
    if len(there) > MEMBERS:
        raise ValueError(f"more than {MEMBERS} files, which no export has")
    manifest = json.loads(whole("manifest.json"))
    if manifest["format"] != "remit export" or manifest["version"] != 1:
        raise ValueError("it is not an export of version 1")
    for name in dict.fromkeys((*FILES, *manifest["files"])):
        if name not in (*FILES, *OTHERS):
            journal.bad("manifest.json", f"it names {name!r}, which is no file of an export")
        elif not (HERE / name).is_file() or _sha256(name) != manifest["files"].get(name):
            journal.bad(name, "it is not the file that the manifest describes")
    for name in there:
        if name not in (*manifest["files"], "manifest.json", "manifest.note"):
            notes.append(f"{name} is no part of the export")
    if not keys:
        keys = json.loads(whole("keys.json"))
        notes.append(f"signatures are checked against the bundle's own keys: {' '.join(keys) or 'none'}")
    holding = held_of(held, keys)
    journal.whole, journal.held = manifest["scope"] == ["all"], holding[0] if holding else -1
    payloads = Payloads()
    for number, line in lines("entries.jsonl"):
        journal.entry(number, line, payloads)
    check_counts(journal, manifest, payloads.count)
    for number, name in payloads.left():
        journal.bad(f"payloads.jsonl:{number}", f"{name}: a value that no entry commits to, or one out of its place")
    ends = {stream: {"entries": seq + 1, "head": hash} for stream, (seq, hash) in journal.heads.items()}
    if ends != manifest["streams"]:
        journal.bad("manifest.json", "the streams do not end where it says: entries were cut or added")
    for stream, review in journal.reviews.items():
        journal.used_up(stream, review)
    for place, use in journal.granted.values():
        journal.bad(place, f"grant {use['grant']} has no entry of this use")
    try:
        if (HERE / "manifest.note").exists():
            text = open_note(whole("manifest.note").decode(), keys)
            if text.split("\n")[1:3] != ["remit export manifest v1", _sha256("manifest.json")]:
                journal.bad("manifest.note", "the manifest is not the one that was signed")
        notes += check_tree(journal, manifest, keys, holding, given or bool(manifest.get("signed")))
    except ValueError as error:
        journal.bad("signatures", str(error))
    return journal, notes


def _sha256(name: str) -> str:
    hashed = hashlib.sha256()
    with opened(name) as file:
        while block := file.read(1 << 20):
            hashed.update(block)
    return hashed.hexdigest()


def write_rulings(folder: Path) -> int:
    """Writes what each ruling's signature is over, and the signature; returns how many there are."""
    folder.mkdir(parents=True, exist_ok=True)
    count = 0
    for _, line in lines("entries.jsonl"):
        entry = json.loads(line)
        statement = STATEMENTS.get(entry["kind"])
        if statement is None or not entry["body"].get("signature"):
            continue
        name = f"{entry['stream'].removeprefix('review/').replace('grant/', 'grant-')}-{entry['seq']}.json"
        if not name.replace("-", "").replace(".json", "").isalnum():
            raise ValueError(f"{name}: not the name of a review")
        said = {key: value for key, value in entry["body"].items() if key != "signature"}
        (folder / name).write_bytes(canonical({**said, "statement": statement}))
        (folder / f"{name}.sig").write_text(entry["body"]["signature"], "utf-8")
        count += 1
    return count


def granted_lines(journal: Journal) -> Iterator[str]:
    """Yields who granted what until when, and each use of it, up to `GRANTED` grants and as many uses of one."""
    for grant in list(journal.grants.values())[:GRANTED]:
        terms, by = grant["terms"], ", ".join(grant["by"])
        what = f"{terms['tool']} by agent {terms['agent']} for {terms['principal']}"
        used = f"used {grant['used']} of {terms['uses']} times"
        yield printable(f"grant {grant['grant']}, of {by}: {what}, until {terms['until']}, {used}{grant['end']}")
        for use in grant["calls"]:
            yield printable(f"used: grant {grant['grant']} at {use}")
        if grant["used"] > GRANTED:
            yield f"used: grant {grant['grant']} {grant['used'] - GRANTED} more times"
    if len(journal.grants) > GRANTED:
        yield f"and {len(journal.grants) - GRANTED} more grants"


def printable(text: str) -> str:
    """Makes visible what would move the cursor or hide the text: others wrote it."""
    return "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in text)


def held_text(name: str) -> str:
    """Returns the text of the file with the checkpoint that the auditor holds. Raises Misused."""
    try:
        return Path(name).read_text("utf-8") or "(empty)"
    except (OSError, ValueError) as error:
        raise Misused(f"--checkpoint `{name}`: it can't be read: {error}") from error


def main() -> int:
    """Prints what was found and returns the exit code."""
    global HERE
    parser = argparse.ArgumentParser(description="Checks an export of a Remit journal.", allow_abbrev=False)
    parser.add_argument("export", nargs="?", help="the export's folder; else the one that this file lies in")
    parser.add_argument("--key", action="append", default=[], help="a public key that you got elsewhere; repeatable")
    parser.add_argument("--checkpoint", help="a file with a checkpoint you hold: the journal must begin with it")
    parser.add_argument("--rulings", metavar="DIR", help="write each signed ruling and its signature there, and check")
    said = parser.parse_args()
    HERE = HERE if said.export is None else Path(said.export)
    try:
        held = held_text(said.checkpoint) if said.checkpoint is not None else ""
        journal, notes = check([key_of(key) for key in said.key], held)
        if said.rulings is not None:
            notes.append(f"{write_rulings(Path(said.rulings))} signed rulings are in {said.rulings}")
    except Misused as error:
        sys.stderr.write(f"{error}\n")
        return 2
    except (OSError, KeyError, ValueError, TypeError, AttributeError, RecursionError) as error:
        sys.stderr.write(f"this export can't be read: {type(error).__name__}: {error}\n")
        return 2
    out = sys.stdout.write
    out(f"{journal.tree.size} entries in {len(journal.heads)} streams, {journal.effects} effects\n")
    absent = f"{len(journal.absent)} values are withheld, {journal.erased} were erased"
    if journal.absent or journal.erasures:
        out(f"{absent}, in {len(journal.erasures)} erasures\n")
    for erasure in journal.erasures:
        out(f"erased: {erasure}\n")
    if journal.grants:
        out(f"{len(journal.grants)} grants\n")
    for line in granted_lines(journal):
        out(f"{line}\n")
    for note in notes:
        out(f"note: {note}\n")
    for problem in journal.problems[:20]:
        out(f"problem: {problem}\n")
    out("it holds\n" if not journal.problems else f"IT DOES NOT HOLD: {len(journal.problems)} problems\n")
    return 1 if journal.problems else 0


if __name__ == "__main__":
    sys.exit(main())
