"""Keys open what they are for, from their creation until they are revoked or have expired."""

import asyncio
import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256

import pytest
from agentmem_client import models as m
from agentmem_client.errors import (
    APIError,
    Forbidden,
    InvalidRequest,
    NotFound,
    Unauthorized,
    Unavailable,
)
from agentmem_server import times
from agentmem_server.access.access import OPERATOR, Access
from agentmem_server.access.callers import Caller
from agentmem_server.access.keyring import Keyring, key_id
from agentmem_server.storage import ApiKey, Outcome, PutKey, RevokeKey, Write

ADMIN_KEY = "the-operators-own-key-of-at-least-32-characters"
TENANT_ADMIN = Access(Caller("acme"), frozenset({"admin"}), "f" * 16)
ABSENT = f"am_{'0' * 16}_{'0' * 64}"


class FakeStore:
    """API keys in a dictionary.

    Attributes:
        reads: the ids that were asked for.
        gate: while cleared, a read that has its answer waits with it.
        failure: raised instead of reading or writing.
    """

    def __init__(self) -> None:
        self.stored: dict[str, ApiKey] = {}
        self.reads: list[str] = []
        self.asked_for_any = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.failure: APIError | None = None

    async def write(self, writes: Sequence[Write]) -> list[Outcome | APIError]:
        return [self._write(write) for write in writes]

    def _write(self, write: Write) -> ApiKey | APIError | None:
        if self.failure is not None:
            return self.failure
        if isinstance(write, PutKey):
            self.stored[write.key.id] = write.key
            return None
        assert isinstance(write, RevokeKey)
        key = self.stored.get(write.id)
        if key is None or write.tenant not in (None, key.tenant):
            return None
        if key.revoked_at is None:
            key = self.stored[key.id] = replace(key, revoked_at=write.at)
        return key

    async def key(self, id: str) -> ApiKey | None:
        self.reads.append(id)
        if self.failure is not None:
            raise self.failure
        found = self.stored.get(id)
        await self.gate.wait()
        return found

    async def keys(self, tenant: str | None) -> list[ApiKey]:
        return [key for key in self.stored.values() if tenant in (None, key.tenant)]

    async def has_keys(self) -> bool:
        self.asked_for_any += 1
        if self.failure is not None:
            raise self.failure
        found = bool(self.stored)
        await self.gate.wait()
        return found


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def store() -> FakeStore:
    return FakeStore()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def keyring(store: FakeStore, clock: Clock) -> Keyring:
    return Keyring(store, ADMIN_KEY, clock=clock)


async def make(keyring: Keyring, **fields: object) -> m.CreatedKey:
    wish = m.KeyInput.model_validate({"name": "n", "tenant": "acme", **fields})
    return await keyring.create(OPERATOR, wish)


async def refused(keyring: Keyring, presented: str | None) -> str:
    with pytest.raises(Unauthorized) as refusal:
        await keyring.authenticate(presented)
    return refusal.value.message


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


# --- What a key opens ------------------------------------------------------------------------


async def test_a_key_opens_what_it_was_made_for(keyring: Keyring) -> None:
    made = await make(keyring, scopes=["read"], user_id="ann", rate_limit=5)
    access = await keyring.authenticate(made.key)
    assert access == Access(Caller("acme", "ann"), frozenset({"read"}), made.id, 5.0)
    assert not access.is_operator


async def test_only_its_digest_is_stored(keyring: Keyring, store: FakeStore) -> None:
    made = await make(keyring)
    assert re.fullmatch(r"am_[0-9a-f]{16}_[0-9a-f]{64}", made.key)
    assert made.key.split("_")[1] == made.id == key_id(made.key)
    stored = store.stored[made.id]
    assert stored.digest == sha256(made.key.encode()).digest()
    assert made.key.split("_")[2] not in repr(stored)


async def test_no_two_keys_are_alike(keyring: Keyring) -> None:
    made = [await make(keyring) for _ in range(100)]
    assert len({key.id for key in made}) == 100
    assert len({key.key[-64:] for key in made}) == 100


async def test_the_operators_key_opens_all_and_is_limited_like_others(keyring: Keyring) -> None:
    access = await keyring.authenticate(ADMIN_KEY)
    assert access.is_operator
    assert access.scopes == {"read", "write", "admin", "metrics"}
    assert access.rate_limit is None
    assert access is not OPERATOR


@pytest.mark.parametrize("presented", [ADMIN_KEY[:-1], ADMIN_KEY + "x", ADMIN_KEY.upper(), ""])
async def test_what_is_nearly_the_operators_key(presented: str, keyring: Keyring) -> None:
    await refused(keyring, presented)


async def test_every_reason_is_refused_in_the_same_words(
    keyring: Keyring, store: FakeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    right, revoked = await make(keyring), await make(keyring)
    expiring = await make(keyring, expires_at=datetime.now(UTC) + timedelta(hours=1))
    await keyring.revoke(OPERATOR, revoked.id)
    assert await keyring.authenticate(expiring.key)
    later = times.now() + 3_600_000_000
    monkeypatch.setattr(times, "now", lambda: later)
    wrong = right.key[:-1] + ("0" if right.key[-1] != "0" else "1")
    said = {
        await refused(keyring, presented)
        for presented in (
            *(wrong, revoked.key, expiring.key, ABSENT, "", "am_", "secret", right.id),
            *(right.key + "0", f" {right.key}", right.key.upper(), right.key + "\n", "é" * 90),
        )
    }
    assert len(said) == 1
    assert "agentmem keys create" in said.pop()
    assert await keyring.authenticate(right.key)


async def test_a_missing_key_is_told_apart(keyring: Keyring) -> None:
    assert "X-API-Key" in await refused(keyring, None)
    assert await refused(keyring, None) != await refused(keyring, ABSENT)


async def test_what_can_be_no_key_never_reaches_the_store(
    keyring: Keyring, store: FakeStore
) -> None:
    for presented in ("", "a", "am_x_y", ABSENT[:-1], ABSENT + "0", "x" * 100_000, "am_' OR 1=1"):
        await refused(keyring, presented)
    assert store.reads == []
    await refused(keyring, ABSENT)
    assert store.reads == ["0" * 16]


async def test_without_keys_all_is_open(store: FakeStore) -> None:
    keyring = Keyring(store)
    for presented in (None, "", "whatever", ABSENT):
        assert await keyring.authenticate(presented) is OPERATOR
    assert not keyring.needs_keys


async def test_from_the_first_key_on_keys_are_needed_for_good(
    store: FakeStore, clock: Clock
) -> None:
    keyring, other = Keyring(store, clock=clock), Keyring(store, clock=clock)
    assert await other.authenticate(None) is OPERATOR
    made = await make(keyring)
    assert keyring.needs_keys
    await refused(keyring, None)
    clock.now += 0.5
    await refused(other, None)
    await keyring.revoke(OPERATOR, made.id)
    clock.now += 10
    for one in (keyring, other, Keyring(store, clock=clock)):
        await refused(one, None)
        await refused(one, made.key)


# --- How long what was found counts ----------------------------------------------------------


async def test_a_key_is_looked_up_twice_a_second_at_most(
    keyring: Keyring, store: FakeStore, clock: Clock
) -> None:
    made = await make(keyring)
    for _ in range(3):
        await asyncio.gather(*(keyring.authenticate(made.key) for _ in range(50)))
    assert store.reads == [made.id]
    clock.now += 0.49
    await keyring.authenticate(made.key)
    assert store.reads == [made.id]
    clock.now += 0.02
    await keyring.authenticate(made.key)
    assert store.reads == [made.id] * 2


async def test_whether_there_are_keys_is_asked_twice_a_second_at_most(
    store: FakeStore, clock: Clock
) -> None:
    keyring = Keyring(store, clock=clock)
    for _ in range(10):
        await keyring.authenticate(None)
    assert store.asked_for_any == 1
    clock.now += 0.5
    await keyring.authenticate(None)
    assert store.asked_for_any == 2


async def test_what_is_revoked_elsewhere_is_out_in_half_a_second(
    keyring: Keyring, store: FakeStore, clock: Clock
) -> None:
    made = await make(keyring)
    await keyring.authenticate(made.key)
    await store.write([RevokeKey(made.id, None, times.now())])
    assert await keyring.authenticate(made.key)
    clock.now += 0.5
    await refused(keyring, made.key)


async def test_what_is_revoked_here_is_out_at_once(keyring: Keyring, store: FakeStore) -> None:
    made = await make(keyring)
    await keyring.authenticate(made.key)
    revoked = await keyring.revoke(OPERATOR, made.id)
    assert revoked.revoked_at is not None
    await refused(keyring, made.key)


async def test_what_is_made_after_it_was_asked_for_is_in_at_once(
    keyring: Keyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("secrets.token_hex", lambda n: "0" * (2 * n))
    await refused(keyring, ABSENT)
    made = await make(keyring)
    assert made.key == ABSENT
    assert await keyring.authenticate(made.key)


async def test_a_look_up_under_way_when_a_key_is_revoked_lets_nobody_in_later(
    keyring: Keyring, store: FakeStore
) -> None:
    made = await make(keyring)
    store.gate.clear()
    before = asyncio.ensure_future(keyring.authenticate(made.key))
    await settle()
    await keyring.revoke(OPERATOR, made.id)
    after = asyncio.ensure_future(keyring.authenticate(made.key))
    await settle()
    store.gate.set()
    assert await before  # it came while the key was good
    with pytest.raises(Unauthorized):
        await after


async def test_nobody_is_let_in_by_a_look_up_that_began_too_long_ago(
    keyring: Keyring, store: FakeStore, clock: Clock
) -> None:
    """However long the store takes to answer it: the time counts from before it was asked."""
    made = await make(keyring)
    store.gate.clear()
    first = asyncio.ensure_future(keyring.authenticate(made.key))
    await settle()
    await store.write([RevokeKey(made.id, None, times.now())])
    clock.now += 0.6
    second = asyncio.ensure_future(keyring.authenticate(made.key))
    await settle()
    store.gate.set()
    assert await first
    with pytest.raises(Unauthorized):
        await second
    await refused(keyring, made.key)


async def test_expiry_is_looked_at_each_time(
    keyring: Keyring, store: FakeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = times.now()
    made = await make(keyring, expires_at=times.to_datetime(now + 60_000_000))
    for moment, is_in in ((now + 59_999_999, True), (now + 60_000_000, False)):
        monkeypatch.setattr(times, "now", lambda moment=moment: moment)
        if is_in:
            assert await keyring.authenticate(made.key)
        else:
            await refused(keyring, made.key)
    assert store.reads == [made.id]


async def test_a_store_that_fails_lets_nobody_in_and_is_asked_again(
    keyring: Keyring, store: FakeStore
) -> None:
    made = await make(keyring)
    store.failure = Unavailable("no disk")
    with pytest.raises(Unavailable):
        await keyring.authenticate(made.key)
    with pytest.raises(Unavailable):
        await Keyring(store).authenticate(None)
    store.failure = None
    assert await keyring.authenticate(made.key)


async def test_a_revocation_that_fails_is_told(keyring: Keyring, store: FakeStore) -> None:
    made = await make(keyring)
    store.failure = Unavailable("no disk")
    with pytest.raises(Unavailable):
        await keyring.revoke(OPERATOR, made.id)
    with pytest.raises(Unavailable):
        await make(keyring)


# --- Whether it still does, for those that stay connected ------------------------------------


async def test_what_was_opened_some_time_ago(
    keyring: Keyring, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    expires_at = datetime.now(UTC) + timedelta(hours=1)
    revoked, expiring = await make(keyring), await make(keyring, expires_at=expires_at)
    operator = await keyring.authenticate(ADMIN_KEY)
    opened = [await keyring.authenticate(key.key) for key in (revoked, expiring)]
    assert [await keyring.still_opens(one) for one in (*opened, operator)] == [True, True, True]
    await keyring.revoke(OPERATOR, revoked.id)
    assert [await keyring.still_opens(one) for one in opened] == [False, True]
    later = times.now() + 3_600_000_000
    monkeypatch.setattr(times, "now", lambda: later)
    assert [await keyring.still_opens(one) for one in (*opened, operator)] == [False, False, True]


async def test_what_was_open_to_all_ends_with_the_first_key(store: FakeStore, clock: Clock) -> None:
    keyring = Keyring(store, clock=clock)
    access = await keyring.authenticate(None)
    assert await keyring.still_opens(access)
    await make(keyring)
    assert not await keyring.still_opens(access)


# --- Who may make, list and revoke -----------------------------------------------------------


async def test_a_tenants_admin_makes_keys_of_its_tenant(keyring: Keyring) -> None:
    for wish in (m.KeyInput(name="n"), m.KeyInput(name="n", tenant="acme")):
        made = await keyring.create(TENANT_ADMIN, wish)
        assert (made.tenant, made.scopes, made.rate_limit) == ("acme", ["read", "write"], None)
    opened = await keyring.authenticate(
        (await keyring.create(TENANT_ADMIN, m.KeyInput(name="n", scopes=["admin"]))).key
    )
    assert not opened.is_operator


@pytest.mark.parametrize(
    ("wish", "says"),
    [
        ({"tenant": "other"}, "another tenant"),
        ({"scopes": ["read", "metrics"]}, "metrics"),
        ({"rate_limit": 100.5}, "100 requests a second"),
        ({"rate_limit": 0.0}, "100 requests a second"),
    ],
)
async def test_what_only_the_operator_gives(
    wish: dict[str, object], says: str, keyring: Keyring, store: FakeStore
) -> None:
    asked = m.KeyInput.model_validate({"name": "n", **wish})
    with pytest.raises(Forbidden, match=says):
        await keyring.create(TENANT_ADMIN, asked)
    assert store.stored == {}
    assert await keyring.create(await keyring.authenticate(ADMIN_KEY), asked)


@pytest.mark.parametrize("rate", [0.1, 1, 100])
async def test_a_rate_that_a_tenants_admin_gives(rate: float, keyring: Keyring) -> None:
    made = await keyring.create(TENANT_ADMIN, m.KeyInput(name="n", rate_limit=rate))
    assert made.rate_limit == rate


async def test_where_the_server_has_no_limit_any_rate_is_given(store: FakeStore) -> None:
    keyring = Keyring(store, rate_limit=0)
    for rate in (0, 5, 10_000):
        wish = m.KeyInput(name="n", rate_limit=rate)
        assert (await keyring.create(TENANT_ADMIN, wish)).rate_limit == rate


async def test_a_key_that_would_have_expired_is_not_made(
    keyring: Keyring, store: FakeStore
) -> None:
    with pytest.raises(InvalidRequest, match="expires_at"):
        await make(keyring, expires_at=datetime.now(UTC))
    assert store.stored == {}


async def test_keys_are_listed_without_what_makes_them_keys(keyring: Keyring) -> None:
    acme, other = await make(keyring), await make(keyring, tenant="other")
    listed = {
        who: [key.id for key in await keyring.keys(access, tenant)]
        for who, access, tenant in (
            ("operator", OPERATOR, None),
            ("operator of other", OPERATOR, "other"),
            ("operator of nobody", OPERATOR, "nobody"),
            ("acme", TENANT_ADMIN, None),
            ("acme of acme", TENANT_ADMIN, "acme"),
        )
    }
    assert listed == {
        "operator": [acme.id, other.id],
        "operator of other": [other.id],
        "operator of nobody": [],
        "acme": [acme.id],
        "acme of acme": [acme.id],
    }
    with pytest.raises(Forbidden, match="another tenant"):
        await keyring.keys(TENANT_ADMIN, "other")
    (shown,) = await keyring.keys(TENANT_ADMIN, None)
    assert acme.key[-64:] not in shown.model_dump_json()


async def test_another_tenants_key_is_not_there(keyring: Keyring) -> None:
    other = await make(keyring, tenant="other")
    said = set()
    for id in (other.id, "0" * 16, "", "x" * 512, other.key):
        with pytest.raises(NotFound) as refusal:
            await keyring.revoke(TENANT_ADMIN, id)
        said.add(refusal.value.message)
    assert len(said) == 1
    assert await keyring.authenticate(other.key)


async def test_a_key_is_revoked_once(keyring: Keyring) -> None:
    made = await make(keyring)
    first = await keyring.revoke(TENANT_ADMIN, made.id)
    assert await keyring.revoke(OPERATOR, made.id) == first
