import pytest
from tests.fakes.gateway import serving


@pytest.fixture
def serve(run, tmp_path, database_url):
    """Run a test's coroutine function against a server whose clock stands at AT, on each database."""
    return serving(run, tmp_path, database_url)
