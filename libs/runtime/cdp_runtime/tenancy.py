"""Whose request this is: the login says it, and the front door's connections to Postgres show no other workspace."""

from contextvars import ContextVar
from typing import Final

NO_WORKSPACE: Final = ""
_workspace: ContextVar[str] = ContextVar("workspace", default=NO_WORKSPACE)


def enter_workspace(workspace_id: str) -> None:
    """From here on this task, and the tasks that it starts, speak for the workspace."""
    _workspace.set(workspace_id)


def leave_workspace() -> None:
    """Nobody is known. Each request begins so: a server may run one in the context that another left behind."""
    _workspace.set(NO_WORKSPACE)


def present_workspace() -> str:
    """'' while nobody is known."""
    return _workspace.get()
