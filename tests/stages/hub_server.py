"""A hub on the loopback: the file routes that huggingface_hub and datasets call, over files held in memory.

It serves one commit of each dataset and model and answers everything else as the hub does (404 with X-Error-Code), so a client that
asks for another revision, folder or dataset is refused, not indulged.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

Datasets = Mapping[str, tuple[str, Mapping[str, bytes]]]  # id → (commit, {path: bytes})


class HubServer(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, datasets: Datasets, models: Datasets | None = None) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.datasets, self.models = datasets, models or {}
        self.asked: list[str] = []
        self.gives_files = True
        self.stopped = False

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def __enter__(self) -> HubServer:
        threading.Thread(target=self.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Answer nothing from now on, on connections that are kept alive neither."""
        self.stopped = True
        self.shutdown()
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    server: HubServer
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        self._answer(b"")

    def do_HEAD(self) -> None:
        self._answer(b"")

    def do_POST(self) -> None:
        self._answer(self.rfile.read(int(self.headers.get("Content-Length", 0))))

    def _answer(self, body: bytes) -> None:
        if self.server.stopped:
            self.close_connection = True
            return
        address = urlsplit(self.path)
        path = unquote(address.path)
        self.server.asked.append(f"{self.command} {path}")
        held = [("datasets", "/datasets", self.server.datasets), ("models", "", self.server.models)]
        for kind, at, name, (commit, files) in [(k, a, n, found) for k, a, all_ in held for n, found in all_.items()]:
            for prefix, answer in (
                (f"/api/{kind}/{name}", self._api),
                (f"{at}/{name}/resolve", self._resolve),
            ):
                if path == prefix or path.startswith(prefix + "/"):
                    rest = path[len(prefix) :].strip("/").split("/")
                    answer(name, commit, files, rest, body, parse_qs(address.query))
                    return
        self._refuse("RepoNotFound")

    def _api(
        self,
        name: str,
        commit: str,
        files: Mapping[str, bytes],
        rest: list[str],
        body: bytes,
        query: dict[str, list[str]],
    ) -> None:
        kind, revision, inside = rest[0], [*rest, ""][1], "/".join(rest[2:])
        if kind and revision != commit:
            self._refuse("RevisionNotFound")
        elif kind in ("", "revision"):
            self._json(
                {"id": name, "sha": commit, "siblings": [{"rfilename": path} for path in sorted(files)], "tags": []}
            )
        elif kind == "tree":
            prefix = inside + "/" if inside else ""
            below = [path for path in sorted(files) if path.startswith(prefix)]
            if not below:
                self._refuse("EntryNotFound")
                return
            found = [_file(path, files[path]) for path in below if "/" not in path[len(prefix) :]]
            folders = sorted(
                {prefix + path[len(prefix) :].split("/")[0] for path in below if "/" in path[len(prefix) :]}
            )
            if query.get("recursive", ["false"])[0].lower() == "true":
                found = [_file(path, files[path]) for path in below]
            self._json([*found, *({"type": "directory", "path": path, "oid": "0" * 40, "size": 0} for path in folders)])
        elif kind == "paths-info":
            form = parse_qs(body.decode())
            asked = form.get("paths") or json.loads(body or b"{}").get("paths", [])
            found = [_file(path, files[path]) for path in asked if path in files]
            folders = [path for path in asked if any(other.startswith(path.rstrip("/") + "/") for other in files)]
            self._json([*found, *({"type": "directory", "path": path, "oid": "0" * 40, "size": 0} for path in folders)])
        else:
            self._refuse("EntryNotFound")

    def _resolve(
        self,
        name: str,
        commit: str,
        files: Mapping[str, bytes],
        rest: list[str],
        body: bytes,
        query: dict[str, list[str]],
    ) -> None:
        path = "/".join(rest[1:])
        if not self.server.gives_files:
            self._send(503, b"", {})
        elif rest[0] != commit:
            self._refuse("RevisionNotFound")
        elif path not in files:
            self._refuse("EntryNotFound", commit)
        else:
            content = files[path]
            self._send(200, content, {"ETag": f'"{_oid(content)}"', "X-Repo-Commit": commit, "Accept-Ranges": "none"})

    def _json(self, content: Any) -> None:
        self._send(200, json.dumps(content).encode(), {"Content-Type": "application/json"})

    def _refuse(self, code: str, commit: str | None = None) -> None:
        headers = {"X-Error-Code": code, "X-Error-Message": code}
        self._send(404, b"", headers | ({"X-Repo-Commit": commit} if commit else {}))

    def _send(self, status: int, content: bytes, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)


def _oid(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def _file(path: str, content: bytes) -> dict[str, Any]:
    return {"type": "file", "path": path, "size": len(content), "oid": _oid(content)}
