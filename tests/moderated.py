"""How a sweep decides, written down a second time, slowly: for the tests to hold the lab to."""

import math

import numpy as np
from scipy import optimize, special, stats


def slow_spreads(table, *, kind="other", num_images=None):
    """Variance and degrees of freedom of each row of values, by the spreads of all rows."""
    floor = 0 if num_images is None else 1 / num_images**2 / 12
    weights = [
        {"accuracy": np.mean(row) * (1 - np.mean(row)), "loss": np.mean(row), "other": 1}[kind]
        for row in table
    ]
    own = [(np.var(row, ddof=1) + floor if len(row) > 1 else None) for row in table]
    known = [(v / w, len(row) - 1) for row, w, v in zip(table, weights, own, strict=True) if v]
    logs = [math.log(z) - special.digamma(df / 2) + math.log(df / 2) for z, df in known]
    chance = np.mean([special.polygamma(1, df / 2) for _, df in known])
    scatter = np.var(logs, ddof=1)
    excess = scatter - chance + math.sqrt(2 / (len(known) - 1)) * max(scatter, chance)
    d0 = 1e6
    if excess > 0.001:
        d0 = 2 * optimize.brentq(lambda y: special.polygamma(1, y) - excess, 1e-6, 1e6)
    typical = math.exp(np.mean(logs) + special.digamma(d0 / 2) - math.log(d0 / 2))
    all_df = sum(df for _, df in known)
    centre = max(typical, sum(z * df for z, df in known) / all_df)
    found = []
    for row, w, v in zip(table, weights, own, strict=True):
        df = len(row) - 1
        common = w * (d0 * centre + df * (v / w if v else 0)) / (d0 + df)
        found.append((max(v or 0, common), min(d0 + df, all_df)))
    return found


def slow_comparisons(groups, *, kind="other", num_images=None, level=0.95):
    """The best with each other one, for groups of the same seeds.

    Returns:
        By the other's name: gain, low, high, Holm's p.
    """
    table = {name: np.array([*row.values()]) for name, row in groups.items()}
    spreads = dict(
        zip(table, slow_spreads([*table.values()], kind=kind, num_images=num_images), strict=True)
    )
    best = max(table, key=lambda name: table[name].mean())
    floor = 0 if num_images is None else 2 / num_images**2 / 12
    tests = {}
    for name in table.keys() - {best}:
        gain = table[best].mean() - table[name].mean()
        parts = [(spreads[x][0] / len(table[x]), spreads[x][1]) for x in (best, name)]
        error = math.sqrt(sum(part for part, _ in parts))
        df = sum(part for part, _ in parts) ** 2 / sum(part**2 / df for part, df in parts)
        ways = [(2 * stats.t.sf(gain / error, df), error, df)]
        if groups[best].keys() == groups[name].keys() and len(groups[best]) > 2:
            apart = table[best] - table[name]
            error = math.sqrt((apart.var(ddof=1) + floor) / len(apart))
            df = len(apart) - 1
            ways.append((2 * stats.t.sf(gain / error, df), error, df))
        tests[name] = (gain, min(ways)[0], ways)
    found, m, stopped, largest = {}, len(tests), None, 0
    for step, (name, (gain, p, ways)) in enumerate(
        sorted(tests.items(), key=lambda item: item[1][1])
    ):
        largest = max(largest, min(1, 2 * p * (m - step)))
        place = stopped or m - step
        if largest >= 1 - level:
            stopped = place
        margin = min(error * stats.t.isf((1 - level) / place / 4, df) for _, error, df in ways)
        found[name] = (gain, gain - margin, gain + margin, largest)
    return found
