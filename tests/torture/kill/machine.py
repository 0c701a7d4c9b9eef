"""The stateful model: any series of lives, each with its work, its trouble and its end."""

from itertools import count
from pathlib import Path

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule
from tests.torture.kill.nodes import Zygote
from tests.torture.kill.world import ACTIONS, Figures, Outside, World

work = st.lists(st.sampled_from(ACTIONS), min_size=4, max_size=8)
_ANY = [
    *({}, {}, {}),
    *({"clock": 3600.0}, {"clock": 100_000.0}),
    {"locked": 1.0},
    *({"full": 5}, {"full": 30}),
]
_OF_NODES = [{"both": True}]
_OF_A_SERVER = [{"gone": 0.5}, {"frozen": 1.0}]


def reached(folder: Path, zygote: Zygote, outside: Outside, database_url=None) -> dict[str, int]:
    """How often each point comes in a life in which everything is done and nobody is killed."""
    world = World(folder, zygote, outside, database_url=database_url)
    world.live(ACTIONS * 2, tally=str(folder / "tally"))
    world.end()
    lines = (folder / "tally").read_text().splitlines()
    return {name: int(number) for name, _, number in (line.rpartition(" ") for line in lines)}


def machine(
    folder: Path,
    zygote: Zygote,
    outside: Outside,
    points: dict[str, int],
    *,
    fresh_url=None,
    server=None,
) -> tuple[type[RuleBasedStateMachine], list[Figures]]:
    """The machine, and the figures of every series that it ran. `fresh_url()`: an empty PostgreSQL
    database for each series, on `server` if that is ours; None: SQLite."""
    # The points were counted in a life with more to do than those that follow; of two nodes each
    # does half.
    share = 8 if fresh_url else 4
    kills = st.one_of(
        *(
            st.tuples(st.just(name), st.integers(1, max(1, most // share)))
            for name, most in points.items()
        )
    )
    troubles = [*_ANY, *(_OF_NODES if fresh_url else ()), *(_OF_A_SERVER if server else ())]
    numbers, ran = count(), []

    class Lives(RuleBasedStateMachine):
        def __init__(self):
            super().__init__()
            self.world = World(
                folder / f"world-{next(numbers)}",
                zygote,
                outside,
                database_url=fresh_url() if fresh_url else None,
                server=server,
            )
            ran.append(self.world.figures)

        @rule(work=work, kill=kills, trouble=st.sampled_from(troubles))
        def live(self, work, kill, trouble):
            self.world.live(work, kill=kill, **trouble)

        def teardown(self):
            try:
                self.world.settle()
                self.world.check()
            finally:
                self.world.end()

    return Lives, ran


def added(ran: list[Figures]) -> Figures:
    total = Figures()
    for each in ran:
        for name, value in vars(each).items():
            setattr(total, name, getattr(total, name) + value)
    return total
