"""Objects in an S3 bucket: Amazon's, or any of the servers that speak its protocol.

The one place that knows boto3. Its calls block, so they run in threads of the store's own. Used are put, get, head, list
and delete only: what the stand-ins for S3 do alike.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, TypeVar

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from pydantic import SecretStr

from activities.stores.base import ObjectMissing, ObjectStoreUnavailable, check_key, check_prefix

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import ListObjectsV2OutputTypeDef, PaginatorConfigTypeDef

T = TypeVar("T")

_PARALLEL_CALLS = 16
_MISSING = frozenset({"404", "NoSuchKey", "NotFound"})
_HOME_REGION = "us-east-1"  # the one region that must not be named when a bucket is made
_ALREADY_MADE = frozenset({"BucketAlreadyOwnedByYou", "BucketAlreadyExists"})


class S3Store:
    """An `ObjectStore` in one bucket, which is made when it is first used and absent.

    Without keys, boto3's own chain finds them (environment, instance role). `page_size` is how many keys one call lists.
    Raises `ObjectStoreUnavailable` with the
    bucket and the key when the server refuses or does not answer.
    """

    def __init__(
        self,
        bucket: str,
        *,
        endpoint_url: str | None = None,
        region: str = _HOME_REGION,
        access_key_id: str | None = None,
        secret_access_key: SecretStr | None = None,
        page_size: int = 1000,
    ) -> None:
        self._bucket = bucket
        self._region = region
        self._endpoint_url = endpoint_url
        self._access_key_id = access_key_id
        self._secret_access_key = secret_access_key
        self._page_size = page_size
        self._connected: S3Client | None = None
        self._connecting = threading.Lock()
        self._threads = ThreadPoolExecutor(_PARALLEL_CALLS, thread_name_prefix="s3")

    async def put(self, key: str, data: bytes) -> None:
        await self._call(check_key(key), lambda s3: s3.put_object(Bucket=self._bucket, Key=key, Body=data))

    async def get(self, key: str) -> bytes:
        def read(s3: S3Client) -> bytes:
            return s3.get_object(Bucket=self._bucket, Key=key)["Body"].read()

        return await self._call(check_key(key), read)

    async def exists(self, key: str) -> bool:
        try:
            await self._call(check_key(key), lambda s3: s3.head_object(Bucket=self._bucket, Key=key))
        except ObjectMissing:
            return False
        return True

    async def written_at(self, key: str) -> datetime | None:
        def ask(s3: S3Client) -> datetime:
            return s3.head_object(Bucket=self._bucket, Key=key)["LastModified"]

        try:
            return await self._call(check_key(key), ask)
        except ObjectMissing:
            return None

    async def delete(self, key: str) -> None:
        await self._call(check_key(key), lambda s3: s3.delete_object(Bucket=self._bucket, Key=key))

    async def list(self, prefix: str) -> AsyncIterator[str]:
        def ask(s3: S3Client) -> Iterator[ListObjectsV2OutputTypeDef]:
            paginator = s3.get_paginator("list_objects_v2")
            return iter(paginator.paginate(Bucket=self._bucket, Prefix=prefix, PaginationConfig=paging))

        paging: PaginatorConfigTypeDef = {"PageSize": self._page_size}
        pages = await self._call(check_prefix(prefix), ask)
        while (page := await self._call(prefix, lambda _: next(pages, None))) is not None:
            for found in page.get("Contents", []):
                yield found["Key"]

    async def _call(self, key: str, work: Callable[[S3Client], T]) -> T:
        def run() -> T:
            with self._explained(key):
                return work(self._client())

        return await asyncio.get_running_loop().run_in_executor(self._threads, run)

    def _client(self) -> S3Client:
        """The client, made by whichever thread comes first: that takes a tenth of a second and a look at the bucket."""
        with self._connecting:
            if self._connected is None:
                client = self._connect()
                self._make_bucket(client)
                self._connected = client
            return self._connected

    def _connect(self) -> S3Client:
        secret = self._secret_access_key
        return boto3.session.Session().client(
            "s3",
            endpoint_url=self._endpoint_url,
            region_name=self._region,
            aws_access_key_id=self._access_key_id,
            aws_secret_access_key=secret.get_secret_value() if secret else None,
            config=Config(
                signature_version="s3v4",
                # checksums beyond what a call requires are refused or mangled by servers other than Amazon's
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
                s3={"addressing_style": "path"},
                max_pool_connections=_PARALLEL_CALLS,
                connect_timeout=5,
                read_timeout=30,
                retries={"mode": "standard", "total_max_attempts": 3},
            ),
        )

    def _make_bucket(self, client: S3Client) -> None:
        # asked first: some servers call it an error to make a bucket that is there, and a key may only allow the question
        try:
            client.head_bucket(Bucket=self._bucket)
            return
        except ClientError as error:
            if error.response["Error"]["Code"] not in {*_MISSING, "NoSuchBucket"}:
                raise
        try:
            if self._region == _HOME_REGION:
                client.create_bucket(Bucket=self._bucket)
            else:
                client.create_bucket(
                    Bucket=self._bucket,
                    CreateBucketConfiguration={"LocationConstraint": self._region},  # type: ignore[typeddict-item]
                )
        except ClientError as error:  # another process was faster
            if error.response["Error"]["Code"] not in _ALREADY_MADE:
                raise

    @contextmanager
    def _explained(self, key: str) -> Iterator[None]:
        try:
            yield
        except ClientError as error:
            if error.response["Error"]["Code"] in _MISSING:
                raise ObjectMissing(key) from error
            raise ObjectStoreUnavailable(f"Object {key!r} in bucket {self._bucket!r}: {error}.") from error
        except BotoCoreError as error:
            raise ObjectStoreUnavailable(f"Object {key!r} in bucket {self._bucket!r}: {error}.") from error
