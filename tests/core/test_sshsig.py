"""SSH signatures: what ssh-keygen makes holds here, what is forged here holds nowhere."""

from __future__ import annotations

import base64
import hashlib
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from hypothesis import given
from hypothesis import strategies as st

from remit.core.sshsig import NAMESPACE, check_signature, read_public_key, read_signature
from remit.errors import BadInput, Tampered

MESSAGE = b'{"remit":"ruling v1"}'
KINDS = {
    "ed25519": ("ed25519", ""),
    "ecdsa 256": ("ecdsa", "256"),
    "ecdsa 384": ("ecdsa", "384"),
    "ecdsa 521": ("ecdsa", "521"),
    "rsa": ("rsa", "2048"),
}


def string(data: bytes) -> bytes:
    return len(data).to_bytes(4) + data


def mpint(number: int) -> bytes:
    return string(number.to_bytes(number.bit_length() // 8 + 1))


def armor(blob: bytes) -> str:
    text = base64.b64encode(blob).decode()
    lines = [text[at : at + 70] for at in range(0, len(text), 70)]
    return "\n".join(["-----BEGIN SSH SIGNATURE-----", *lines, "-----END SSH SIGNATURE-----", ""])


def signed(message: bytes, namespace: str = NAMESPACE, hash: str = "sha512") -> bytes:
    digest = hashlib.new(hash, message).digest()
    return b"SSHSIG" + string(namespace.encode()) + string(b"") + string(hash.encode()) + string(digest)


def enclose(key: bytes, signature: bytes, namespace: str = NAMESPACE, hash: str = "sha512", version: int = 1) -> str:
    head = b"SSHSIG" + version.to_bytes(4) + string(key) + string(namespace.encode()) + string(b"")
    return armor(head + string(hash.encode()) + string(signature))


def raw(key: Ed25519PrivateKey) -> bytes:
    return key.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)


KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
BLOB = string(b"ssh-ed25519") + string(raw(KEY))


@pytest.mark.parametrize("kind", KINDS)
def test_what_ssh_keygen_signs_holds_and_for_one_message_and_purpose_only(kind: str, tmp_path: Path) -> None:
    algorithm, bits = KINDS[kind]
    key = tmp_path / "key"
    sized = ["-b", bits] if bits else []
    subprocess.run(["ssh-keygen", "-q", "-t", algorithm, *sized, "-N", "", "-f", str(key)], check=True)
    made = subprocess.run(
        ["ssh-keygen", "-Y", "sign", "-n", NAMESPACE, "-f", str(key)], input=MESSAGE, capture_output=True, check=True
    ).stdout.decode()
    public = read_public_key((tmp_path / "key.pub").read_text())
    listed = subprocess.run(["ssh-keygen", "-l", "-f", f"{key}.pub"], capture_output=True, check=True).stdout
    assert public.fingerprint.encode() in listed
    assert check_signature(made, MESSAGE) == public
    with pytest.raises(Tampered, match="doesn't hold"):
        check_signature(made, MESSAGE + b" ")
    with pytest.raises(Tampered, match="is for `ruling@remit`"):
        check_signature(made, MESSAGE, "git")


def hardware_ed25519(flags: int, application: bytes = b"ssh:") -> tuple[bytes, bytes]:
    """As a security key would: it signs the application, its flags and its counter with the message."""
    asked = hashlib.sha256(application).digest() + bytes([flags]) + (7).to_bytes(4)
    data = KEY.sign(asked + hashlib.sha256(signed(MESSAGE)).digest())
    name = b"sk-ssh-ed25519@openssh.com"
    return string(name) + string(raw(KEY)) + string(b"ssh:"), (
        string(name) + string(data) + bytes([flags]) + (7).to_bytes(4)
    )


def test_a_hardware_key_holds_if_somebody_touched_it() -> None:
    blob, signature = hardware_ed25519(0x01)
    assert check_signature(enclose(blob, signature), MESSAGE).blob == blob
    for flags, application in ((0x00, b"ssh:"), (0x04, b"ssh:"), (0x01, b"ssh:elsewhere")):
        with pytest.raises(Tampered, match="doesn't hold"):
            check_signature(enclose(*hardware_ed25519(flags, application)), MESSAGE)
    for changed in (signature[:-1] + b"\x08", signature[:-5] + b"\x05" + signature[-4:]):  # counter, flags
        with pytest.raises(Tampered, match="doesn't hold"):
            check_signature(enclose(blob, changed), MESSAGE)


def test_a_hardware_key_on_a_curve_holds_too() -> None:
    key, name = ec.generate_private_key(ec.SECP256R1()), b"sk-ecdsa-sha2-nistp256@openssh.com"
    point = key.public_key().public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)
    blob = string(name) + string(b"nistp256") + string(point) + string(b"ssh:")
    asked = hashlib.sha256(b"ssh:").digest() + b"\x01" + (9).to_bytes(4)
    pair = decode_dss_signature(key.sign(asked + hashlib.sha256(signed(MESSAGE)).digest(), ec.ECDSA(hashes.SHA256())))
    signature = string(name) + string(mpint(pair[0]) + mpint(pair[1])) + b"\x01" + (9).to_bytes(4)
    assert check_signature(enclose(blob, signature), MESSAGE).blob == blob


def test_rsa_with_sha_1_and_small_rsa_keys_hold_nothing(tmp_path: Path) -> None:
    key = rsa.generate_private_key(65537, 2048)
    numbers = key.public_key().public_numbers()
    blob = string(b"ssh-rsa") + mpint(numbers.e) + mpint(numbers.n)
    data = key.sign(signed(MESSAGE), padding.PKCS1v15(), hashes.SHA1())
    with pytest.raises(Tampered, match="doesn't hold"):
        check_signature(enclose(blob, string(b"ssh-rsa") + string(data)), MESSAGE)
    with pytest.raises(Tampered, match="doesn't hold"):
        check_signature(enclose(blob, string(b"rsa-sha2-512") + string(data)), MESSAGE)
    small = string(b"ssh-rsa") + mpint(65537) + mpint((1 << 1023) | 1)
    with pytest.raises(BadInput, match="1024 bits"):
        read_public_key("ssh-rsa " + base64.b64encode(small).decode())


def ours(namespace: str = NAMESPACE, hash: str = "sha512") -> bytes:
    return string(b"ssh-ed25519") + string(KEY.sign(signed(MESSAGE, namespace, hash)))


def test_both_hashes_hold_and_a_key_of_another_name_does_not() -> None:
    for hash in ("sha512", "sha256"):
        assert check_signature(enclose(BLOB, ours(hash=hash), hash=hash), MESSAGE).blob == BLOB
    other = string(b"ssh-ed25519") + string(raw(Ed25519PrivateKey.from_private_bytes(bytes(32))))
    renamed = string(b"sk-ssh-ed25519@openssh.com") + string(raw(KEY)) + string(b"ssh:")
    for blob in (other, renamed):
        with pytest.raises(Tampered, match="doesn't hold"):
            check_signature(enclose(blob, ours()), MESSAGE)
    for broken in (
        enclose(BLOB, ours(), version=2),
        enclose(BLOB, ours(), hash="sha1"),
        armor(b"SSHSIG"),
        "",
        "x" * 99_999,
    ):
        with pytest.raises(Tampered, match="not an SSH signature"):
            check_signature(broken, MESSAGE)


@given(st.data())
def test_one_changed_byte_anywhere_in_a_signature_and_it_does_not_hold(data: st.DataObject) -> None:
    blob = base64.b64decode("".join(enclose(BLOB, ours()).splitlines()[1:-1]))
    at = data.draw(st.integers(0, len(blob) - 1))
    changed = bytearray(blob)
    changed[at] ^= data.draw(st.integers(1, 255))
    with pytest.raises(Tampered):
        check_signature(armor(bytes(changed)), MESSAGE)


@given(st.binary(max_size=200), st.text(max_size=60))
def test_any_bytes_at_all_are_refused_and_nothing_else_is_raised(blob: bytes, text: str) -> None:
    for armored in (armor(blob), armor(b"SSHSIG\x00\x00\x00\x01" + blob), text):
        with pytest.raises(Tampered):
            check_signature(armored, MESSAGE)
    with pytest.raises(BadInput):
        read_public_key("ssh-ed25519 " + text)
    with pytest.raises(BadInput):
        read_public_key("ssh-ed25519 " + base64.b64encode(string(b"ssh-ed25519") + blob[:30]).decode())


def test_a_signature_says_what_it_is_for_and_by_which_key() -> None:
    said = read_signature(enclose(BLOB, ours()))
    assert (said.key.kind, said.namespace, said.hash, said.name) == ("ssh-ed25519", NAMESPACE, "sha512", b"ssh-ed25519")
    assert read_public_key(f"{said.key.text} ann@laptop").blob == BLOB
