"""What Postgres knows of the large tables is made anew when they have doubled, and not ten times on the way."""

from typing import Final

from alembic import op

from cdp_runtime.vacuuming import KNOWN_LONGER, unvacuum, vacuum

revision = "identity_0008"
down_revision = "identity_0007"
branch_labels = None
depends_on = None

_TABLES: Final = tuple(f"identity.{name}" for name in ("nodes", "links", "profiles", "orders", "consents"))


def upgrade() -> None:
    op.execute(vacuum(_TABLES, KNOWN_LONGER))


def downgrade() -> None:
    op.execute(unvacuum(_TABLES, KNOWN_LONGER))
