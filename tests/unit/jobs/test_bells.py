from telecine.jobs.bells import Bell, Bells


def test_a_bell_that_was_rung_before_is_heard_once(run):
    async def work():
        bell = Bell()
        bell.ring()
        bell.ring()
        assert await bell.heard(0)
        assert not await bell.heard(0)

    run(work())


def test_every_listener_of_a_request_hears_it_and_no_other(run):
    async def work():
        bells = Bells()
        with bells.listen("a") as one, bells.listen("a") as two, bells.listen("b") as other:
            bells.ring(["a"])
            assert await one.heard(0)
            assert await two.heard(0)
            assert not await other.heard(0)

    run(work())


def test_nothing_stays_behind_when_nobody_listens():
    bells = Bells()
    with bells.listen("a"), bells.listen("a"):
        pass
    bells.ring(["a", "b"])
    assert not bells._bells
