"""SSH keys in memory, that sign as `ssh-keygen -Y sign` does: so that nothing but Remit has to be installed."""

from __future__ import annotations

import base64
import hashlib

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from remit.core.sshsig import NAMESPACE, PublicKey


def _string(data: bytes) -> bytes:
    return len(data).to_bytes(4) + data


class Pen:
    """The key of somebody, the same for the same name: for tests and probes alone."""

    def __init__(self, name: str, namespace: str = NAMESPACE) -> None:
        self._key = Ed25519PrivateKey.from_private_bytes(hashlib.sha256(name.encode()).digest())
        self._namespace = namespace

    @property
    def public(self) -> PublicKey:
        """What others check with."""
        raw = self._key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        return PublicKey(_string(b"ssh-ed25519") + _string(raw))

    def sign_now(self, message: bytes) -> str:
        """Returns an armored signature: by PROTOCOL.sshsig it is over a digest with its purpose."""
        head = b"SSHSIG" + _string(self._namespace.encode()) + _string(b"") + _string(b"sha512")
        signature = self._key.sign(head + _string(hashlib.sha512(message).digest()))
        blob = b"SSHSIG" + (1).to_bytes(4) + _string(self.public.blob) + _string(self._namespace.encode())
        blob += _string(b"") + _string(b"sha512") + _string(_string(b"ssh-ed25519") + _string(signature))
        text = base64.b64encode(blob).decode()
        lines = [text[at : at + 70] for at in range(0, len(text), 70)]
        return "\n".join(["-----BEGIN SSH SIGNATURE-----", *lines, "-----END SSH SIGNATURE-----", ""])

    async def sign(self, message: bytes) -> str:
        """As `sign_now`, for who expects a signer."""
        return self.sign_now(message)
