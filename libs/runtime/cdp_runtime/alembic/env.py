"""Alembic's environment: one transaction for the front door's role and all revisions, under an advisory lock."""

from alembic import context
from sqlalchemy import create_engine, text

from cdp_runtime.row_security import ENSURE_ROLE

_LOCK = 7_310_001
url = context.config.attributes["url"]

if context.is_offline_mode():
    context.configure(url=url, literal_binds=True, version_table="cdp_migrations")
    with context.begin_transaction():
        context.execute(ENSURE_ROLE)
        context.run_migrations()
else:
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text("SET LOCAL lock_timeout = '10s'"))
        connection.execute(text(f"SELECT pg_advisory_xact_lock({_LOCK})"))
        connection.exec_driver_sql(ENSURE_ROLE)
        context.configure(connection=connection, version_table="cdp_migrations")
        context.run_migrations()
    engine.dispose()
