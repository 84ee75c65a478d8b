"""Files at a URL: on any store that fsspec knows, and on S3, Google Cloud Storage and HDFS also by Arrow's own clients.

fsspec needs a package a store (`s3fs`, `gcsfs`); Arrow brings its clients along. So a missing package is no obstacle there.
Source: https://arrow.apache.org/docs/python/filesystems.html.
"""

from urllib.parse import urlsplit

import fsspec
import pyarrow as pa
import pyarrow.fs
from fsspec.implementations.arrow import ArrowFSWrapper

from arena_data.errors import InputError

# The schemes that `pyarrow.fs.FileSystem.from_uri` knows and fsspec needs a package for.
ARROW_SCHEMES = ("s3", "gs", "gcs", "hdfs", "viewfs", "abfs", "abfss")


def store_of(url: str) -> tuple[fsspec.AbstractFileSystem, str]:
    """The store that a URL names, and the path of the file there.

    Raises: InputError for a store that nothing installed can open.
    """
    try:
        store, path = fsspec.core.url_to_fs(url)
        return store, str(path)
    except (ImportError, ValueError) as error:
        reason = " ".join(str(error).split())
        if urlsplit(url).scheme not in ARROW_SCHEMES:
            raise InputError(f"cannot be opened ({reason})", file=url) from error
    try:
        arrow_store, path = pa.fs.FileSystem.from_uri(url)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise InputError(f"cannot be opened ({' '.join(str(error).split())})", file=url) from error
    return ArrowFSWrapper(arrow_store), path
