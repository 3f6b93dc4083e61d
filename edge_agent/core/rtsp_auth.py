"""Answers to an RTSP server's challenge: Basic (RFC 7617) and Digest (RFC 7616, RFC 2069)."""

import base64
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

_PAIR = re.compile(r'([A-Za-z-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]*))')
_MOST_CHALLENGE = 4096

Algorithm = Literal["MD5", "SHA-256"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Challenge:
    """The strongest way a server offers to prove who we are.

    Attributes:
        algorithm: of Digest; None for Basic.
        stale: the credentials were right, only the nonce was old.
    """

    realm: str
    algorithm: Algorithm | None
    nonce: str = ""
    opaque: str | None = None
    qop_auth: bool = False
    stale: bool = False


@dataclass(frozen=True, slots=True)
class Credentials:
    """User name and password; never shown."""

    username: str
    password: str

    def __repr__(self) -> str:
        return "Credentials(…)"


def choose_challenge(headers: Sequence[str]) -> Challenge | None:
    """Return the strongest challenge of the WWW-Authenticate headers we can answer.

    SHA-256 before MD5 before Basic; None when there is none we know.
    """
    known = [challenge for header in headers if (challenge := _parse(header)) is not None]
    order = ("SHA-256", "MD5", None)
    return min(known, key=lambda challenge: order.index(challenge.algorithm), default=None)


def authorization(
    challenge: Challenge,
    credentials: Credentials,
    *,
    method: str,
    uri: str,
    nonce_count: int,
    cnonce: str,
) -> str:
    """Return the Authorization header of one request.

    Args:
        challenge: what the server asked.
        credentials: ours.
        method: of the request.
        uri: exactly as in the request line.
        nonce_count: requests made with this nonce, this one included.
        cnonce: random text of ours; used only with qop.
    """
    if challenge.algorithm is None:
        pair = f"{credentials.username}:{credentials.password}"
        return "Basic " + base64.b64encode(pair.encode()).decode()
    algorithm = challenge.algorithm
    secret = _digest(algorithm, f"{credentials.username}:{challenge.realm}:{credentials.password}")
    request = _digest(algorithm, f"{method}:{uri}")
    fields = {
        "username": credentials.username,
        "realm": challenge.realm,
        "nonce": challenge.nonce,
        "uri": uri,
    }
    tail = f", algorithm={algorithm}" if algorithm != "MD5" else ""
    if challenge.qop_auth:
        count = f"{nonce_count:08x}"
        text = f"{secret}:{challenge.nonce}:{count}:{cnonce}:auth:{request}"
        fields["cnonce"] = cnonce
        tail += f", qop=auth, nc={count}"
    else:
        text = f"{secret}:{challenge.nonce}:{request}"
    fields["response"] = _digest(algorithm, text)
    if challenge.opaque is not None:
        fields["opaque"] = challenge.opaque
    return (
        "Digest " + ", ".join(f'{name}="{_quote(value)}"' for name, value in fields.items()) + tail
    )


def _parse(header: str) -> Challenge | None:
    scheme, _, rest = header.strip()[:_MOST_CHALLENGE].partition(" ")
    values = {
        name.lower(): re.sub(r"\\(.)", r"\1", quoted) if quoted else plain
        for name, quoted, plain in _PAIR.findall(rest)
    }
    realm = values.get("realm", "")
    if scheme.lower() == "basic":
        return Challenge(realm=realm, algorithm=None)
    named = values.get("algorithm", "MD5").upper()
    algorithms: dict[str, Algorithm] = {"MD5": "MD5", "SHA-256": "SHA-256"}
    if scheme.lower() != "digest" or named not in algorithms or "nonce" not in values:
        return None
    return Challenge(
        realm=realm,
        algorithm=algorithms[named],
        nonce=values["nonce"],
        opaque=values.get("opaque"),
        qop_auth="auth" in [part.strip() for part in values.get("qop", "").split(",")],
        stale=values.get("stale", "").lower() == "true",
    )


def _digest(algorithm: Algorithm, text: str) -> str:
    if algorithm == "SHA-256":
        return hashlib.sha256(text.encode()).hexdigest()
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def _quote(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"')
