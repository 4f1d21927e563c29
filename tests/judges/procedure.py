"""Change points by the documented procedure: every sum written out, and SciPy's tests."""

import math

import numpy as np
from scipy import stats

SHORTEST = 3
POSSIBLE = 0.5
LIKELY = 0.05


def energy(x, y):
    """The distance of E-divisive, exponent 1."""
    n, m = len(x), len(y)
    within = lambda v: np.abs(v[:, None] - v[None, :]).sum() / 2
    between = np.abs(x[:, None] - y[None, :]).sum()
    less = 0.0
    less += m / (n - 1) * within(x) if n > 1 else 0
    less += n / (m - 1) * within(y) if m > 1 else 0
    return 2 / (n + m) * (between - less)


def candidate(segment):
    n = len(segment)
    distances = {
        (t, k): energy(segment[:t], segment[t:k]) for t in range(1, n) for k in range(t + 1, n + 1)
    }
    best = max(distances.values())
    # Equal distances are told apart by rounding: the later place is taken.
    place = max(t for (t, k), q in distances.items() if q >= best - 1e-9 * abs(best))
    return min(max(place, SHORTEST), n - SHORTEST)


def by_chance(left, right):
    if np.var(left) == 0 and np.var(right) == 0:
        p = 1.0 if left[0] == right[0] else 0.0
    else:
        p = max(stats.ttest_ind(left, right, equal_var=equal).pvalue for equal in (True, False))
    n = len(left) + len(right)
    z = stats.norm.isf(p / 2)
    places = max(1.5, 1.5 * z / 2.8) * math.sqrt(n) if math.isfinite(z) else 1
    best = 1 - (1 - p) ** places
    return max(best, 1 / math.comb(n, len(left)))


def likeliest(segment):
    """The likeliest place of a point and its probability; nothing of a segment that is too short."""
    if len(segment) < 2 * SHORTEST:
        return None
    place = candidate(segment)
    return place, by_chance(segment[:place], segment[place:])


def split(series, start, end):
    found = likeliest(series[start:end])
    if found is None or found[1] > POSSIBLE:
        return []
    middle = start + found[0]
    return split(series, start, middle) + [middle] + split(series, middle, end)


def points(series):
    """Places and probabilities of the points, and where the stretches between them begin and end."""
    series = np.array(series, dtype=float)
    found = split(series, 0, len(series))
    while found:
        edges = [0, *found, len(series)]
        sides = zip(edges, edges[1:], edges[2:])
        chances = [by_chance(series[a:b], series[b:c]) for a, b, c in sides]
        weakest = max(range(len(found)), key=lambda place: chances[place])
        if chances[weakest] <= LIKELY - 1e-9:
            return [(place, float(p)) for place, p in zip(found, chances)]
        del found[weakest]
    return []


def elsewhere(series, found):
    """Of each stretch that could hold another point, how likely its likeliest place is by chance."""
    series = np.array(series, dtype=float)
    edges = [0, *found, len(series)]
    likely = [likeliest(series[a:b]) for a, b in zip(edges, edges[1:])]
    return [max(p, LIKELY) for _, p in filter(None, likely)]
