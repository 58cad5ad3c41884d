"""The holder of the master key that the settings name."""

from __future__ import annotations

from omium_core.errors import ConfigurationError
from omium_core.keyring import KeyWrapper, MasterKeys, Wrappers
from omium_core.settings import DEVELOPMENT_MASTER_KEY, Settings


def open_master_keys(settings: Settings) -> KeyWrapper:
    """KMS if a key of it is named, else the master keys of the file or the environment; `ConfigurationError`.

    Beside KMS, master keys that are set still unwrap: an installation can move from them to KMS while it runs.
    """
    if settings.kms_key_id is None:
        return _local(settings)
    # boto3 takes a third of a second to load
    from omium_core.kms import KmsKeys

    kms = KmsKeys(settings.kms_key_id, region=settings.kms_region, endpoint_url=settings.kms_endpoint_url)
    return Wrappers(kms, _local(settings)) if settings.has_master_key else kms


def _local(settings: Settings) -> MasterKeys:
    text = settings.master_keys()
    if settings.environment == "production" and DEVELOPMENT_MASTER_KEY in text:
        raise ConfigurationError(
            "OMIUM_MASTER_KEY_FILE holds the development key: in production each key must be 32 random bytes of your own."
        )
    return MasterKeys(text)
