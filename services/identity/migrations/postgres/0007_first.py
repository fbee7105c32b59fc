"""The first eighth of all ids has indexes of its own: a search in a large workspace finds a page there, and how many.

Ids are hashes, so an eighth of a workspace's profiles is a fair sample of them. The sum in the second index keeps the
planner from the index of all amounts, which costs eight times as much to read.
Takes a lock for as long as the indexes take to build: about a second for a million profiles.
"""

from alembic import op

revision = "identity_0007"
down_revision = "identity_0006"
branch_labels = None
depends_on = None

_FIRST = "profile_id < '20000000-0000-0000-0000-000000000000'"


def upgrade() -> None:
    op.execute(
        "CREATE INDEX profiles_first_said ON identity.profiles "
        f"USING gin (traits jsonb_path_ops, consent jsonb_path_ops) WHERE {_FIRST}"
    )
    op.execute(
        "CREATE INDEX profiles_first_ltv ON identity.profiles (workspace_id, (ltv_minor + 0)) "
        f"WHERE order_count > 0 AND {_FIRST}"
    )


def downgrade() -> None:
    op.execute("DROP INDEX identity.profiles_first_said, identity.profiles_first_ltv")
