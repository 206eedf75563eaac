"""An S3 server that keeps no data: it accepts uploads of any kind and remembers names and sizes only.

    python benchmarks/null_s3.py PORT_FILE [CERTIFICATE KEY]

It listens on a free port of 127.0.0.1, which it writes into PORT_FILE, until it is killed. `benchmarks/upload.py` uses
it: a client's own cost shows best against a server that costs hardly anything.
"""

import socket
import ssl
import sys
import threading
from io import BufferedReader
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

_BUFFER_BYTES = 1 << 20
_LISTED = "<Contents><Key>{}</Key><Size>{}</Size><LastModified>2026-01-01T00:00:00Z</LastModified></Contents>"

_BEGUN = "<InitiateMultipartUploadResult><UploadId>{}</UploadId></InitiateMultipartUploadResult>"
_HEAD = 'HTTP/1.1 {} .\r\nETag: "0"\r\nContent-Type: application/xml\r\nContent-Length: {}\r\n\r\n'


class Bucket:
    """The names and sizes of what was uploaded."""

    def __init__(self) -> None:
        self.sizes: dict[str, int] = {}
        self.parts: dict[str, dict[str, int]] = {}

    def answer(self, method: str, target: str, size: int) -> tuple[int, str]:
        """Return the status and the body of the answer to a request whose body had `size` bytes."""
        url = urlsplit(target)
        key = unquote(url.path).lstrip("/").partition("/")[2]
        query = parse_qs(url.query, keep_blank_values=True)
        if method == "POST" and "uploads" in query:
            self.parts[key] = {}
            return 200, _BEGUN.format(escape(key))
        if method == "POST" and "uploadId" in query:
            self.sizes[key] = sum(self.parts.pop(key).values())
            return 200, "<CompleteMultipartUploadResult><ETag>&quot;0&quot;</ETag></CompleteMultipartUploadResult>"
        if method == "PUT":
            if "partNumber" in query:
                self.parts[key][query["partNumber"][0]] = size
            else:
                self.sizes[key] = size
            return 200, ""
        if method == "GET" and "list-type" in query:
            prefix = query.get("prefix", [""])[0]
            sizes = [(name, bytes_) for name, bytes_ in sorted(self.sizes.items()) if name.startswith(prefix)]
            listed = "".join(_LISTED.format(escape(name), bytes_) for name, bytes_ in sizes)
            return 200, f"<ListBucketResult><IsTruncated>false</IsTruncated>{listed}</ListBucketResult>"
        return 404, "" if method == "HEAD" else "<Error><Code>NoSuchKey</Code></Error>"


def serve(connection: socket.socket, bucket: Bucket) -> None:
    """Answer one client until it disconnects."""
    reader = connection.makefile("rb", buffering=_BUFFER_BYTES)
    buffer = bytearray(_BUFFER_BYTES)
    while line := reader.readline():
        method, target, _ = line.decode().split()
        headers = {}
        while (header := reader.readline().strip()) != b"":
            name, _, value = header.decode().partition(":")
            headers[name.lower()] = value.strip()
        if headers.get("expect") == "100-continue":
            connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        size = skip_chunks(reader) if "transfer-encoding" in headers else skip(reader, headers, buffer)
        size = int(headers.get("x-amz-decoded-content-length", size))
        status, body = bucket.answer(method, target, size)
        connection.sendall((_HEAD.format(status, len(body)) + body).encode())


def skip(reader: BufferedReader, headers: dict[str, str], buffer: bytearray) -> int:
    """Read a body of known length and drop it; return its length."""
    size = left = int(headers.get("content-length", 0))
    while left:
        left -= reader.readinto(memoryview(buffer)[: min(left, len(buffer))])
    return size


def skip_chunks(reader: BufferedReader) -> int:
    """Read a body that comes in chunks and drop it; return its length."""
    total = 0
    while size := int(reader.readline().split(b";")[0], 16):
        reader.read(size + 2)
        total += size
    reader.readline()
    return total


def main() -> None:
    """Listen, and serve each client in a thread."""
    bucket = Bucket()
    listener = socket.create_server(("127.0.0.1", 0))
    if len(sys.argv) > 2:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(sys.argv[2], sys.argv[3])
        listener = context.wrap_socket(listener, server_side=True)
    ready = Path(sys.argv[1])
    ready.with_suffix(".part").write_text(str(listener.getsockname()[1]))
    ready.with_suffix(".part").rename(ready)
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:  # a client that disconnects during the TLS handshake
            continue
        threading.Thread(target=serve, args=(connection, bucket), daemon=True).start()


if __name__ == "__main__":
    main()
