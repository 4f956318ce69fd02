"""SSH signatures as git uses them: `ssh-keygen -Y sign` makes them, this reads and checks them.

Formats: PROTOCOL.sshsig and PROTOCOL.u2f of OpenSSH, RFC 4253 section 6.6 and RFC 8332 (RSA), RFC 5656 (ECDSA),
RFC 8709 (Ed25519). RSA with SHA-1 (`ssh-rsa` as a signature's name) and RSA keys under 2048 bits hold nothing.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from remit.errors import BadInput, Tampered

NAMESPACE: Final = "ruling@remit"
"""What our signatures are for: one made for a git commit or a file is no ruling."""

LARGEST: Final = 16_384
"""Characters of an armored signature; the largest real ones are some 3,000."""

_MAGIC: Final = b"SSHSIG"
_BEGIN: Final = "-----BEGIN SSH SIGNATURE-----"
_END: Final = "-----END SSH SIGNATURE-----"
_SMALLEST_RSA: Final = 2048
_CURVES: Final[dict[bytes, tuple[ec.EllipticCurve, hashes.HashAlgorithm]]] = {
    b"nistp256": (ec.SECP256R1(), hashes.SHA256()),
    b"nistp384": (ec.SECP384R1(), hashes.SHA384()),
    b"nistp521": (ec.SECP521R1(), hashes.SHA512()),
}
_RSA: Final[dict[bytes, hashes.HashAlgorithm]] = {
    b"rsa-sha2-256": hashes.SHA256(),
    b"rsa-sha2-512": hashes.SHA512(),
}
_DIGESTS: Final = {b"sha256": hashlib.sha256, b"sha512": hashlib.sha512}
_SK_ED25519: Final = b"sk-ssh-ed25519@openssh.com"
_SK_ECDSA: Final = b"sk-ecdsa-sha2-nistp256@openssh.com"
_USER_PRESENT: Final = 0x01


class _Reader:
    """Reads the strings of an SSH blob. Raises ValueError where there is too little or too much."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def take(self, size: int) -> bytes:
        if len(self._data) < size:
            raise ValueError("it is cut")
        found, self._data = self._data[:size], self._data[size:]
        return found

    def number(self) -> int:
        return int.from_bytes(self.take(4))

    def string(self) -> bytes:
        return self.take(self.number())

    def integer(self) -> int:
        """A positive mpint in its one shortest form."""
        data = self.string()
        if not data or data[0] & 0x80 or (data[0] == 0 and (len(data) == 1 or not data[1] & 0x80)):
            raise ValueError("a number is negative or not in its shortest form")
        return int.from_bytes(data)

    def end(self) -> None:
        if self._data:
            raise ValueError("something follows its end")


def _string(data: bytes) -> bytes:
    return len(data).to_bytes(4) + data


@dataclass(frozen=True, slots=True)
class PublicKey:
    """An SSH public key: `blob` as in RFC 4253, `text` as in a `.pub` file, without its comment."""

    blob: bytes

    @property
    def kind(self) -> str:
        """Such as `ssh-ed25519`."""
        return _Reader(self.blob).string().decode("ascii", "replace")

    @property
    def text(self) -> str:
        """`ssh-ed25519 AAAA…`."""
        return f"{self.kind} {base64.b64encode(self.blob).decode()}"

    @property
    def fingerprint(self) -> str:
        """`SHA256:` and base64 without padding, as `ssh-keygen -l` prints it."""
        return "SHA256:" + base64.b64encode(hashlib.sha256(self.blob).digest()).decode().rstrip("=")


@dataclass(frozen=True, slots=True)
class Signature:
    """A parsed SSH signature; that it parses says nothing of whether it holds."""

    key: PublicKey
    namespace: str
    hash: str
    name: bytes
    """The signature's algorithm: `ssh-ed25519`, `rsa-sha2-512`, ..."""
    data: bytes
    flags: int = 0
    counter: int = 0


def read_public_key(text: str) -> PublicKey:
    """Returns the key that a line of a `.pub` file says; the comment after it is left out.

    Raises:
        BadInput: not a public key, or of a kind whose signatures don't count here.
    """
    parts = text.split()
    if len(parts) < 2:
        raise BadInput("a public key is the line of a `.pub` file: `ssh-ed25519 AAAA…`")
    try:
        blob = base64.b64decode(parts[1], validate=True)
        if _Reader(blob).string() != parts[0].encode():
            raise ValueError("its name is not the one inside it")
        _public(blob)
    except (ValueError, binascii.Error, UnsupportedAlgorithm) as error:
        raise BadInput(f"not a public key that can sign rulings: {error}") from error
    return PublicKey(blob)


def read_signature(armored: str) -> Signature:
    """Returns what an armored signature says. Raises Tampered where it isn't one."""
    try:
        lines = armored.strip().splitlines()
        if len(armored) > LARGEST or len(lines) < 3 or lines[0] != _BEGIN or lines[-1] != _END:
            raise ValueError("it has no armor")
        reader = _Reader(base64.b64decode("".join(lines[1:-1]), validate=True))
        if reader.take(6) != _MAGIC or reader.number() != 1:
            raise ValueError("it is not an SSH signature of version 1")
        blob, namespace, reserved = reader.string(), reader.string(), reader.string()
        hash, inner = reader.string(), _Reader(reader.string())
        reader.end()
        if reserved or hash not in _DIGESTS:
            raise ValueError("its hash is neither sha256 nor sha512")
        name, data = inner.string(), inner.string()
        flags, counter = (inner.take(1)[0], inner.number()) if name in (_SK_ED25519, _SK_ECDSA) else (0, 0)
        inner.end()
        return Signature(PublicKey(blob), namespace.decode(), hash.decode(), name, data, flags, counter)
    except (ValueError, binascii.Error) as error:
        raise Tampered(f"not an SSH signature: {error}") from error


def check_signature(armored: str, message: bytes, namespace: str = NAMESPACE) -> PublicKey:
    """Returns the key whose signature over `message` this is. Whose key that is must be asked elsewhere.

    Raises:
        Tampered: it isn't a signature, is made for something else, or doesn't hold.
    """
    said = read_signature(armored)
    if said.namespace != namespace:
        raise Tampered(f"the signature is for `{said.namespace}`, not for `{namespace}`")
    hashed = _DIGESTS[said.hash.encode()](message).digest()
    signed = _MAGIC + _string(namespace.encode()) + _string(b"") + _string(said.hash.encode()) + _string(hashed)
    try:
        _check(said, signed)
    except (ValueError, InvalidSignature, UnsupportedAlgorithm) as error:
        raise Tampered(f"the signature doesn't hold: {str(error) or 'it is not of this key over this text'}") from error
    return said.key


_Key = Ed25519PublicKey | ec.EllipticCurvePublicKey | rsa.RSAPublicKey


def _public(blob: bytes) -> tuple[_Key, bytes]:
    """Returns the key of a blob and, of a hardware key, what it is registered for. Raises ValueError."""
    reader = _Reader(blob)
    kind = reader.string()
    key: _Key
    application = b""
    if kind in (b"ssh-ed25519", _SK_ED25519):
        key = Ed25519PublicKey.from_public_bytes(reader.string())
    elif kind == b"ssh-rsa":
        exponent, modulus = reader.integer(), reader.integer()
        if modulus.bit_length() < _SMALLEST_RSA:
            raise ValueError(f"an RSA key of {modulus.bit_length()} bits: it takes {_SMALLEST_RSA}")
        key = rsa.RSAPublicNumbers(exponent, modulus).public_key()
    elif kind == _SK_ECDSA or kind.startswith(b"ecdsa-sha2-"):
        curve = reader.string()
        named = b"nistp256" if kind == _SK_ECDSA else kind.removeprefix(b"ecdsa-sha2-")
        if curve not in _CURVES or curve != named:
            raise ValueError("its curve is not one of nistp256, nistp384 and nistp521, or not the one it names")
        key = ec.EllipticCurvePublicKey.from_encoded_point(_CURVES[curve][0], reader.string())
    else:
        raise ValueError(f"keys of kind `{kind[:40].decode('ascii', 'replace')}` can't sign rulings")
    if kind in (_SK_ED25519, _SK_ECDSA):
        application = reader.string()
    reader.end()
    return key, application


def _check(said: Signature, signed: bytes) -> None:
    """Raises ValueError or InvalidSignature unless `said` holds over `signed`."""
    kind = said.key.kind.encode()
    key, application = _public(said.key.blob)
    if said.name not in (_RSA if kind == b"ssh-rsa" else (kind,)):
        raise ValueError(f"a signature `{said.name[:40].decode('ascii', 'replace')}` by a key `{kind.decode()}`")
    if kind in (_SK_ED25519, _SK_ECDSA):
        # A hardware key signs what it was asked with, and says whether somebody touched it.
        if not said.flags & _USER_PRESENT:
            raise ValueError("nobody touched the hardware key")
        asked = hashlib.sha256(application).digest() + bytes([said.flags]) + said.counter.to_bytes(4)
        signed = asked + hashlib.sha256(signed).digest()
    if isinstance(key, Ed25519PublicKey):
        key.verify(said.data, signed)
    elif isinstance(key, rsa.RSAPublicKey):
        key.verify(said.data, signed, padding.PKCS1v15(), _RSA[said.name])
    else:
        reader = _Reader(said.data)
        pair = encode_dss_signature(reader.integer(), reader.integer())
        reader.end()
        hash = next(hash for curve, hash in _CURVES.values() if isinstance(key.curve, type(curve)))
        key.verify(pair, signed, ec.ECDSA(hash))
