"""A stand-in for S3 on this machine: the requests that are used here, with the answers that S3's reference promises.

PUT with If-None-Match: * and If-Match, GET, HEAD, DeleteObjects, ListObjectsV2 and multipart uploads. Signatures are
not checked. It lives in the test's process, where its objects can be looked at and spoiled.
"""

from __future__ import annotations

import hashlib
import http.server
import re
import threading
import uuid
from collections import Counter
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape, unescape

PAGE = 50
"""Names per page of a listing, so that several are read."""


class Bucket:
    """What the server holds. ``spoiled`` names objects that are served with a byte changed, so many times;
    ``conditional`` False makes it a server that knows neither condition."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.parts: dict[str, dict[int, bytes]] = {}
        self.lock = threading.Lock()
        self.spoiled: Counter[str] = Counter()
        self.conditional, self.down = True, False
        self.log: list[tuple[str, str, int]] = []

    def put(self, name: str, content: bytes, none_match: str | None, match: str | None) -> int:
        with self.lock:
            there = self.objects.get(name)
            if self.conditional:
                if none_match == "*" and there is not None:
                    return 412
                if match is not None and there is None:
                    return 404
                if match is not None and match.strip('"') != etag(there or b""):
                    return 412
            self.objects[name] = content
            return 200

    def under(self, prefix: str) -> list[str]:
        with self.lock:
            return sorted(name for name in self.objects if name.startswith(prefix))

    def created(self, prefix: str) -> Counter[str]:
        """How often each object below a prefix was put with success."""
        return Counter(
            name for verb, name, status in list(self.log) if verb == "PUT" and status == 200 and prefix in name
        )


def etag(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()


class Server:
    """A context manager: ``url`` is where it answers, ``bucket`` what it holds."""

    def __init__(self, address: str = "127.0.0.1") -> None:
        self.bucket = Bucket()
        bucket = self.bucket

        class Handler(_Handler):
            held = bucket

        self.server = http.server.ThreadingHTTPServer((address, 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://{address}:{self.server.server_address[1]}"

    def __enter__(self) -> Server:
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self.server.shutdown()
        self.server.server_close()

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs to find it."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_REGION": "us-east-1",
        }


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    held: Bucket

    def log_message(self, format: str, *arguments: Any) -> None:
        pass

    def _asked(self) -> tuple[str, dict[str, str]]:
        split = urlsplit(self.path)
        return unquote(split.path).lstrip("/"), {k: v[0] for k, v in parse_qs(split.query, True).items()}

    def _answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.held.log.append((self.command, self._asked()[0], status))
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _error(self, status: int, code: str) -> None:
        self._answer(status, f"<Error><Code>{code}</Code><Message>{code}</Message></Error>".encode())

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") == "chunked":
            parts = []
            while size := int(self.rfile.readline().split(b";")[0], 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def do_PUT(self) -> None:
        name, query = self._asked()
        content = self._body()
        if self.held.down:
            return self._error(503, "SlowDown")
        if "uploadId" in query:
            self.held.parts[query["uploadId"]][int(query["partNumber"])] = content
            return self._answer(200, ETag=f'"{etag(content)}"')
        status = self.held.put(name, content, self.headers.get("If-None-Match"), self.headers.get("If-Match"))
        if status != 200:
            return self._error(status, "PreconditionFailed" if status == 412 else "NoSuchKey")
        self._answer(200, ETag=f'"{etag(content)}"')

    def do_POST(self) -> None:
        name, query = self._asked()
        body = self._body()
        if "delete" in query:
            keys = [unescape(key) for key in re.findall(r"<Key>(.*?)</Key>", body.decode())]
            with self.held.lock:
                for key in keys:
                    self.held.objects.pop(f"{name.rstrip('/')}/{key}", None)
            told = "".join(f"<Deleted><Key>{escape(key)}</Key></Deleted>" for key in keys)
            return self._answer(200, f"<DeleteResult>{told}</DeleteResult>".encode())
        if "uploads" in query:
            upload = uuid.uuid4().hex
            self.held.parts[upload] = {}
            bucket, _, key = name.partition("/")
            return self._answer(
                200,
                f"<InitiateMultipartUploadResult><Bucket>{bucket}</Bucket><Key>{key}</Key><UploadId>{upload}</UploadId>"
                "</InitiateMultipartUploadResult>".encode(),
            )
        parts = self.held.parts.pop(query["uploadId"])
        content = b"".join(parts[number] for number in sorted(parts))
        self.held.put(name, content, self.headers.get("If-None-Match"), None)
        told = f'<CompleteMultipartUploadResult><ETag>"{etag(content)}"</ETag></CompleteMultipartUploadResult>'
        self._answer(200, told.encode())

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        name, query = self._asked()
        if self.held.down:
            return self._error(503, "SlowDown")
        if "list-type" in query:
            return self._list(name.rstrip("/"), query)
        content = self.held.objects.get(name)
        if content is None:
            return self._error(404, "NoSuchKey")
        sent = content
        if self.held.spoiled[name] > 0:
            self.held.spoiled[name] -= 1
            sent = bytes([content[0] ^ 1]) + content[1:]
        self._answer(
            200,
            sent,
            ETag=f'"{etag(content)}"',
            Last_Modified="Fri, 27 Nov 2026 12:00:00 GMT",
            Content_Type="text/plain",
        )

    def _list(self, bucket: str, query: dict[str, str]) -> None:
        names = [name for name in self.held.under(f"{bucket}/{query.get('prefix', '')}")]
        begin = int(query.get("continuation-token", "0"))
        page, more = names[begin : begin + PAGE], begin + PAGE < len(names)
        contents = "".join(
            f"<Contents><Key>{escape(name.partition('/')[2])}</Key><Size>{len(self.held.objects.get(name, b''))}</Size>"
            f'<ETag>"{etag(self.held.objects.get(name, b""))}"</ETag>'
            "<LastModified>2026-11-27T12:00:00.000Z</LastModified></Contents>"
            for name in page
        )
        token = f"<NextContinuationToken>{begin + PAGE}</NextContinuationToken>" if more else ""
        self._answer(
            200,
            f"<ListBucketResult><IsTruncated>{str(more).lower()}</IsTruncated>{token}{contents}"
            "</ListBucketResult>".encode(),
        )
