"""What Postgres knows of memberships is made anew when they have doubled, and leaves out what no search asks for."""

from typing import Final

from alembic import op

from cdp_runtime.vacuuming import KNOWN_LONGER, unvacuum, vacuum

revision = "segmenter_0008"
down_revision = "segmenter_0007"
branch_labels = None
depends_on = None

_TABLES: Final = ("segmenter.profile_segments",)
_STATISTICS: Final = """
ALTER TABLE segmenter.profile_segments
    ALTER COLUMN sequences SET STATISTICS {0}, ALTER COLUMN changed_ms SET STATISTICS {0}
"""


def upgrade() -> None:
    op.execute(vacuum(_TABLES, KNOWN_LONGER))
    op.execute(_STATISTICS.format("0"))


def downgrade() -> None:
    op.execute(_STATISTICS.format("DEFAULT"))
    op.execute(unvacuum(_TABLES, KNOWN_LONGER))
