"""Signs with the reviewer's own SSH key, through `ssh-keygen`: an agent or a hardware key does as well."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from remit.core.sshsig import NAMESPACE, PublicKey, read_public_key
from remit.errors import SettingsError


class Signer(Protocol):
    """Who signs, and how."""

    @property
    def public(self) -> PublicKey:
        """The key that others check with."""

    async def sign(self, message: bytes) -> str:
        """Returns an armored signature over `message`. Raises SettingsError."""


@dataclass(frozen=True, slots=True)
class SshKey:
    """A key that `ssh-keygen -Y sign` can use: a private key's file, or a public one's whose key an agent holds."""

    path: Path
    public: PublicKey

    async def sign(self, message: bytes) -> str:
        """Returns an armored signature over `message`. Raises SettingsError."""
        return await _ssh_keygen("-Y", "sign", "-n", NAMESPACE, "-f", str(self.path), said=message)


async def open_key(name: str) -> SshKey:
    """Returns the key at a path. Raises SettingsError: there is none, or it can't sign rulings."""
    path = Path(name).expanduser()
    public = path if path.suffix == ".pub" else path.with_name(path.name + ".pub")
    if not path.exists():
        raise SettingsError(f"there is no key `{name}`: make one with `ssh-keygen -t ed25519 -f {name}`")
    try:
        text = public.read_text("utf-8") if public.exists() else await _ssh_keygen("-y", "-f", str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"the key `{public}` can't be read: {error}") from error
    return SshKey(path, read_public_key(text))


async def _ssh_keygen(*words: str, said: bytes = b"") -> str:
    try:
        process = await asyncio.create_subprocess_exec(
            "ssh-keygen", *words, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
    except OSError as error:
        raise SettingsError("rulings are signed with `ssh-keygen`, and it isn't there: install OpenSSH") from error
    out, errors = await process.communicate(said)
    if process.returncode != 0:
        words_ = errors.decode(errors="replace").strip().splitlines()
        raise SettingsError(f"`ssh-keygen` couldn't sign: {words_[-1] if words_ else 'it says nothing'}")
    return out.decode("ascii", "replace")
