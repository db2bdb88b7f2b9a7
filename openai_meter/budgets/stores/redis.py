"""Budgets in Redis or Valkey, for a fleet. Each step is one script, which the server runs alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from openai_meter.budgets.stores.protocol import (
    SHARE,
    Order,
    Report,
    Row,
    Stage,
    Stored,
    StoreUnavailableError,
    Taken,
    Unused,
)
from openai_meter.core.version import install_command
from openai_meter.errors import MissingExtraError

__all__ = ["RedisStore"]

_SPACE = "openai_meter:{budgets}:"
"""Before all keys. The braces keep them in one slot of a cluster."""

# Numbers of Lua are floats, exact up to 2^53: $9,007 in pico-dollars. So amounts are pairs of digits in base 1e9.
_NUMBERS = f"""
local BASE = 1e9
local function parse(text)
  text = text or '0'
  local negative = string.sub(text, 1, 1) == '-'
  if negative then text = string.sub(text, 2) end
  local size, high, low = #text, 0, 0
  if size <= 9 then low = tonumber(text) else
    high, low = tonumber(string.sub(text, 1, size - 9)), tonumber(string.sub(text, size - 8))
  end
  if negative then
    high, low = -high, -low
    if low < 0 then high, low = high - 1, low + BASE end
  end
  return {{high, low}}
end
local function add(a, b, sign)
  local high, low = a[1] + sign * b[1], a[2] + sign * b[2]
  if low < 0 then high, low = high - 1, low + BASE elseif low >= BASE then high, low = high + 1, low - BASE end
  return {{high, low}}
end
local function less(a, b) return a[1] < b[1] or (a[1] == b[1] and a[2] < b[2]) end
local function larger(a, b) if less(a, b) then return b else return a end end
local function part(a)
  return {{math.floor(a[1] / {SHARE}), math.floor(((a[1] % {SHARE}) * BASE + a[2]) / {SHARE})}}
end
local function text(a)
  local high, low, sign = a[1], a[2], ''
  if high < 0 then
    sign = '-'
    if low > 0 then high, low = -(high + 1), BASE - low else high = -high end
  end
  if high == 0 then return sign .. string.format('%d', low) end
  return sign .. string.format('%d%09d', high, low)
end
local function read(key) local row = redis.call('HMGET', key, 's', 'g') return parse(row[1]), parse(row[2]) end
local space = '{_SPACE}'
local function beat(owner)
  local now = redis.call('TIME')
  redis.call('ZADD', space .. 'owners', now[1] .. '.' .. string.format('%06d', tonumber(now[2])), owner)
end
"""
_TAKE = """
local answer, gives, fits = {}, {}, true
for n = 1, #KEYS do
  local at = 1 + (n - 1) * 4
  local spent, granted = read(KEYS[n])
  local free = add(add(parse(ARGV[at + 1]), spent, -1), granted, -1)
  local want, least = parse(ARGV[at + 2]), parse(ARGV[at + 3])
  if less(free, least) then fits = false else
    local give = larger(least, part(free))
    if less(want, give) then give = want end
    gives[n] = give
  end
end
for n = 1, #KEYS do
  local spent, granted = read(KEYS[n])
  local give = '0'
  if fits then
    granted = add(granted, gives[n], 1)
    give = text(gives[n])
    local ends = ARGV[1 + (n - 1) * 4 + 4]
    redis.call('HSET', KEYS[n], 's', text(spent), 'g', text(granted), 'l', ARGV[1 + (n - 1) * 4 + 1], 'e', ends)
    if ends ~= '' then redis.call('EXPIREAT', KEYS[n], ends) end
    local slices = space .. 'slices:' .. ARGV[1]
    redis.call('HSET', slices, KEYS[n], text(add(parse(redis.call('HGET', slices, KEYS[n]) or '0'), gives[n], 1)))
  end
  answer[#answer + 1] = text(spent)
  answer[#answer + 1] = text(granted)
  answer[#answer + 1] = give
end
if fits then beat(ARGV[1]) end
table.insert(answer, 1, fits and '1' or '0')
return answer
"""
_REPORT = """
local numbers, slices = space .. 'numbers', space .. 'slices:' .. ARGV[1]
local again = tonumber(ARGV[2]) <= tonumber(redis.call('HGET', numbers, ARGV[1]) or '0')
if not again then redis.call('HSET', numbers, ARGV[1], ARGV[2]) end
beat(ARGV[1])
local answer = {}
for n = 1, #KEYS do
  local at = 2 + (n - 1) * 3
  local spent, granted = read(KEYS[n])
  if not again then spent = add(spent, parse(ARGV[at + 1]), 1) end
  spent = larger(spent, parse(ARGV[at + 3]))
  local now = parse(ARGV[at + 2])
  granted = add(granted, add(now, parse(redis.call('HGET', slices, KEYS[n]) or '0'), -1), 1)
  redis.call('HSET', slices, KEYS[n], text(now))
  redis.call('HSET', KEYS[n], 's', text(spent), 'g', text(granted))
  answer[#answer + 1] = text(spent)
  answer[#answer + 1] = text(granted)
end
return answer
"""
_RAISE = """
local spent, granted = read(KEYS[1])
redis.call('HSET', KEYS[1], 's', text(larger(spent, parse(ARGV[1]))), 'g', text(granted))
if ARGV[2] ~= '' then redis.call('EXPIREAT', KEYS[1], ARGV[2]) end
"""
# One owner. The keys and what is unused of each are those that the caller has read before: a slice of another key has
# been taken since, and is charged in full.
_REAP = """
local owner, owners = ARGV[1], space .. 'owners'
local beat_at = redis.call('ZSCORE', owners, owner)
local now = redis.call('TIME')
if not beat_at or tonumber(beat_at) > tonumber(now[1]) + tonumber(now[2]) / 1e6 - tonumber(ARGV[2]) then return 0 end
local back = {}
for n = 3, #ARGV, 2 do back[ARGV[n]] = parse(ARGV[n + 1]) end
local slices = space .. 'slices:' .. owner
local pairs = redis.call('HGETALL', slices)
for n = 1, #pairs, 2 do
  if redis.call('EXISTS', pairs[n]) == 1 then
    local spent, granted = read(pairs[n])
    local slice, none = parse(pairs[n + 1]), {0, 0}
    local unused = back[pairs[n]] or none
    if less(slice, unused) then unused = slice end
    granted = add(granted, slice, -1)
    local charged = add(larger(slice, none), larger(unused, none), -1)
    redis.call('HSET', pairs[n], 's', text(add(spent, charged, 1)), 'g', text(granted))
  end
end
redis.call('DEL', slices)
redis.call('ZREM', owners, owner)
redis.call('HDEL', space .. 'numbers', owner)
return 1
"""
_ANNOUNCE = """
local key = space .. 'stage:' .. ARGV[1]
local old = redis.call('HMGET', key, 'l', 'a')
if old[1] == ARGV[2] and tonumber(old[2]) >= tonumber(ARGV[3]) then return 0 end
redis.call('HSET', key, 'l', ARGV[2], 'a', ARGV[3])
if ARGV[4] ~= '' then redis.call('EXPIREAT', key, ARGV[4]) end
return 1
"""


class RedisStore:
    """A store in Redis or Valkey.

    Args:
        url: ``redis://``, ``rediss://`` or ``valkey://``.

    Raises:
        MissingExtraError: the package redis is not installed.
    """

    def __init__(self, url: str) -> None:
        try:
            import redis  # noqa: PLC0415 - an extra
        except ImportError:
            raise MissingExtraError(
                f"a budget store in Redis needs the package redis; install it with: {install_command('redis')}"
            ) from None
        self._errors: tuple[type[Exception], ...] = (redis.RedisError, OSError)
        client = redis.Redis.from_url(
            url.replace("valkey", "redis", 1) if url.startswith("valkey") else url,
            socket_timeout=10, socket_connect_timeout=10, decode_responses=True,
        )  # fmt: skip
        self._client: Any = client
        self._take, self._report, self._raise, self._reap, self._announce = (
            client.register_script(_NUMBERS + script) for script in (_TAKE, _REPORT, _RAISE, _REAP, _ANNOUNCE)
        )

    def _run(self, script: Callable[..., Any], keys: Sequence[str], *arguments: object) -> Any:
        try:
            return script(keys=[f"{_SPACE}{key}" for key in keys], args=list(arguments))
        except self._errors as error:
            raise StoreUnavailableError(type(error).__name__) from error

    def take(self, owner: str, orders: Sequence[Order]) -> Taken:
        """Gives slices, or none."""
        values = [value for order in orders for value in (order.limit, order.want, order.least, _end(order.ends_at))]
        fits, *found = self._run(self._take, [order.key for order in orders], owner, *values)
        numbers = list(map(int, found))
        rows = tuple(Row(*numbers[at : at + 2]) for at in range(0, len(numbers), 3))
        return Taken(tuple(numbers[2::3]) if fits == "1" else None, rows)

    def report(self, owner: str, number: int, reports: Sequence[Report]) -> tuple[Row, ...]:
        """Counts what was spent."""
        values = [value for report in reports for value in (report.spent, report.granted, report.known)]
        found = list(map(int, self._run(self._report, [report.key for report in reports], owner, number, *values)))
        return tuple(Row(*found[at : at + 2]) for at in range(0, len(found), 2))

    def read(self, keys: Sequence[str]) -> tuple[Row, ...]:
        """The counters."""
        try:
            found = [self._client.hmget(f"{_SPACE}{key}", "s", "g") for key in keys]
        except self._errors as error:
            raise StoreUnavailableError(type(error).__name__) from error
        return tuple(Row(*(int(value or 0) for value in row)) for row in found)

    def stored(self) -> tuple[Stored, ...]:
        """All rows; not of one moment."""
        try:
            names = self._client.scan_iter(f"{_SPACE}*|*", count=1_000)
            keys = sorted(name for name in names if not name.startswith(f"{_SPACE}stage:"))
            found = [(key, self._client.hmget(key, "l", "s", "g", "e")) for key in keys]
        except self._errors as error:
            raise StoreUnavailableError(type(error).__name__) from error
        return tuple(
            Stored(key.removeprefix(_SPACE), int(limit or 0), int(spent or 0), int(granted or 0), _ended(end))
            for key, (limit, spent, granted, end) in found
        )

    def raise_to(self, key: str, spent: int, ends_at: float = float("inf")) -> None:
        """Counts at least so much."""
        self._run(self._raise, [key], spent, _end(ends_at))

    def announce(self, stage: Stage) -> bool:
        """Whether it is the first time."""
        return bool(self._run(self._announce, [], stage.key, stage.limit, stage.stage, _end(stage.ends_at)))

    def reap(self, seconds: float, unused: Mapping[str, Unused] | None = None) -> tuple[str, ...]:
        """Charges what dead owners have, one owner in each step."""
        try:
            seconds_now, micros = self._client.time()
            found = self._client.zrangebyscore(f"{_SPACE}owners", "-inf", seconds_now + micros / 1e6 - seconds)
            dead = [owner for owner in found if unused is None or owner in unused]
            keys = {owner: self._client.hkeys(f"{_SPACE}slices:{owner}") for owner in dead if unused is not None}
        except self._errors as error:
            raise StoreUnavailableError(type(error).__name__) from error
        reaped = []
        for owner in dead:
            back: list[object] = []
            for key in keys.get(owner, ()):
                back += (key, unused[owner](key.removeprefix(_SPACE)) if unused is not None else 0)
            if self._run(self._reap, [], owner, seconds, *back):
                reaped.append(owner)
        return tuple(reaped)

    def close(self) -> None:
        """Closes the connections."""
        self._client.close()


def _ended(end: str | None) -> float:
    return int(end) - 172_800 if end else float("inf")


def _end(ends_at: float) -> str:
    """When a row is removed: two days after its window."""
    return "" if math.isinf(ends_at) else str(int(ends_at) + 172_800)
