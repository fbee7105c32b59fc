"""CDP_SECRET_KEY -> BadSettings when it is not the one of this installation, whose fingerprint Postgres keeps."""

from typing import Final

from cdp_runtime.postgres import Connection, Pool
from cdp_runtime.secrets import CannotOpen, SecretBox, fingerprint
from cdp_runtime.settings import BadSettings

_TAKE_TURN: Final = "LOCK TABLE activation.key_fingerprint IN SHARE ROW EXCLUSIVE MODE"
_KEPT: Final = "SELECT fingerprint FROM activation.key_fingerprint"
_KEEP: Final = "INSERT INTO activation.key_fingerprint (fingerprint) VALUES (%s)"
# empty are those that were given up with a key that is lost
_SEALED: Final = """
SELECT workspace_id || '|' || destination_id, credentials FROM activation.destinations
WHERE deleted_at IS NULL AND credentials <> ''
"""
_ANOTHER: Final = (
    "CDP_SECRET_KEY is not the one of this installation. Under another one the credentials of destinations cannot be "
    "opened, members who were sent cannot be taken off again, and the suppression list matches nobody: people who "
    "opted out would be sent again. Put the old key back. If it is lost, "
    '"The secret key is lost" in docs/operations.md says what to give up, and how.'
)


async def require_same_key(pool: Pool, secret_key: str) -> None:
    """For a process that only compares: before the first start of activation any key will do. Raises BadSettings."""
    async with pool.connection() as connection:
        if await _kept(connection) not in (None, fingerprint(secret_key)):
            raise BadSettings(_ANOTHER)


async def keep_key(pool: Pool, secret_key: str) -> None:
    """Keeps the fingerprint of the first key that opens all that is sealed. Raises BadSettings under another one."""
    async with pool.connection() as connection:
        await connection.execute(_TAKE_TURN)
        if await _kept(connection) is None:
            await _open_all(connection, SecretBox(secret_key))
            await connection.execute(_KEEP, [fingerprint(secret_key)])
    await require_same_key(pool, secret_key)


async def _kept(connection: Connection) -> bytes | None:
    row = await (await connection.execute(_KEPT)).fetchone()
    return row and bytes(row[0])


async def _open_all(connection: Connection, box: SecretBox) -> None:
    """Of an installation that is older than the fingerprint."""
    for context, sealed in await (await connection.execute(_SEALED)).fetchall():
        try:
            box.open(bytes(sealed), context)
        except CannotOpen as error:
            raise BadSettings(_ANOTHER) from error
