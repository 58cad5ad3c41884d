"""The settings choose the store."""

from __future__ import annotations

from pathlib import Path

import pytest

from activities.stores.factory import open_bytes
from activities.stores.file import FileStore
from activities.stores.s3 import S3Store
from omium_core.errors import ConfigurationError
from omium_core.settings import Settings


async def test_a_file_store_in_the_named_folder(tmp_path: Path) -> None:
    store = open_bytes(Settings(store="file", store_path=tmp_path / "here"))
    assert isinstance(store, FileStore)
    await store.put("a/b", b"x")
    assert (tmp_path / "here/a/b").read_bytes() == b"x"


def test_an_s3_store() -> None:
    assert isinstance(open_bytes(Settings(store="s3")), S3Store)


def test_a_folder_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(ConfigurationError, match=r"OMIUM_STORE_PATH=.*file"):
        open_bytes(Settings(store="file", store_path=tmp_path / "file"))
