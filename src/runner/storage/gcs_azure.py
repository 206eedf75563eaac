"""Open stores on Google Cloud Storage and Azure Blob Storage, with the credentials of their own tools."""

from obstore.exceptions import BaseError
from obstore.store import from_url

from runner.errors import UserError
from runner.storage.object_store import BULK_CLIENT, QUICK_CLIENT, RETRIES, RemoteStore

_REMEDY = {
    "gs": "Set GOOGLE_APPLICATION_CREDENTIALS, or run `gcloud auth application-default login`.",
    "az": "Set AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY or AZURE_STORAGE_SAS_TOKEN.",
}


def open_cloud(url: str) -> RemoteStore:
    """Open a bucket (``gs://bucket/folder``) or a container (``az://container/folder``, account from the environment).

    Raises:
        UserError: the URL and the environment do not describe a store that obstore can open.
    """
    remedy = _REMEDY[url.partition(":")[0]]
    try:
        quick = from_url(url, client_options=QUICK_CLIENT, retry_config=RETRIES)
        bulk = from_url(url, client_options=BULK_CLIENT, retry_config=RETRIES)
    except (BaseError, OSError, ValueError) as error:
        raise UserError(str(error).partition("\n")[0], where=url, remedy=remedy) from error
    return RemoteStore(url, quick=quick, bulk=bulk, remedy=remedy, conditional=True)
