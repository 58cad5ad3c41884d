"""The object store that the settings name, and over it what seals each object with its tenant's key."""

from __future__ import annotations

from activities.stores.base import ObjectStore
from activities.stores.encrypted import EncryptedStore, Keys
from activities.stores.file import FileStore
from omium_core.errors import ConfigurationError
from omium_core.settings import Settings


def open_object_store(settings: Settings, keys: Keys) -> EncryptedStore:
    """The objects of all tenants, sealed; raises `ConfigurationError` when the store cannot be used."""
    return EncryptedStore(open_bytes(settings), keys)


def open_bytes(settings: Settings) -> ObjectStore:
    """The store itself, which holds what is sealed. One per process; raises `ConfigurationError` when its folder cannot be used."""
    if settings.store == "s3":
        # boto3 takes a third of a second to load, which a process with a file store need not spend
        from activities.stores.s3 import S3Store

        return S3Store(
            settings.s3_bucket,
            endpoint_url=settings.s3_endpoint_url,
            region=settings.s3_region,
            access_key_id=settings.s3_access_key_id,
            secret_access_key=settings.s3_secret_access_key,
        )
    try:
        return FileStore(settings.store_path)
    except OSError as error:
        raise ConfigurationError(
            f"OMIUM_STORE_PATH={settings.store_path} cannot be used as the object store: {error.strerror or error}."
        ) from error
