"""Alembic's environment: one transaction for the front door's role and all revisions, under an advisory lock."""

from functools import partial
from typing import Any

import psycopg
from alembic import context
from sqlalchemy import create_engine, text

from cdp_runtime.row_security import ENSURE_ROLE

_LOCK = 7_310_001
url = context.config.attributes["url"]

DIALECT = "postgresql+psycopg://"

if context.is_offline_mode():
    with psycopg.connect(url) as there:
        known = there.execute("SELECT to_regclass('cdp_migrations')").fetchone() != (None,)
        heads = [head for (head,) in there.execute("SELECT version_num FROM cdp_migrations")] if known else None
    # each service is a branch, so there are several; Alembic takes a list, and says that it takes one
    begin: Any = heads
    context.configure(url=DIALECT, literal_binds=True, version_table="cdp_migrations", starting_rev=begin)
    with context.begin_transaction():
        context.execute(ENSURE_ROLE)
        context.run_migrations()
else:
    # connected by psycopg, as services are: SQLAlchemy knows one of the forms that an address may have
    engine = create_engine(DIALECT, creator=partial(psycopg.connect, url))
    with engine.begin() as connection:
        # another migration is waited for, however long it takes; whoever uses the tables is not kept waiting
        connection.execute(text(f"SELECT pg_advisory_xact_lock({_LOCK})"))
        connection.execute(text("SET LOCAL lock_timeout = '10s'"))
        connection.exec_driver_sql(ENSURE_ROLE)
        context.configure(connection=connection, version_table="cdp_migrations")
        context.run_migrations()
    engine.dispose()
