"""Shapley values: how much each feature moved one prediction away from that of a typical row. Numpy only.

A game has players 0 … k - 1 (the features) and a `worth`: coalitions, bool, shape (n, k), to what the model says when
the members have the row's value and the others the typical one, shape (n,). It is called once, with all that is needed.
What the model is, and which row is typical, is the caller's business.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import factorial

import numpy as np

Worth = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Shares:
    """baseline + values.sum() is the worth of everybody, but for the rounding of float64."""

    values: np.ndarray  # of each player, shape (k,)
    baseline: float  # the worth of nobody


def shares(worth: Worth, players: int, pairs: int) -> Shares:
    """Exact where that asks for no more coalitions than the sample would."""
    return exact(worth, players) if 2**players <= coalitions(players, pairs) else sampled(worth, players, pairs)


def coalitions(players: int, pairs: int) -> int:
    """How many of them `sampled` asks for."""
    return 2 * pairs * max(players - 1, 0) + 2


def exact(worth: Worth, players: int) -> Shares:
    """Shapley's own formula (1953), over all 2^k coalitions."""
    number = np.arange(2**players)
    member = (number[:, None] >> np.arange(players)) & 1 == 1
    found, size = np.asarray(worth(member), np.float64), member.sum(axis=1)
    chance = [factorial(s) * factorial(players - s - 1) / factorial(players) for s in range(players)]  # of coming s-th
    values = np.empty(players)
    for player in range(players):
        without = number[~member[:, player]]
        values[player] = np.array(chance)[size[without]] @ (found[without | (1 << player)] - found[without])
    return Shares(values, float(found[0]))


def sampled(worth: Worth, players: int, pairs: int, seed: int = 0) -> Shares:
    """The mean gain when a player comes, over random orders (Castro, Gómez and Tejada 2009; Štrumbelj and Kononenko
    2014) and the same reversed: so it is exact where no more than two players depend on one another."""
    order = np.random.default_rng(seed).permuted(np.tile(np.arange(players), (pairs, 1)), axis=1)
    order = np.concatenate([order, order[:, ::-1]])
    place = np.argsort(order, axis=1)
    inner = place[:, None, :] < np.arange(1, players)[:, None]  # who is there after each step but the last
    ends = np.repeat([[False], [True]], players, axis=1)
    found = np.asarray(worth(np.concatenate([ends, inner.reshape(-1, players)])), np.float64)
    nobody, everybody = np.full((2, len(order), 1), found[:2, None, None])
    walk = np.concatenate([nobody, found[2:].reshape(len(order), -1), everybody], axis=1)
    gains = np.take_along_axis(np.diff(walk, axis=1), place, axis=1)
    return Shares(gains.mean(axis=0), float(found[0]))
