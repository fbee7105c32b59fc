"""Orders that do not count yet, or no more, are found by their node too: an erasure read all orders for them.

Takes a lock for as long as one look at all orders takes: a few seconds for ten million.
"""

from alembic import op

revision = "identity_0011"
down_revision = "identity_0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # what is only reserved is nobody's yet
    op.execute(
        "CREATE INDEX orders_apart_of_node ON identity.orders (workspace_id, node_id) "
        "WHERE NOT counted AND node_id IS NOT NULL"
    )


def downgrade() -> None:
    op.execute("DROP INDEX identity.orders_apart_of_node")
