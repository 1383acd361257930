"""Shapley values: exact where they can be known, additive everywhere, and near the truth where they are sampled."""

from itertools import permutations

import numpy as np
import pytest

from core.shapley import Worth, coalitions, exact, sampled, shares

PLAYERS = 7
RNG = np.random.default_rng(3)
WEIGHTS = RNG.normal(size=PLAYERS)
PAIRS = RNG.normal(size=(PLAYERS, PLAYERS))


def linear(members: np.ndarray) -> np.ndarray:
    return 0.5 + members @ WEIGHTS


def pairwise(members: np.ndarray) -> np.ndarray:
    return linear(members) + np.einsum("ni,ij,nj->n", members, PAIRS, members)


def tangled(members: np.ndarray) -> np.ndarray:
    """All of them depend on one another, as in the probability of a classifier."""
    return 1 / (1 + np.exp(-3 * pairwise(members)))


def by_every_order(worth: Worth, players: int) -> np.ndarray:
    """The definition, step by step."""
    gains = np.zeros(players)
    orders = list(permutations(range(players)))
    for order in orders:
        member = np.zeros((1, players), bool)
        for player in order:
            before = worth(member)[0]
            member[0, player] = True
            gains[player] += worth(member)[0] - before
    return gains / len(orders)


def test_the_exact_values_are_those_of_the_definition() -> None:
    assert exact(tangled, PLAYERS).values == pytest.approx(by_every_order(tangled, PLAYERS), abs=1e-12)


@pytest.mark.parametrize("how", [lambda w: exact(w, PLAYERS), lambda w: sampled(w, PLAYERS, 1)])
def test_of_a_linear_game_every_player_has_its_weight(how: object) -> None:
    found = how(linear)  # type: ignore[operator]
    assert found.values == pytest.approx(WEIGHTS, abs=1e-12)
    assert found.baseline == 0.5


def test_one_pair_of_orders_is_exact_where_players_depend_on_one_another_by_twos() -> None:
    assert sampled(pairwise, PLAYERS, 1).values == pytest.approx(exact(pairwise, PLAYERS).values, abs=1e-12)


@pytest.mark.parametrize("pairs", [1, 3, 50])
def test_the_sum_is_what_all_are_worth_less_the_baseline(pairs: int) -> None:
    everybody, nobody = tangled(np.array([[True] * PLAYERS, [False] * PLAYERS]))
    found = sampled(tangled, PLAYERS, pairs)
    assert found.baseline == nobody
    assert found.baseline + found.values.sum() == pytest.approx(everybody, abs=1e-12)


@pytest.mark.parametrize("players", [3, 10])
def test_more_orders_come_nearer_to_the_truth(players: int) -> None:
    weights = np.random.default_rng(players).normal(size=players) / 2

    def worth(members: np.ndarray) -> np.ndarray:
        return np.exp(members @ weights)

    truth = exact(worth, players).values
    off = [np.abs(sampled(worth, players, pairs).values - truth).max() for pairs in (2, 2000)]
    assert off[1] < off[0] or off[0] < 1e-12
    assert off[1] < 0.02 * np.abs(truth).max()


def test_players_that_do_the_same_get_the_same() -> None:
    """In the exact values; in sampled ones nearly."""

    def worth(members: np.ndarray) -> np.ndarray:
        return np.sqrt(members[:, :2].sum(axis=1)) + members[:, 2]

    assert exact(worth, 4).values == pytest.approx([np.sqrt(2) / 2, np.sqrt(2) / 2, 1, 0], abs=1e-12)
    assert sampled(worth, 4, 500).values == pytest.approx([np.sqrt(2) / 2, np.sqrt(2) / 2, 1, 0], abs=0.02)


def test_one_who_changes_nothing_gets_nothing() -> None:
    assert sampled(lambda members: np.exp(members @ [2, -1, 0, 0, 0]), 5, 5).values[2:].tolist() == [0, 0, 0]


def test_the_same_question_has_the_same_answer() -> None:
    assert np.array_equal(sampled(tangled, PLAYERS, 4).values, sampled(tangled, PLAYERS, 4).values)


@pytest.mark.parametrize(("players", "asked"), [(0, 1), (1, 2), (5, 32), (24, 232)])
def test_it_asks_once_and_exactly_where_that_is_no_more(players: int, asked: int) -> None:
    calls: list[int] = []

    def worth(members: np.ndarray) -> np.ndarray:
        calls.append(len(members))
        return members.sum(axis=1) / 2

    found = shares(worth, players, 5)
    assert calls == [asked]
    assert asked <= coalitions(players, 5)
    assert found.values == pytest.approx([0.5] * players)
