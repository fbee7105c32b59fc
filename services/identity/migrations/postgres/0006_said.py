"""What is said of a profile, traits and consent, is in one index: a search over both meets only whom both let pass.

Two indexes were each read whole, and the profiles that one of them had left were fetched to be asked by the other.
Takes a lock for as long as the index takes to build: about a second for a million profiles.
"""

from alembic import op

revision = "identity_0006"
down_revision = "identity_0005"
branch_labels = None
depends_on = None

_TOGETHER = """
CREATE INDEX profiles_said ON identity.profiles USING gin (traits jsonb_path_ops, consent jsonb_path_ops);
DROP INDEX identity.profiles_traits, identity.profiles_consent;
"""
_APART = """
CREATE INDEX profiles_traits ON identity.profiles USING gin (traits jsonb_path_ops);
CREATE INDEX profiles_consent ON identity.profiles USING gin (consent jsonb_path_ops);
DROP INDEX identity.profiles_said;
"""


def upgrade() -> None:
    op.execute(_TOGETHER)


def downgrade() -> None:
    op.execute(_APART)
