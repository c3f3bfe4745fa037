"""Request guard: which requests are answered at all, and the headers that every answer has."""

from __future__ import annotations

import ipaddress
import secrets
from collections.abc import Collection
from dataclasses import dataclass, field

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tunefleet.base import loopback

TOKEN_HEADER = "X-Tunefleet-Token"
MOST_BYTES = 1 << 16  # of a request's body
_METHODS = ("GET", "HEAD", "POST")
_HEADERS = {
    # plotly sets styles of elements; scripts come from this server alone, and none from a text
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


@dataclass(frozen=True)
class Refusal:
    """Why a request is not answered, with the status of HTTP."""

    status: int
    reason: str


@dataclass(frozen=True)
class Guard:
    """Who may ask. `hosts` are names that a request may be addressed to; numbers of an address too where `exposed`.

    Another name would be a page of elsewhere whose name was made to lead here (DNS rebinding).
    """

    token: str = field(default_factory=lambda: secrets.token_urlsafe(24))
    hosts: Collection[str] = loopback.NAMES
    exposed: bool = False

    def refusal(self, method: str, path: str, headers: Headers) -> Refusal | None:
        """Why this request is not answered; None where it is."""
        if not self._is_ours(headers.get("host", "")):
            return Refusal(421, "This address is not one of the board's.")
        if method not in _METHODS:
            return Refusal(405, f"{method} is not allowed.")
        if not path.startswith("/api/"):
            return None if method != "POST" else Refusal(405, "POST is not allowed here.")
        if _is_foreign(headers):
            return Refusal(403, "Another site asks: only pages of this board may.")
        if not secrets.compare_digest(headers.get(TOKEN_HEADER, "").encode(), self.token.encode()):
            return Refusal(403, "The token is missing or wrong: open the address that `tunefleet board` printed.")
        return _refusal_of_body(headers) if method == "POST" else None

    def _is_ours(self, host: str) -> bool:
        name, port = _split(host)
        is_port = not port or (port.isascii() and port.isdigit())
        return is_port and (name.lower() in self.hosts or (self.exposed and _is_number(name)))


def _refusal_of_body(headers: Headers) -> Refusal | None:
    if headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        return Refusal(415, "An act is sent as application/json.")
    length = headers.get("content-length", "")
    if not (length.isascii() and length.isdigit()):
        return Refusal(411, "An act says how long it is.")
    return Refusal(413, f"An act has at most {MOST_BYTES} bytes.") if int(length[:12]) > MOST_BYTES else None


def _is_foreign(headers: Headers) -> bool:
    """Whether a browser says that a page of another origin asks; programs without a browser say nothing."""
    origin = headers.get("origin")
    if origin is not None and origin.lower() != f"http://{headers.get('host', '')}".lower():
        return True
    return headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none")


def _split(host: str) -> tuple[str, str]:
    """The name and the port of `localhost:8765` and `[::1]:8765`."""
    name, bracket, port = host.rpartition("]") if host.startswith("[") else ("", "", host)
    if bracket:
        return f"{name}]", port.removeprefix(":")
    name, _, port = host.partition(":")
    return name, port


def _is_number(name: str) -> bool:
    try:
        ipaddress.ip_address(name.strip("[]"))
        return True
    except ValueError:
        return False


class GuardedApp:
    """`app` behind a guard: what is refused never gets there."""

    def __init__(self, app: ASGIApp, guard: Guard) -> None:
        self._app, self._guard = app, guard

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request of HTTP. There is nothing else here."""
        if scope["type"] == "lifespan":
            return await self._app(scope, receive, send)
        if scope["type"] != "http":
            return None

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        refusal = self._guard.refusal(scope["method"], scope["path"], Headers(scope=scope))
        app = JSONResponse({"error": refusal.reason}, refusal.status) if refusal else self._app
        await app(scope, receive, send_guarded)
        return None
