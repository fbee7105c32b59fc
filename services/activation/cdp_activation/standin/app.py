"""The stand-in for the marketing platforms, as an app and as the process ``cdp run-local platforms``."""

from pathlib import Path
from typing import Final

import uvicorn
from fastapi import FastAPI
from fastapi.responses import HTMLResponse

from cdp_activation.settings import StandinSettings
from cdp_activation.standin import control, meta, receiver
from cdp_activation.standin.page import page
from cdp_activation.standin.state import State
from cdp_activation.standin.trouble import Troubles
from cdp_runtime import logs
from cdp_runtime.settings import load

# known to everybody, like every credential of the local stack
ACCESS_TOKEN: Final = "standin-access-token"
WEBHOOK_SECRET: Final = "whsec_c3RhbmQtaW4tbG9jYWwtb25seS1zZWNyZXQtMzI="


def create_app(path: Path) -> FastAPI:
    """The app over one file of state."""
    state, troubles = State(path), Troubles()
    app = FastAPI(title="Stand-in for the marketing platforms", version="1")
    app.state.state, app.state.troubles = state, troubles

    @app.get("/", response_class=HTMLResponse, include_in_schema=False)
    async def index() -> str:
        return page(state)

    app.include_router(control.router(state, troubles))
    app.include_router(receiver.router(state, troubles, WEBHOOK_SECRET))
    app.include_router(meta.router(state, troubles, frozenset({ACCESS_TOKEN})))
    return app


def main() -> int:
    """Serves until SIGTERM; entry point of ``cdp.local_processes``."""
    settings = load(StandinSettings)
    logs.configure(settings.log_level, settings.log_format, "platforms")
    app = create_app(settings.data_dir / "standin" / "state.sqlite")
    uvicorn.run(app, host=settings.standin_host, port=settings.standin_port, log_config=None, access_log=False)
    return 0
