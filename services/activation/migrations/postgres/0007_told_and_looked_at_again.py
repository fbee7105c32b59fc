"""The newest version told of each profile, for members that come later; when a connection is to be looked at anew."""

from typing import Final

from alembic import op

from cdp_runtime.row_security import protect
from cdp_runtime.vacuuming import IS_CHANGED, vacuum

revision = "activation_0007"
down_revision = "activation_0006"
branch_labels = None
depends_on = None

# a message about a profile may overtake the one that makes it a member; told_on changes once a day at most, and is in
# no index, so that a row is changed in place
_TOLD: Final = """
CREATE TABLE activation.told_versions (
    workspace_id text NOT NULL,
    profile_id uuid NOT NULL,
    version bigint NOT NULL,
    told_on date NOT NULL DEFAULT current_date,
    PRIMARY KEY (workspace_id, profile_id)
) WITH (fillfactor = 80);
"""


def upgrade() -> None:
    op.execute(_TOLD + protect({"activation.told_versions": ""}))
    op.execute(vacuum(("activation.told_versions",), IS_CHANGED))
    op.execute("ALTER TABLE activation.connections ADD COLUMN recheck_at timestamptz")


def downgrade() -> None:
    op.execute("ALTER TABLE activation.connections DROP COLUMN recheck_at")
    op.execute("DROP TABLE activation.told_versions")
