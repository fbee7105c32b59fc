"""Two workspaces of one running stack, each with a canary of its own in every field."""

import pytest

from tests.millrace import Millrace
from tests.security.tenants import Tenant, filled


@pytest.fixture(scope="session")
def tenants(millrace: Millrace) -> tuple[Tenant, Tenant]:
    """Ada's and Bob's workspaces, with a profile, a segment, an audience at the stand-in and the rest."""
    return filled(millrace, "ada"), filled(millrace, "bob")


@pytest.fixture(scope="session")
def eve(millrace: Millrace) -> Tenant:
    """A third workspace, from which the others are attacked: what was tried stays in it."""
    return filled(millrace, "eve")
