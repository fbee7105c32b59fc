"""Changes wait to be told by the batch: a row for each of many was half of what a membership cost.

``segmenter.outbox`` stays, and is told first, while a process of the previous release may still write into it.
"""

from alembic import op

from cdp_runtime.row_security import FRONT_DOOR_ROLE
from cdp_runtime.vacuuming import TURNS_OVER, vacuum

revision = "segmenter_0005"
down_revision = "segmenter_0004"
branch_labels = None
depends_on = None

# messages: MessagePack, an array of pairs of the key and the message, both as they go to the log.
_BATCHES = """
CREATE TABLE segmenter.outbox_batches (
    batch_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    changes integer NOT NULL,
    messages bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
)
"""


def upgrade() -> None:
    op.execute(_BATCHES)
    op.execute(vacuum(["segmenter.outbox_batches"], TURNS_OVER))
    op.execute(f"GRANT INSERT ON segmenter.outbox_batches TO {FRONT_DOOR_ROLE}")


def downgrade() -> None:
    op.execute("DROP TABLE segmenter.outbox_batches")
