"""Signed notes, checkpoints, proofs and keys, and the bundle's own check of Ed25519 against another's."""

from __future__ import annotations

import base64
from collections.abc import Callable

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from hypothesis import given, settings
from hypothesis import strategies as st

from remit.core.notes import Checkpoint, SignerKey, VerifierKey, open_note, parse_proof, proof_text
from remit.errors import BadInput, Tampered
from remit.export import standalone

KEY = SignerKey("example.com/journal", bytes(range(32)))
OTHER = SignerKey("example.com/other", bytes(32))
TEXT = Checkpoint("example.com/journal", 81, bytes(range(32))).text


def test_a_signed_note_opens_with_its_key_and_says_who_signed_it() -> None:
    note = KEY.sign(TEXT)
    assert open_note(note, [KEY.verifier, OTHER.verifier]) == (TEXT, (KEY.verifier,))
    assert Checkpoint.parse(TEXT) == Checkpoint("example.com/journal", 81, bytes(range(32)))
    assert standalone.open_note(note, [str(KEY.verifier)]) == TEXT
    assert standalone.read_checkpoint(TEXT) == ("example.com/journal", 81, bytes(range(32)))


def test_the_note_of_the_go_documentation_opens_with_its_key() -> None:
    """The example of golang.org/x/mod/sumdb/note."""
    key = VerifierKey.parse("PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW")
    text = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
    data = "x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM="
    signature = f"\u2014 PeterNeumann {data}\n"
    assert open_note(f"{text}\n{signature}", [key]) == (text, (key,))


def test_every_changed_byte_of_a_note_is_refused() -> None:
    note = KEY.sign(TEXT).encode()
    for place in range(len(note)):
        for change in (1, 0x20, 0x80):
            spoilt = bytearray(note)
            spoilt[place] ^= change
            try:
                changed = spoilt.decode()
            except UnicodeDecodeError:
                continue
            with pytest.raises(Tampered):
                open_note(changed, [KEY.verifier])
            with pytest.raises(ValueError):
                standalone.open_note(changed, [str(KEY.verifier)])


def test_signatures_of_unknown_keys_are_passed_over_and_a_wrong_one_of_a_known_key_is_refused() -> None:
    mine, others = KEY.sign(TEXT), OTHER.sign(TEXT)
    both = mine + others.rpartition("\n\n")[2]
    assert open_note(both, [KEY.verifier])[1] == (KEY.verifier,)
    assert open_note(both, [OTHER.verifier])[1] == (OTHER.verifier,)
    assert open_note(both, [OTHER.verifier, KEY.verifier])[1] == (KEY.verifier, OTHER.verifier)
    assert standalone.open_note(both, [str(OTHER.verifier)]) == TEXT
    wrong = mine + OTHER.sign(TEXT + "more\n").rpartition("\n\n")[2]
    assert open_note(wrong, [KEY.verifier])[1] == (KEY.verifier,)
    for opened in (
        lambda: open_note(wrong, [KEY.verifier, OTHER.verifier]),
        lambda: standalone.open_note(wrong, [str(KEY.verifier), str(OTHER.verifier)]),
    ):
        with pytest.raises((Tampered, ValueError), match=r"example\.com/other.* is not over this text"):
            opened()
    with pytest.raises(Tampered, match="no key that is known"):
        open_note(mine, [OTHER.verifier])
    with pytest.raises(ValueError, match="no key that is known"):
        standalone.open_note(mine, [str(OTHER.verifier)])


@pytest.mark.parametrize(
    "spoil",
    [
        lambda note: "",
        lambda note: note.removesuffix("\n"),
        lambda note: note.replace("\n\n", "\n"),
        lambda note: note + "not a signature\n",
        lambda note: note + "\n",
        lambda note: note.replace("\u2014 ", "- "),
        lambda note: note + "\u2014 name !!!\n",
        lambda note: note + "\u2014 AAAA\n",
        lambda note: "x" * 1_000_000 + note,
        lambda note: note.partition("\n\n")[0] + "\n\n",
    ],
)
def test_what_is_no_signed_note_is_refused(spoil: Callable[[str], str]) -> None:
    with pytest.raises(Tampered):
        open_note(spoil(KEY.sign(TEXT)), [KEY.verifier])


@pytest.mark.parametrize("size", ["", "-1", "+1", "01", "1_0", " 1", "\u0661", "1e3", "9" * 5000, "1.0"])
def test_a_size_or_index_that_is_not_written_as_a_count_is_refused(size: str) -> None:
    with pytest.raises(Tampered):
        Checkpoint.parse(f"origin\n{size}\n{base64.b64encode(bytes(32)).decode()}\n")
    with pytest.raises(Tampered):
        parse_proof(f"c2sp.org/tlog-proof@v1\nindex {size}\n\n{KEY.sign(TEXT)}")


@pytest.mark.parametrize(
    "text", ["", "a", "a\n1", "\n1\nAA==\n", "a\n1\nAA==\n", "a\n1\n\n", "a\n1\n" + "A" * 44 + "\n"]
)
def test_what_is_no_checkpoint_is_refused(text: str) -> None:
    with pytest.raises(Tampered):
        Checkpoint.parse(text)


# --- keys -----------------------------------------------------------------------------------------------


@given(st.binary(min_size=32, max_size=32))
def test_keys_are_read_as_they_are_written(seed: bytes) -> None:
    key = SignerKey("example.com/a", seed)
    assert SignerKey.parse(f" {key}\n") == key
    assert VerifierKey.parse(f"{key.verifier}\n") == key.verifier


def test_a_key_with_a_plus_in_its_base64_is_read() -> None:
    seeds = (bytes([number]) * 32 for number in range(256))
    keys = [key for seed in seeds if "+" in str(key := SignerKey("n", seed).verifier).split("+", 2)[2]]
    assert keys
    assert all(VerifierKey.parse(str(key)) == key for key in keys)


@pytest.mark.parametrize(
    "text",
    [
        "", "+", "++", "a+b", "a+b+c", "+00000000+AQ==", "a b+00000000+AQ==", "PRIVATE+KEY+a+b+c", "a+00000000+????",
        "a+00000000+" + base64.b64encode(b"\x01" + bytes(32)).decode(),
        "a+00000000+" + base64.b64encode(b"\x02" + bytes(32)).decode(),
        "a+00000000+" + base64.b64encode(b"\x01" + bytes(31)).decode(),
        "\ud800+00000000+" + base64.b64encode(b"\x01" + bytes(32)).decode(),
    ],
)  # fmt: skip
def test_what_is_no_public_key_is_bad_input(text: str) -> None:
    with pytest.raises(BadInput):
        VerifierKey.parse(text)


def test_no_error_about_a_private_key_shows_any_of_it() -> None:
    """Cut anywhere, with any piece left out, in any order: no eight characters of the seed are said."""
    seed = b"\xfb\xef\xbe" * 10 + b"\xfb\xef"  # in base64 it is full of pluses
    text = str(SignerKey("example.com/a", seed))
    secret = text.rpartition("example.com/a+")[2][9:]
    spoilt = [text[:end] for end in range(len(text))] + [text[:at] + text[at + 1 :] for at in range(12, len(text))]
    spoilt += [f"PRIVATE+KEY+{secret}", f"PRIVATE+KEY+{secret}+x+y", secret, f"{text}?", text.replace("PRIVATE", "")]
    pieces = [secret[at : at + 8] for at in range(len(secret) - 7)]
    for one_ in spoilt:
        with pytest.raises(BadInput) as caught:
            SignerKey.parse(one_)
        shown = f"{caught.value!r} {caught.value} {caught.value.__cause__!r}"
        assert not any(piece in shown for piece in pieces), one_
    assert secret not in repr(SignerKey("example.com/a", seed))


# --- proofs ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("extra", [b"", b"\x00\xff"])
@pytest.mark.parametrize("count", [0, 1, 20])
def test_a_proof_is_read_as_it_is_written(count: int, extra: bytes) -> None:
    hashes = [bytes([number]) * 32 for number in range(count)]
    note = KEY.sign(TEXT)
    assert parse_proof(proof_text(7, hashes, note, extra)) == (7, hashes, note)


@pytest.mark.parametrize(
    "text",
    ["", "c2sp.org/tlog-proof@v1", "c2sp.org/tlog-proof@v1\n\n", "c2sp.org/tlog-proof@v1\nindex 1\nAA==\n\n",
     "c2sp.org/tlog-proof@v2\nindex 1\n\n", "c2sp.org/tlog-proof@v1\nextra AA==\n\n", "c2sp.org/tlog-proof@v1\n1\n\n"],
)  # fmt: skip
def test_what_is_no_proof_is_refused(text: str) -> None:
    with pytest.raises(Tampered):
        parse_proof(text)


# --- Ed25519 with the standard library --------------------------------------------------------------------

RFC8032 = [  # section 7.1: seed, public key, message, signature
    ("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
     "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a", "",
     "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"),
    ("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
     "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c", "72",
     "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"),
    ("c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
     "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025", "af82",
     "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a"),
]  # fmt: skip


@pytest.mark.parametrize(("seed", "public", "text", "signature"), RFC8032)
def test_the_vectors_of_rfc_8032_hold(seed: str, public: str, text: str, signature: str) -> None:
    key = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(seed))
    assert key.public_key().public_bytes_raw().hex() == public
    assert key.sign(bytes.fromhex(text)).hex() == signature
    assert standalone.ed25519_holds(bytes.fromhex(public), bytes.fromhex(text), bytes.fromhex(signature))


@settings(max_examples=30)
@given(st.binary(min_size=32, max_size=32), st.binary(max_size=100), st.integers(0, 767), st.booleans())
def test_both_checks_of_ed25519_say_the_same_of_any_flipped_bit(
    seed: bytes, text: bytes, bit: int, intact: bool
) -> None:
    key = Ed25519PrivateKey.from_private_bytes(seed)
    both = int.from_bytes(key.public_key().public_bytes_raw() + key.sign(text))
    data = (both if intact else both ^ 1 << bit).to_bytes(96)
    assert standalone.ed25519_holds(data[:32], text, data[32:]) == _holds(data[:32], text, data[32:]) == intact


def _holds(public: bytes, text: bytes, signature: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, text)
    except (InvalidSignature, ValueError):
        return False
    return True


def test_signatures_and_keys_that_are_not_as_they_must_be_are_refused() -> None:
    public, text, signature = (bytes.fromhex(part) for part in RFC8032[1][1:])
    holds = standalone.ed25519_holds
    assert holds(public, text, signature)
    scalar = int.from_bytes(signature[32:], "little")
    larger = signature[:32] + (scalar + standalone.L).to_bytes(32, "little")  # the same modulo L
    for wrong in (b"", signature[:-1], signature + b"\x00", larger, signature[:32] + b"\xff" * 32):
        assert not holds(public, text, wrong)
        assert not _holds(public, text, wrong)
    for key in (b"", public[:-1], public + b"\x00", public + b"\x02"):
        assert not holds(key, text, signature)
        assert not _holds(key, text, signature)


@pytest.mark.parametrize("y", [standalone.P, standalone.P + 1, 2**255 - 1])
@pytest.mark.parametrize("sign", [0, 1])
def test_points_that_are_not_written_in_the_one_way_are_refused(y: int, sign: int) -> None:
    """Such a key or commitment would be another way to write one, under which `0 = 0` holds for any text."""
    point = (y | sign << 255).to_bytes(32, "little")
    assert not standalone.ed25519_holds(point, b"", point + bytes(32))
    one = (1 | 1 << 255).to_bytes(32, "little")  # x = 0 with a sign
    assert not standalone.ed25519_holds(one, b"", one + bytes(32))
