import errno

import aiohttp
import pytest

from telecine.errors import ProviderUnavailable
from telecine.providers.exchange import Exchange, Listing


class Server:
    def __init__(self):
        self.asked = 0
        self.is_up = True

    async def models(self):
        self.asked += 1
        if not self.is_up:
            raise ProviderUnavailable("down")
        return self.asked


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def server():
    return Server()


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def listing(server, clock):
    return Listing(server.models, clock=clock)


def test_a_list_is_kept_for_five_minutes(run, clock, listing):
    assert run(listing.get()) == 1
    clock.now = 299
    assert run(listing.get()) == 1
    clock.now = 300
    assert run(listing.get()) == 2


def test_a_dead_server_is_asked_once_in_thirty_seconds(run, server, clock, listing):
    server.is_up = False
    for _ in range(3):
        with pytest.raises(ProviderUnavailable):
            run(listing.get())
    assert server.asked == 1
    clock.now = 30
    server.is_up = True
    assert run(listing.get()) == 2


def test_the_last_list_serves_while_the_server_is_down(run, server, clock, listing):
    assert run(listing.get_or_last()) == 1
    server.is_up = False
    clock.now = 300
    assert run(listing.get_or_last()) == 1
    with pytest.raises(ProviderUnavailable):
        run(listing.get())


def test_what_was_never_told_is_none(run, server, listing):
    server.is_up = False
    assert run(listing.get_or_last()) is None


@pytest.mark.parametrize("number", [None, errno.ECONNRESET])
def test_what_broke_a_connection_does_not_tell_the_operators_address(number):
    error = aiohttp.ClientOSError(number, "Can not write request body for http://gpu.inside/v1")
    exchange = Exchange("p", client=None, base_url="http://gpu.inside/v1", headers={})
    assert "gpu.inside" not in exchange._reason(error)
