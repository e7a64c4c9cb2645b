#!/usr/bin/env python3
"""Writes trades.ndjson and quotes.csv: the same bytes every time.

Trades come up to two seconds out of order; a few lines are bad on purpose, to show what happens to them.
"""

import json
import pathlib
import random

HERE = pathlib.Path(__file__).parent
OPENING = 9.5 * 3600  # 09:30, in seconds of the day
SYMBOLS = {"ACME": 182.40, "GLOBEX": 57.15, "HOOLI": 1240.00, "INITECH": 23.80, "UMBRELLA": 310.00}
WEIGHTS = [5, 3, 1, 4, 2]
VOLUMES = [10, 25, 50, 100, 100, 200, 300, 500, 1000, 2500]

BAD_TRADES = {
    200: '{"symbol": "ACME", "price": "n/a", "volume": 100, "ts": "2026-03-02T09:33:00.000Z"}',
    700: '{"symbol": "INITECH", "price": 23.9, "volu',
}
BAD_QUOTE = (400, "2026-03-02T09:36:00.000Z,ACME,one hundred,182.5")


def timestamp(seconds):
    millis = round(seconds * 1000)
    return "2026-03-02T%02d:%02d:%02d.%03dZ" % (millis // 3_600_000, millis // 60_000 % 60, millis // 1000 % 60, millis % 1000)


def main():
    rng = random.Random(2026)
    prices = dict(SYMBOLS)
    now = OPENING
    trades, quotes = [], []
    while len(trades) < 1200:
        now += rng.expovariate(1.0)
        symbol = rng.choices(list(SYMBOLS), WEIGHTS)[0]
        prices[symbol] *= 1 + rng.gauss(0, 0.0015)
        price = round(prices[symbol], 2)
        spread = max(0.01, round(price * 0.0004, 2))
        quotes.append((now - 0.05, symbol, round(price - spread, 2), round(price + spread, 2)))
        arrival = now + rng.uniform(0, 2.0)
        trades.append((arrival, {"symbol": symbol, "price": price, "volume": rng.choice(VOLUMES), "ts": timestamp(now)}))
    trades.sort(key=lambda trade: trade[0])

    lines = [json.dumps(trade) for _, trade in trades]
    for position, line in BAD_TRADES.items():
        lines.insert(position, line)
    (HERE / "trades.ndjson").write_text("\n".join(lines) + "\n")

    lines = ["ts,symbol,bid,ask"] + ["%s,%s,%.2f,%.2f" % (timestamp(at), *rest) for at, *rest in quotes]
    lines.insert(*BAD_QUOTE)
    (HERE / "quotes.csv").write_text("\n".join(lines) + "\n")


main()
