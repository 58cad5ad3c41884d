"""The store in an S3 bucket, against two servers: moto for Amazon's semantics, rclone for signatures and disks."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import pytest
from moto.server import ThreadedMotoServer
from pydantic import SecretStr

from activities.stores.base import ObjectStoreUnavailable
from activities.stores.s3 import S3Store
from tests.stores.contract import ObjectStoreContract
from tests.support.loopback import free_port, listens, running, tool, wait_until

ROOT = Path(__file__).parents[2]
SECRET = SecretStr("secret-of-the-test")


def bucket_at(url: str, *, bucket: str | None = None, secret: SecretStr = SECRET) -> S3Store:
    return S3Store(
        bucket or f"omium-{uuid4().hex[:8]}",
        endpoint_url=url,
        access_key_id="omium",
        secret_access_key=secret,
        page_size=5,
    )


@contextmanager
def rclone(folder: Path) -> Iterator[str]:
    """`rclone serve s3` on the folder; its URL."""
    port = free_port()
    (folder / "data").mkdir(exist_ok=True)
    command = [tool("rclone"), "serve", "s3", "--addr", f"127.0.0.1:{port}", "--config", str(folder / "rclone.conf")]
    command += ["--cache-dir", str(folder / "cache"), str(folder / "data")]
    keys = {"RCLONE_AUTH_KEY": f'"omium,{SECRET.get_secret_value()}"'}
    with running(command, log=folder / "rclone.log", ready=lambda: listens(port), environment=keys):
        yield f"http://127.0.0.1:{port}"


@pytest.fixture(scope="module")
def moto_url() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    yield "http://{}:{}".format(*server.get_host_and_port())
    server.stop()


@pytest.fixture(scope="module")
def rclone_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with rclone(tmp_path_factory.mktemp("rclone")) as url:
        yield url


class TestS3StoreOnMoto(ObjectStoreContract):
    @pytest.fixture
    def store(self, moto_url: str) -> S3Store:
        return bucket_at(moto_url)


class TestS3StoreOnRclone(ObjectStoreContract):
    @pytest.fixture
    def store(self, rclone_url: str) -> S3Store:
        return bucket_at(rclone_url)


async def test_a_wrong_secret_is_refused_and_the_error_names_bucket_and_key(rclone_url: str) -> None:
    store = bucket_at(rclone_url, bucket="closed", secret=SecretStr("guessed"))
    with pytest.raises(ObjectStoreUnavailable, match=r"'a/b' in bucket 'closed'") as caught:
        await store.put("a/b", b"x")
    assert "guessed" not in str(caught.value)


async def test_a_server_that_is_down_is_no_missing_object() -> None:
    store = bucket_at(f"http://127.0.0.1:{free_port()}", bucket="nowhere")
    with pytest.raises(ObjectStoreUnavailable, match=r"'a/b' in bucket 'nowhere'"):
        await store.get("a/b")
    with pytest.raises(ObjectStoreUnavailable):
        await store.exists("a/b")


async def test_a_store_that_was_down_is_used_when_it_is_up(tmp_path: Path) -> None:
    with rclone(tmp_path) as url:
        await bucket_at(url, bucket="kept").put("a/b", b"x")
    with pytest.raises(ObjectStoreUnavailable):
        await bucket_at(url, bucket="kept").get("a/b")
    with rclone(tmp_path) as url:
        assert await bucket_at(url, bucket="kept").get("a/b") == b"x"


# puts 100 MB, in which a quick kill lands in the middle
_PUT_MUCH = """
import asyncio, os, sys
from tests.stores.test_s3 import bucket_at
asyncio.run(bucket_at(sys.argv[1], bucket="killed").put("a/b", os.urandom(1000) * 100_000))
"""


def test_a_put_cut_off_by_sigkill_leaves_no_object(tmp_path: Path) -> None:
    def on_disk() -> bool:
        return any(files for _, _, files in os.walk(tmp_path / "data"))

    with rclone(tmp_path) as url:
        store = bucket_at(url, bucket="killed")
        with subprocess.Popen([sys.executable, "-c", _PUT_MUCH, url], cwd=ROOT) as child:
            wait_until(on_disk, seconds=60, what="the upload")
            child.kill()
        wait_until(lambda: not on_disk(), seconds=60, what="the server to drop the half object")
        assert not asyncio.run(store.exists("a/b"))
        asyncio.run(store.put("a/b", b"whole"))
        assert asyncio.run(store.get("a/b")) == b"whole"


async def test_two_processes_find_or_make_the_bucket(moto_url: str) -> None:
    bucket = f"shared-{os.getpid()}"
    await bucket_at(moto_url, bucket=bucket).put("a/b", b"x")
    assert await bucket_at(moto_url, bucket=bucket).get("a/b") == b"x"


async def test_a_bucket_is_made_in_the_named_region(moto_url: str) -> None:
    store = S3Store(
        "abroad", endpoint_url=moto_url, region="eu-central-1", access_key_id="omium", secret_access_key=SECRET
    )
    await store.put("a/b", b"x")
    assert [key async for key in store.list("")] == ["a/b"]
