"""What a cipher seals comes back, for its tenant and whole only; master keys wrap and unwrap, also several."""

from __future__ import annotations

import os
from typing import Any

import pytest
from cryptography.fernet import Fernet
from hypothesis import given
from hypothesis import strategies as st

from models.sealing import SealedBytes, SealedJson, SealedText, sealed_with
from models.tables.base import new_id
from omium_core.errors import ConfigurationError, KeyUnavailable
from omium_core.keyring import Cipher, DataKey, MasterKeys, Wrappers, new_master_key
from omium_core.master_keys import open_master_keys
from omium_core.settings import DEVELOPMENT_MASTER_KEY, Settings

TENANT = new_id()
#: Everything that a Python text may hold, also NUL and halves of surrogate pairs.
TEXTS = st.text(st.characters(exclude_categories=()))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=8,
)


def a_key() -> DataKey:
    return DataKey(new_id(), os.urandom(32))


CIPHER = Cipher(TENANT, a_key())


@given(st.binary(), st.binary(max_size=20))
def test_bytes_come_back(data: bytes, context: bytes) -> None:
    assert CIPHER.open(CIPHER.seal(data, context), context) == data


@given(JSON)
def test_any_json_comes_back_with_its_keys_in_order(value: Any) -> None:
    back = CIPHER.open_json(CIPHER.seal_json(value))
    assert back == value
    assert repr(back) == repr(value), "the same order and the same kinds of numbers"


@given(JSON, TEXTS, st.binary())
def test_columns_give_back_what_they_were_given(value: Any, words: str, data: bytes) -> None:
    with sealed_with(CIPHER):
        for column, given_ in ((SealedJson(), value), (SealedText(), words), (SealedBytes(), data)):
            kept = column.process_bind_param(given_, None)  # type: ignore[arg-type]
            assert (kept is None) == (given_ is None)
            assert column.process_result_value(kept, None) == given_  # type: ignore[arg-type]


@given(st.binary(min_size=20, max_size=64), st.data())
def test_changed_bytes_do_not_open(data: bytes, draw: st.DataObject) -> None:
    sealed = bytearray(CIPHER.seal(data))
    place = draw.draw(st.integers(1, len(sealed) - 1))
    sealed[place] ^= draw.draw(st.integers(1, 255))
    with pytest.raises(KeyUnavailable):
        CIPHER.open(bytes(sealed))
    with pytest.raises(KeyUnavailable):
        CIPHER.open(CIPHER.seal(data)[:place])


@pytest.mark.parametrize("damaged", [b"", b"\x01", b"\x02abc", b"\x01" + bytes(16), b"\x01" + bytes(60)])
def test_what_nobody_sealed_does_not_open(damaged: bytes) -> None:
    with pytest.raises(KeyUnavailable):
        CIPHER.open(damaged)


def test_what_was_there_before_values_were_sealed_is_read_as_it_is() -> None:
    assert CIPHER.open_json(b'\x00{"b": 1, "a": "\\u00e4"}') == {"b": 1, "a": "ä"}
    assert not CIPHER.is_current(b"\x00[]")


def test_the_same_key_for_another_tenant_opens_nothing() -> None:
    key = a_key()
    sealed = Cipher(TENANT, key).seal(b"words")
    with pytest.raises(KeyUnavailable, match="another tenant"):
        Cipher(new_id(), key).open(sealed)


def test_a_value_opens_as_what_it_was_sealed_only() -> None:
    sealed = CIPHER.seal(b"words", b"object a")
    for context in (b"", b"object b"):
        with pytest.raises(KeyUnavailable):
            CIPHER.open(sealed, context)


def test_nothing_of_a_value_shows_and_equal_values_differ() -> None:
    one, two = CIPHER.seal(b"words" * 20), CIPHER.seal(b"words" * 20)
    assert b"words" not in one
    assert one[:17] == two[:17] == CIPHER.head
    assert one[17:] != two[17:]


def test_after_a_rotation_old_values_and_tokens_open_and_can_be_told_apart() -> None:
    old, new = a_key(), a_key()
    before, after = Cipher(TENANT, old), Cipher(TENANT, new, (old,))
    sealed, token = before.seal(b"words"), before.seal_token("secret")
    assert (after.open(sealed), after.open_token(token)) == (b"words", "secret")
    assert not after.is_current(sealed)
    assert not after.is_current_token(token)
    assert after.is_current(after.seal(b"words"))
    renewed = after.reseal_token(token)
    assert after.is_current_token(renewed)
    with pytest.raises(KeyUnavailable):
        before.open_token(renewed)


def test_a_token_that_is_none_says_so() -> None:
    with pytest.raises(KeyUnavailable):
        CIPHER.open_token(Fernet(Fernet.generate_key()).encrypt(b"x").decode())


async def test_master_keys_take_over_from_each_other() -> None:
    first, second = new_master_key(), new_master_key()
    master, wrapped = await MasterKeys(first).wrap(b"key", b"context")
    assert await MasterKeys(f"{second}, {first}\n").unwrap(master, wrapped, b"context") == b"key"
    assert await Wrappers(MasterKeys(second), MasterKeys(first)).unwrap(master, wrapped, b"context") == b"key"
    for holder in (MasterKeys(second), Wrappers(MasterKeys(second))):
        assert not holder.holds(master)
        with pytest.raises(KeyUnavailable, match="this process does not have"):
            await holder.unwrap(master, wrapped, b"context")
    with pytest.raises(KeyUnavailable, match="another tenant"):
        await MasterKeys(first).unwrap(master, wrapped, b"another context")


@pytest.mark.parametrize("text", ["", " ,\n", "c2hvcnQ=", "not base64 at all!", DEVELOPMENT_MASTER_KEY + ",x"])
def test_a_master_key_that_cannot_be_one_is_named(text: str) -> None:
    with pytest.raises(ConfigurationError, match="master key"):
        MasterKeys(text)


def production(**values: Any) -> Settings:
    return Settings(environment="production", api_key_pepper="p" * 32, **values)


def test_production_refuses_the_development_key(tmp_path: Any) -> None:
    file = tmp_path / "key"
    file.write_text(DEVELOPMENT_MASTER_KEY)
    for values in ({}, {"master_key": f"{new_master_key()},{DEVELOPMENT_MASTER_KEY}"}):
        with pytest.raises(ConfigurationError, match="OMIUM_MASTER_KEY has its development default"):
            production(**values)
    with pytest.raises(ConfigurationError, match="holds the development key"):
        open_master_keys(production(master_key_file=file))
    assert open_master_keys(production(master_key=new_master_key()))


def test_a_key_file_that_is_not_there_is_named(tmp_path: Any) -> None:
    with pytest.raises(ConfigurationError, match="OMIUM_MASTER_KEY_FILE="):
        open_master_keys(Settings(master_key_file=tmp_path / "missing"))
