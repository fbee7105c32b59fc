"""Identifier -> node id: the one place that says how an identifier becomes the node that events stay with."""

from hashlib import blake2b
from uuid import UUID


def node_id(workspace_id: str, kind: str, value: str) -> UUID:
    """The node of a normalised identifier: 128 bits of BLAKE2b over workspace, kind and value.

    Deterministic, so that two workers that meet a new identifier at once agree without a lock, and a replay after a
    crash gives each event the node it had.
    """
    digest = blake2b(f"{workspace_id}\x1f{kind}\x1f{value}".encode(), digest_size=16).digest()
    return UUID(bytes=digest)
