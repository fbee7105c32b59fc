"""The space of what is asked and told is used again at once, that of memberships before a fifth of them is dead."""

from typing import Final

from alembic import op

from cdp_runtime.vacuuming import IS_CHANGED, TURNS_OVER, unvacuum, vacuum

revision = "segmenter_0004"
down_revision = "segmenter_0003"
branch_labels = None
depends_on = None

_TURN_OVER: Final = ("segmenter.outbox", "segmenter.requests")
_CHANGED: Final = ("segmenter.memberships", "segmenter.moments")


def upgrade() -> None:
    op.execute(vacuum(_TURN_OVER, TURNS_OVER))
    op.execute(vacuum(_CHANGED, IS_CHANGED))


def downgrade() -> None:
    op.execute(unvacuum(_CHANGED, IS_CHANGED))
    op.execute(unvacuum(_TURN_OVER, TURNS_OVER))
