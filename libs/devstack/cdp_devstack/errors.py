"""What can stop the local stack, each as one sentence that says what to do about it."""

from __future__ import annotations


class StackError(Exception):
    """One sentence for the person at the terminal: what is wrong and what to do. Never shown with a traceback."""


class PartUnavailable(StackError):
    """A part cannot run on this machine at all (Java, Maven or a binary is missing); tests skip on it."""
