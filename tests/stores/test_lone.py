"""When a commit may be made in the server's own thread."""

from __future__ import annotations

from geartrain.stores.lone import ALONE, QUICK, QUICK_SECONDS, Lone


class Scene:
    """Peers that speak, and commits that take their time."""

    def __init__(self) -> None:
        self.heard = 0
        self.lone = Lone(lambda: self.heard)

    def commit(self, words: int = 1, seconds: float = QUICK_SECONDS / 10) -> bool:
        self.heard += words
        allowed = self.lone.commits()
        self.lone.took(seconds)
        return allowed

    def settle(self) -> None:
        for _ in range(max(ALONE, QUICK)):
            self.commit()


def test_first_commits_are_made_elsewhere_and_later_ones_here() -> None:
    scene = Scene()

    allowed = [scene.commit() for _ in range(2 * max(ALONE, QUICK))]

    assert not any(allowed[:QUICK])
    assert all(allowed[max(ALONE, QUICK) :])


def test_another_word_between_two_commits_ends_it_for_some_time() -> None:
    scene = Scene()
    scene.settle()
    assert scene.commit()

    assert not scene.commit(words=2)
    assert [scene.commit() for _ in range(ALONE)] == [False] * (ALONE - 1) + [True]


def test_commit_without_a_word_is_not_the_lone_peers() -> None:
    scene = Scene()
    scene.settle()

    assert not scene.commit(words=0)


def test_slow_commit_is_the_last_until_a_row_of_them_was_quick() -> None:
    scene = Scene()
    scene.settle()

    assert scene.commit(seconds=QUICK_SECONDS)
    assert [scene.commit() for _ in range(QUICK + 1)] == [False] * QUICK + [True]
