"""A model hub on the loopback address: one folder per repository and commit."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlparse

TOKEN = "hf_of_somebody_who_may"


@dataclass
class Repository:
    """commits: commit -> folder of its files. refs: branch or tag -> commit."""

    commits: dict[str, Path]
    refs: dict[str, str]
    gated: bool = False


@dataclass
class FakeHub:
    """What the hub offers, and what was asked of it; `written`: where uploads go."""

    repositories: dict[str, Repository] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    url: str = ""
    written: Path | None = None


@contextmanager
def serving(hub: FakeHub) -> Iterator[FakeHub]:
    """Within the block, the hub answers at hub.url."""
    handler = type("Handler", (_Handler,), {"hub": hub})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    hub: FakeHub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        return

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def do_POST(self) -> None:
        path = unquote(urlparse(self.path).path)
        self.hub.requests.append(f"POST {path}")
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)) or self._chunks()
        status, headers, answer = self._taken(path, body)
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def _chunks(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return b""
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def _taken(self, path: str, body: bytes) -> tuple[int, dict[str, str], bytes]:
        """What the hub says to a writer; commits are folders of hub.written."""
        if path == "/api/validate-yaml":
            return _json({"errors": [], "warnings": []})
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            return _refused(401, "Unauthorized")
        assert self.hub.written is not None
        if path == "/api/repos/create":
            given = json.loads(body)
            name = f"{given.get('organization', 'somebody')}/{given['name']}"
            if name in self.hub.repositories:
                return _refused(409, "Conflict")
            empty = self.hub.written / "empty"
            empty.mkdir(exist_ok=True)
            self.hub.repositories[name] = Repository({"0" * 40: empty}, {"main": "0" * 40})
            return _json({"url": f"{self.hub.url}/{name}", "name": name, "id": name})
        match = re.fullmatch(r"/api/models/([^/]+/[^/]+)/(preupload|commit)/main", path)
        if match is None or match[1] not in self.hub.repositories:
            return _refused(404, "RepoNotFound")
        if match[2] == "preupload":
            files = json.loads(body)["files"]
            modes = {"uploadMode": "regular", "shouldIgnore": False}
            return _json({"files": [{"path": file["path"], **modes} for file in files]})
        return self._committed(match[1], body)

    def _committed(self, name: str, body: bytes) -> tuple[int, dict[str, str], bytes]:
        repository = self.hub.repositories[name]
        commit = hashlib.sha1(body).hexdigest()
        folder = self.hub.written / commit
        shutil.copytree(repository.commits[repository.refs["main"]], folder)
        for line in body.splitlines():
            entry = json.loads(line)
            if entry["key"] == "file":
                file = folder / entry["value"]["path"]
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(base64.b64decode(entry["value"]["content"]))
        repository.commits[commit], repository.refs["main"] = folder, commit
        url = f"{self.hub.url}/{name}/commit/{commit}"
        return _json({"success": True, "commitOid": commit, "commitUrl": url})

    def _answer(self, *, with_body: bool) -> None:
        path = unquote(urlparse(self.path).path)
        self.hub.requests.append(f"{self.command} {path}")
        status, headers, body = self._found(path)
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if with_body:
            self.wfile.write(body)

    def _found(self, path: str) -> tuple[int, dict[str, str], bytes]:
        api = re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/(revision|tree)/([^/]+))?/?", path)
        resolve = re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path)
        match = api or resolve
        repository = self.hub.repositories.get(match[1]) if match else None
        if repository is None:
            return _refused(404, "RepoNotFound")
        revision = (api[3] if api else resolve[2]) or "main"
        commit = repository.refs.get(revision, revision)
        if commit not in repository.commits:
            return _refused(404, "RevisionNotFound")
        folder = repository.commits[commit]
        if api and api[2] != "tree":
            return _json(_info(match[1], commit, folder, gated=repository.gated))
        if repository.gated and self.headers.get("Authorization") != f"Bearer {TOKEN}":
            return _refused(401 if "Authorization" not in self.headers else 403, "GatedRepo")
        if api:
            return _json([_entry(folder, file) for file in _files(folder)])
        file = folder / resolve[3]
        if not file.is_file():
            return _refused(404, "EntryNotFound")
        content = file.read_bytes()
        etag = f'"{hashlib.sha256(content).hexdigest()}"'
        return 200, {"ETag": etag, "X-Repo-Commit": commit, "Accept-Ranges": "bytes"}, content


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _info(name: str, commit: str, folder: Path, *, gated: bool) -> dict[str, object]:
    return {
        "id": name,
        "modelId": name,
        "sha": commit,
        "private": False,
        "gated": "auto" if gated else False,
        "disabled": False,
        "tags": [],
        "downloads": 0,
        "likes": 0,
        "siblings": [{"rfilename": f.relative_to(folder).as_posix()} for f in _files(folder)],
    }


def _entry(folder: Path, file: Path) -> dict[str, object]:
    content = file.read_bytes()
    return {
        "type": "file",
        "path": file.relative_to(folder).as_posix(),
        "size": len(content),
        "oid": hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest(),
    }


def _json(value: object) -> tuple[int, dict[str, str], bytes]:
    return 200, {"Content-Type": "application/json"}, json.dumps(value).encode()


def _refused(status: int, code: str) -> tuple[int, dict[str, str], bytes]:
    headers = {"Content-Type": "application/json", "X-Error-Code": code, "X-Error-Message": code}
    return status, headers, b'{"error": "refused"}'
