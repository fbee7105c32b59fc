"""Everything of the gateway that is not an ingest path, as a FastAPI application: settings, source config, scripts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final

from fastapi import FastAPI, Request, Response
from fastapi.responses import FileResponse
from starlette.exceptions import HTTPException

from cdp_ingest import credentials, documents
from cdp_ingest.callers import Callers
from cdp_ingest.hot import ROUTES
from cdp_ingest.ports import Source
from cdp_ingest.refusals import SOURCES_UNAVAILABLE, CallRefused
from cdp_runtime import metrics
from cdp_runtime.envelope import error_body
from cdp_schemas.codec import encode

_CACHED: Final = "public, max-age=300, stale-while-revalidate=3600, stale-if-error=86400"
_UNKNOWN_FOR_NOW: Final = Source("", "", "unknown for now")
_ANY_ORIGIN: Final = {"access-control-allow-origin": "*", "access-control-expose-headers": "ETag, Retry-After"}


@dataclass(frozen=True, slots=True)
class Site:
    """How the gateway is reached from outside (empty: as the request says), and where its scripts lie."""

    public_host: str = ""
    scripts: Path | None = None


def build_web(callers: Callers, site: Site) -> FastAPI:
    """The application; it is mounted behind the hot paths."""
    app = FastAPI(title="Millrace ingest gateway", docs_url=None, redoc_url=None, openapi_url=None)

    @app.get("/v1/projects/{write_key}/settings")
    async def settings(write_key: str, request: Request) -> Response:
        source = await _known(callers, [write_key], request)
        if source is None:
            return _error(404, "write_key_unknown", "No source has this write key.")
        host, scheme = _reached_at(request, site)
        return _document(request, source, documents.segment_settings(write_key, source, host, scheme))

    @app.get("/sourceConfig")
    @app.get("/sourceConfig/")
    async def source_config(request: Request) -> Response:
        headers = dict(request.scope["headers"])
        keys = credentials.header_keys(headers) or credentials.query_keys(request.scope["query_string"])
        source = await _known(callers, keys[:1], request)
        if source is None:
            return _error(401, "write_key_unknown", "No source has this write key.")
        return _document(request, source, documents.rudder_source_config(keys[0], source))

    @app.get("/analytics.js/v1/{write_key}/analytics.min.js")
    async def snippet_script(write_key: str) -> Response:
        return _script(site, "standalone.js")

    @app.get("/analytics-next/bundles/{name}")
    async def bundle(name: str) -> Response:
        return _script(site, name)

    @app.exception_handler(CallRefused)
    async def answer_refusal(request: Request, error: CallRefused) -> Response:
        answer = _error(error.refusal.status, error.refusal.label, str(error))
        answer.headers["retry-after"] = str(error.retry_after)
        metrics.INGEST_REJECTED.labels(error.refusal.label).inc()
        return answer

    @app.exception_handler(HTTPException)
    async def answer_error(request: Request, error: HTTPException) -> Response:
        if request.url.path.rstrip("/") in ROUTES:
            return _error(405, "method_not_allowed", "Events are sent with POST.")
        return _error(error.status_code, "not_found", f"There is nothing at {request.url.path} of the ingest gateway.")

    return app


async def _known(callers: Callers, keys: Sequence[str], request: Request) -> Source | None:
    """The source; while it cannot be looked up, one that lets SDKs load: without settings they would send nothing.

    Raises CallRefused for who asks too often.
    """
    try:
        peer = request.client.host if request.client else ""
        return await callers.source(keys, peer, request.headers.get("x-forwarded-for", "").encode("latin-1"))
    except CallRefused as error:
        if error.refusal is SOURCES_UNAVAILABLE:
            return _UNKNOWN_FOR_NOW
        raise


def _reached_at(request: Request, site: Site) -> tuple[str, str]:
    scheme = request.headers.get("x-forwarded-proto", request.url.scheme).partition(",")[0].strip()
    return site.public_host or request.headers.get("host", "localhost"), scheme


def _document(request: Request, source: Source, content: Mapping[str, Any]) -> Response:
    """To be kept for a while, unless it is only a guess: a source that needs consent says so in its own."""
    body = encode(content)
    tag = f'"{blake2b(body, digest_size=12).hexdigest()}"'
    kept = "no-store" if source is _UNKNOWN_FOR_NOW else _CACHED
    headers = {"etag": tag, "cache-control": kept, "vary": "Host", **_ANY_ORIGIN}
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers=headers)
    return Response(body, media_type="application/json", headers=headers)


def _script(site: Site, name: str) -> Response:
    """A file of the browser library's ``dist/umd`` folder, and of that folder alone."""
    path = site.scripts / name if site.scripts is not None else None
    if path is None or "/" in name or not path.is_file():
        hint = "Set CDP_INGEST_SCRIPTS_DIR to the dist/umd folder of @segment/analytics-next."
        return _error(404, "script_missing", f"There is no script {name!r}. {hint}")
    headers = {"cache-control": "public, max-age=3600", **_ANY_ORIGIN}
    return FileResponse(path, media_type="text/javascript", headers=headers)


def _error(status: int, code: str, message: str) -> Response:
    return Response(encode(error_body(code, message)), status, _ANY_ORIGIN, "application/json")
