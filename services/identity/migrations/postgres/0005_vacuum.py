"""The space of the few rows that each batch replaces, one with a long value, is used again at once."""

from typing import Final

from alembic import op

from cdp_runtime.vacuuming import IS_CHANGED, TURNS_OVER, unvacuum, vacuum

revision = "identity_0005"
down_revision = "identity_0004"
branch_labels = None
depends_on = None

_TURN_OVER: Final = (
    "identity.partitions",
    "identity.recorder_partitions",
    "identity.recorder_intents",
    "identity.messages_other",
)
_CHANGED: Final = ("identity.orders",)


def upgrade() -> None:
    op.execute(vacuum(_TURN_OVER, TURNS_OVER))
    op.execute(vacuum(_CHANGED, IS_CHANGED))


def downgrade() -> None:
    op.execute(unvacuum(_CHANGED, IS_CHANGED))
    op.execute(unvacuum(_TURN_OVER, TURNS_OVER))
