"""Build the bundled samples: `python scripts/build_samples.py OBD_FOLDER [INTO]`.

`OBD_FOLDER` is the Open Bandit Dataset's small version (`{random,bts}/{all,men,women}/`, as in the PyPI package obp
0.4.1). The same inputs give the same rows, hence the same logical digests; the README beside the samples says what
was derived.
"""

import sys
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

SAMPLES: Final = Path(__file__).parent.parent / "ctr_pipeline" / "data" / "samples"
CAMPAIGNS: Final = ("all", "men", "women")
POLICIES: Final = ("random", "bts")
SEED: Final = 20_261_123

type F64 = npt.NDArray[np.float64]
type I64 = npt.NDArray[np.int64]


def open_bandit(folder: Path) -> pa.Table:
    """Join the six logs with their items' features, sorted by time.

    Args:
        folder: holds `{policy}/{campaign}/{campaign}.csv.gz` and `item_context.csv`.

    Returns:
        60,000 rows.
    """
    parts = [_one_log(folder, policy, campaign) for campaign in CAMPAIGNS for policy in POLICIES]
    table = pa.concat_tables(parts)
    # Stable within equal times: the order of the parts, then that of the file.
    order = np.argsort(table["timestamp"].to_numpy(), kind="stable")
    return table.take(pa.array(order)).combine_chunks()


def _one_log(folder: Path, policy: str, campaign: str) -> pa.Table:
    log = pacsv.read_csv(folder / policy / campaign / f"{campaign}.csv.gz")
    items = _items(folder, policy, campaign)
    shown = log["item_id"].to_numpy()
    affinities = np.column_stack([log[f"user-item_affinity_{item}"].to_numpy() for item in range(len(items))])
    columns = {
        "timestamp": log["timestamp"].cast(pa.timestamp("us", tz="UTC")),
        "campaign": _text(campaign, len(log)),
        "policy": _text(policy, len(log)),
        "item_id": pa.array([f"{campaign}-{item}" for item in shown]),
        "position": log["position"].cast(pa.int8()),
        "click": log["click"].cast(pa.int8()),
        "propensity_score": log["propensity_score"],
        **{f"user_feature_{n}": log[f"user_feature_{n}"] for n in range(4)},
        **{f"item_feature_{n}": items[f"item_feature_{n}"].take(pa.array(shown)) for n in range(4)},
        "user_item_affinity": affinities[np.arange(len(log)), shown],
        "user_affinity_total": affinities.sum(axis=1),
    }
    return pa.table(columns)


def _items(folder: Path, policy: str, campaign: str) -> pa.Table:
    """Return the items' features under one labelling: each policy's file hashes them differently."""
    items, own = (
        pacsv.read_csv(folder / name / campaign / "item_context.csv").sort_by("item_id") for name in ("random", policy)
    )
    for n in range(1, 4):
        pairs = set(zip(items[f"item_feature_{n}"].to_pylist(), own[f"item_feature_{n}"].to_pylist(), strict=True))
        if len(pairs) != pc.count_distinct(items[f"item_feature_{n}"]).as_py():
            raise ValueError(
                f"item_feature_{n} of {campaign} is grouped differently by {policy}, must be a relabelling"
            )
    if items["item_feature_0"] != own["item_feature_0"] or items["item_id"] != own["item_id"]:
        raise ValueError(f"items of {campaign} differ between random and {policy}, must be the same")
    return items


def _text(value: str, n_rows: int) -> pa.Array:
    return pa.array([value] * n_rows)


def simulated_users(seed: int = SEED) -> pa.Table:
    """Simulate a log with users: 14 days, about 3,000 users of heavy-tailed activity, requests of several impressions.

    The log-odds of a click are the sum of a base, random effects of user (standard deviation .7), ad (.5), campaign
    (.3), site (.3) and site x campaign (.35), and of device, position, hour, price and basket.

    Args:
        seed: of the one PCG64 generator that everything is drawn from.

    Returns:
        About 40,000 rows, sorted by time; the impressions of one request share their time.
    """
    rng = np.random.Generator(np.random.PCG64(seed))
    requests = _requests(rng, n_requests=10_000)
    group = np.repeat(np.arange(len(requests["time"])), requests["n_impressions"])
    first = np.repeat(np.cumsum(requests["n_impressions"]) - requests["n_impressions"], requests["n_impressions"])
    position = np.arange(len(group)) - first + 1
    ads = _ads(rng, n_ads=150, n_campaigns=30)
    ad = _shown(rng, requests["time"][group], ads)
    rows = {name: values[group] for name, values in requests.items()} | {"group": group, "position": position, "ad": ad}
    rows |= {"campaign": ads["campaign"][ad], "price": ads["price"][ad]}
    rows["click"] = (rng.random(len(group)) < _probability(rng, rows)).astype(np.int64)
    return _log(rng, rows)


def _requests(rng: np.random.Generator, n_requests: int) -> dict[str, I64]:
    activity = rng.pareto(1.2, 5_200) + 0.3
    shares = np.minimum(activity, 120.0) / np.minimum(activity, 120.0).sum()
    by_hour = 1.0 + 0.8 * np.cos((np.arange(24) - 20) * (2 * np.pi / 24))
    hour = rng.choice(24, n_requests, p=by_hour / by_hour.sum())
    micros = rng.integers(0, 3_600_000_000, n_requests)
    day = rng.integers(0, 14, n_requests)
    time = np.sort((day * 24 + hour) * 3_600_000_000 + micros)
    user = rng.choice(len(shares), n_requests, p=shares)
    favourite = rng.integers(0, 12, len(shares))
    return {
        "time": time,
        "hour": time // 3_600_000_000 % 24,
        "user": user,
        "site": np.where(rng.random(n_requests) < 0.6, favourite[user], rng.integers(0, 12, n_requests)),
        "device": rng.choice(3, n_requests, p=[0.62, 0.31, 0.07]),
        "n_impressions": rng.integers(2, 7, n_requests),
        "basket": np.round(rng.gamma(1.5, 2_000.0, n_requests)).astype(np.int64),
    }


def _ads(rng: np.random.Generator, n_ads: int, n_campaigns: int) -> dict[str, Any]:
    day = 24 * 3_600_000_000
    # A third of the ads starts within the fortnight: later days show ads that earlier ones never saw.
    start = np.where(rng.random(n_ads) < 0.35, rng.integers(1, 13, n_ads), 0) * day
    return {
        "start": start,
        "share": rng.pareto(1.5, n_ads) + 0.2,
        "campaign": rng.integers(0, n_campaigns, n_ads),
        "price": np.round(rng.gamma(2.0, 900.0, n_ads) + 100.0),
    }


def _shown(rng: np.random.Generator, time: I64, ads: dict[str, Any]) -> I64:
    shown = np.empty(len(time), dtype=np.int64)
    day = time // (24 * 3_600_000_000)
    for today in range(14):
        rows = np.flatnonzero(day == today)
        live = ads["share"] * (ads["start"] <= today * 24 * 3_600_000_000)
        shown[rows] = rng.choice(len(live), len(rows), p=live / live.sum())
    return shown


def _probability(rng: np.random.Generator, rows: dict[str, I64]) -> F64:
    odds = np.full(len(rows["user"]), -3.1)
    for name, deviation in (("user", 0.7), ("ad", 0.5), ("campaign", 0.3), ("site", 0.3)):
        odds += rng.normal(0.0, deviation, int(rows[name].max()) + 1)[rows[name]]
    odds += rng.normal(0.0, 0.35, 12 * 30)[rows["site"] * 30 + rows["campaign"]]
    odds += np.array([0.0, -0.25, 0.15])[rows["device"]] - 0.22 * (rows["position"] - 1)
    odds += 0.2 * np.cos((rows["hour"] - 21) * (2 * np.pi / 24))
    odds += 0.25 * np.minimum(rows["basket"], 10_000) / 10_000 - 0.3 * np.minimum(rows["price"], 6_000) / 6_000
    return 1.0 / (1.0 + np.exp(-odds))


def _log(rng: np.random.Generator, rows: dict[str, I64]) -> pa.Table:
    n_rows = len(rows["click"])
    start = int(np.datetime64("2026-03-02T00:00:00", "us").astype(np.int64))
    basket_known = rng.random(int(rows["group"].max()) + 1)[rows["group"]] < 0.7
    return pa.table(
        {
            "timestamp": pa.array(rows["time"] + start, type=pa.timestamp("us", tz="UTC")),
            "request_id": _labels("r", 5, rows["group"]),
            "user_id": _labels("u", 4, rows["user"]),
            "site": _labels("site-", 2, rows["site"]),
            "device": pa.array(np.array(["mobile", "desktop", "tablet"])[rows["device"]]),
            "hour": pa.array(rows["hour"].astype(np.int8)),
            "campaign_id": _labels("c", 2, rows["campaign"]),
            "ad_id": _labels("ad-", 3, rows["ad"]),
            "position": pa.array(rows["position"].astype(np.int8)),
            "ad_price": pa.array(rows["price"] / 100.0, mask=rng.random(n_rows) < 0.08),
            "basket_value": pa.array(rows["basket"] / 100.0, mask=~basket_known),
            "click": pa.array(rows["click"].astype(np.int8)),
        }
    )


def _labels(prefix: str, digits: int, numbers: I64) -> pa.Array:
    return pa.array([f"{prefix}{number:0{digits}d}" for number in numbers])


def main(arguments: list[str]) -> int:
    """Write both samples and say how large they are."""
    if not 1 <= len(arguments) <= 2:
        sys.stderr.write("usage: python scripts/build_samples.py OBD_FOLDER [INTO]\n")
        return 2
    into = Path(arguments[1]) if len(arguments) > 1 else SAMPLES
    for name, table in (("open_bandit", open_bandit(Path(arguments[0]))), ("simulated_users", simulated_users())):
        path = into / f"{name}.parquet"
        pq.write_table(table, path, compression="zstd", compression_level=15)
        sys.stdout.write(f"{path.name}: {len(table)} rows, {path.stat().st_size} bytes\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
