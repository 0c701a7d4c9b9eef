"""Who guesses keys waits longer and longer; nobody else waits."""

import pytest

from telecine.api.attempts import FREE, WAITING, Attempts
from telecine.errors import AuthError, LimitReached

KEY = [(b"authorization", b"Key x:y")]


class World:
    """An application that refuses every key but `good`, and a clock that sleeping moves."""

    def __init__(self):
        self.now = 1000.0
        self.slept = []
        self.statuses = []
        self.good = b"Key good:one"
        self.attempts = Attempts(self._app, clock=lambda: self.now, sleep=self._sleep)

    async def _sleep(self, seconds):
        self.slept.append(seconds)

    async def _app(self, scope, receive, send):
        if dict(scope["headers"]).get(b"authorization") == self.good:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            return
        if scope.get("answers"):
            await send({"type": "http.response.start", "status": 401, "headers": []})
            return
        raise AuthError("no")

    async def call(self, headers=KEY, *, host="10.0.0.1", answers=False):
        async def send(message):
            self.statuses.append(message["status"])

        scope = {
            "type": "http",
            "method": "POST",
            "path": "/x",
            "headers": headers,
            "client": (host, 1),
            "answers": answers,
        }
        await self.attempts(scope, None, send)

    async def refused(self, number, **more):
        for _ in range(number):
            with pytest.raises(AuthError):
                await self.call(**more)


def test_the_first_refusals_cost_nothing_and_then_each_more(run):
    world = World()
    run(world.refused(FREE + 4))
    assert world.slept == [0.1, 0.2, 0.4, 0.8, 1.6]


def test_no_refusal_costs_more_than_some_seconds(run):
    world = World()
    run(world.refused(FREE + 100))
    assert world.slept[-1] == 5.0


def test_a_refusal_that_is_an_answer_counts_too(run):
    async def main():
        world = World()
        for _ in range(FREE):
            await world.call(answers=True)
        return world

    world = run(main())
    assert world.slept == [0.1]
    assert world.statuses == [401] * FREE


def test_a_good_key_never_waits_whoever_shares_its_address(run):
    async def main():
        world = World()
        await world.refused(FREE + 5)
        slept = len(world.slept)
        await world.call([(b"authorization", world.good)])
        assert len(world.slept) == slept

    run(main())


def test_a_call_without_a_key_is_no_guess(run):
    world = World()
    run(world.refused(FREE + 5, headers=[]))
    assert world.slept == []


def test_other_addresses_do_not_pay(run):
    async def main():
        world = World()
        await world.refused(FREE + 5)
        slept = len(world.slept)
        await world.refused(1, host="10.0.0.2")
        assert len(world.slept) == slept

    run(main())


def test_it_is_forgotten_after_a_while(run):
    async def main():
        world = World()
        await world.refused(FREE + 5)
        slept = len(world.slept)
        world.now += 301
        await world.refused(1)
        assert len(world.slept) == slept

    run(main())


def test_too_many_at_once_are_told_to_come_back(run):
    async def main():
        world = World()
        await world.refused(FREE)
        world.attempts._addresses["10.0.0.1"].waiting = WAITING
        with pytest.raises(LimitReached) as caught:
            await world.call()
        assert caught.value.retry_after_seconds > 0

    run(main())


def test_memory_is_bounded(run):
    async def main():
        world = World()
        for number in range(10_050):
            await world.refused(1, host=str(number))
        assert len(world.attempts._addresses) == 10_000

    run(main())
