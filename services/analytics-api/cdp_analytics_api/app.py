"""The services' parts and the layers of the door -> one FastAPI application under /api/cdp."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

from fastapi import Depends, FastAPI
from fastapi.telemetry import TelemetryConfig
from fastapi_offline import FastAPIOffline
from pydantic import BaseModel
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import HTTPConnection
from starlette.responses import HTMLResponse

from cdp_analytics_api.door import document, faults
from cdp_analytics_api.door.audit import Audit, AuditTrail
from cdp_analytics_api.door.idempotency import Idempotency
from cdp_analytics_api.door.limits import Limits
from cdp_analytics_api.door.operations import Operations
from cdp_analytics_api.door.requests import Requests
from cdp_analytics_api.door.texts import sound_texts
from cdp_analytics_api.mounting import mount
from cdp_analytics_api.notation import Timestamp
from cdp_analytics_api.parts import RunningPart, merged_facets
from cdp_analytics_api.ports import KeptAnswers, RateLimiter
from cdp_analytics_api.tokens import TokenAuthenticator
from cdp_runtime.clients import Network
from cdp_runtime.clock import Clock

PREFIX: Final = "/api/cdp"
_ABOUT: Final = """
One door to the whole platform: profiles, events, segments, audiences, destinations, consent and analytics.

Answers are `{"success": true, "data": ...}`, errors `{"success": false, "error": {"code", "message", "details"}}`.
Send an API token as `Authorization: Bearer <token>`. POSTs that create or send take an `Idempotency-Key`.
"""
# requests have metrics and logs of their own; FastAPI looks for providers of OpenTelemetry at each of them
_NO_TELEMETRY: Final[TelemetryConfig] = {"tracing": False, "metrics": False, "logs": False}
_HOME: Final = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Millrace</title>
<body style="font: 16px/1.6 system-ui; max-width: 40rem; margin: 4rem auto; padding: 0 1rem">
<h1>Millrace</h1><p>The front door of the customer data platform.</p>
<ul><li><a href="/docs">Every operation, to try out</a></li><li><a href="/redoc">The same, to read</a></li>
<li><a href="/openapi.json">The OpenAPI document</a></li><li><a href="/api/cdp/health">Health</a></li></ul>
<p>All operations live under <code>/api/cdp</code> and want <code>Authorization: Bearer &lt;token&gt;</code>.</p>
"""


class Health(BaseModel):
    status: str = "ok"
    timestamp: Timestamp


@dataclass(frozen=True, slots=True)
class Door:
    """What the layers around all parts need."""

    authenticator: TokenAuthenticator
    requests: RateLimiter
    guesses: RateLimiter
    trail: AuditTrail
    kept: KeptAnswers
    clock: Clock
    proxies: tuple[Network, ...] = ()
    origins: tuple[str, ...] = ("*",)
    body_bytes: int = 8_388_608


def build_app(parts: Sequence[RunningPart], door: Door) -> FastAPI:
    """The application; nothing is started or connected."""
    app = FastAPIOffline(
        title="Millrace",
        version="0.1.0",
        description=_ABOUT,
        static_url="/docs/assets",
        telemetry=_NO_TELEMETRY,
        redirect_slashes=False,  # behind a proxy that speaks TLS they would lead to http://, token and all
    )
    app.state.authenticator = door.authenticator
    app.state.facets = merged_facets([running.part for running in parts])
    _home(app, door.clock)
    for running in parts:
        mount(app, running.part.router, PREFIX, [Depends(_entrance(running))])
    faults.install(app)
    operations = Operations(app)
    document.install(app, operations)
    _layers(app, door, operations)
    return app


def _entrance(part: RunningPart) -> Callable[[HTTPConnection], Awaitable[None]]:
    async def entrance(connection: HTTPConnection) -> None:
        part.require_open()
        await sound_texts(connection)

    return entrance


def _home(app: FastAPI, clock: Clock) -> None:
    @app.get("/", include_in_schema=False)
    async def home() -> HTMLResponse:
        return HTMLResponse(_HOME)

    @app.head(f"{PREFIX}/health", include_in_schema=False)
    @app.get(f"{PREFIX}/health", tags=["system"], summary="Tell that the door is open")
    async def health() -> Health:
        """Without a token and without the envelope; `/readyz` on the admin port tells about the dependencies."""
        return Health(timestamp=clock.now())


def _layers(app: FastAPI, door: Door, operations: Operations) -> None:
    """From the innermost to the outermost."""
    app.add_middleware(
        Idempotency, kept=door.kept, authenticator=door.authenticator, operations=operations, clock=door.clock
    )
    app.add_middleware(Audit, trail=door.trail, operations=operations, clock=door.clock)
    app.add_middleware(
        Limits,
        requests=door.requests,
        guesses=door.guesses,
        authenticator=door.authenticator,
        proxies=door.proxies,
        body_bytes=door.body_bytes,
    )
    app.add_middleware(Requests, operations=operations)
    app.add_middleware(  # around all others, so that browsers can read every answer, also of a bug
        CORSMiddleware,
        allow_origins=list(door.origins),
        allow_methods=["*"],
        allow_headers=["*"],
        expose_headers=["X-Request-Id", "Retry-After", "Idempotent-Replayed", "traceparent"],
        max_age=600,
    )
