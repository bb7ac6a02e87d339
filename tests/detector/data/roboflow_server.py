"""A server on this machine that answers as Roboflow's API does, as far as the SDK asks."""

from __future__ import annotations

import io
import json
import re
import threading
import zipfile
from dataclasses import dataclass, field
from email.message import Message
from email.parser import BytesParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

KEY = "aBcDeFgHiJkL"
REVOKED = {
    "error": {
        "message": "This API key does not exist (or has been revoked).",
        "status": 401,
        "type": "OAuthException",
        "hint": "You may retrieve your API key via the Roboflow Dashboard.",
    }
}
MISSING = {
    "error": {
        "message": "Unsupported request. `GET /ws/nothing` does not exist or is not permitted.",
        "type": "GraphMethodException",
    }
}
VERSION = {"augmentation": {}, "created": 1.7e9, "images": 4, "preprocessing": {}, "splits": {}, "exports": []}
PROJECT = {
    "id": "ws/heads",
    "type": "object-detection",
    "name": "Heads",
    "annotation": "heads",
    "classes": {"face": 3},
    "colors": {},
    "created": 1.7e9,
    "updated": 1.7e9,
    "images": 4,
    "public": False,
    "splits": {"train": 3, "valid": 1},
    "unannotated": 0,
}


@dataclass
class Service:
    """What the server knows, and what it was asked."""

    zips: dict[str, bytes] = field(default_factory=dict)
    """By export format."""
    status: int = 200
    """Of the download."""
    cut: bool = False
    """Whether the download breaks off."""
    nonsense: bool = False
    """Whether it answers with a page in place of JSON."""
    asked: list[str] = field(default_factory=list)
    pictures: list[dict[str, Any]] = field(default_factory=list)
    annotations: list[dict[str, Any]] = field(default_factory=list)
    known: set[str] = field(default_factory=set)
    """Names of pictures that the project has."""
    refused: str | None = None
    """Name of a picture that it refuses."""


def make_zip(folder: Path, more: dict[str, bytes] | None = None) -> bytes:
    """A folder as a zip, with further entries."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                archive.write(path, path.relative_to(folder).as_posix())
        for name, entry in (more or {}).items():
            archive.writestr(name, entry)
    return content.getvalue()


def serve(service: Service) -> ThreadingHTTPServer:
    """Start it; ``shutdown`` ends it."""

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def answer(self, content: Any, status: int = 200) -> None:
            body = content if isinstance(content, bytes) else json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[: len(body) // 2] if service.cut and isinstance(content, bytes) else body)

        def allowed(self) -> bool:
            url = urlsplit(self.path)
            service.asked.append(f"{self.command} {url.path}")
            if service.nonsense:
                self.answer(b"<html>Welcome</html>")
                return False
            if url.path != "/download.zip" and parse_qs(url.query).get("api_key") != [KEY]:
                self.answer(REVOKED, 401)
                return False
            return True

        def do_GET(self) -> None:
            if not self.allowed():
                return
            path = urlsplit(self.path).path
            if path == "/ws/heads":
                versions = [{**VERSION, "id": f"ws/heads/{number}"} for number in (1, 3)]
                self.answer({"workspace": {"url": "ws"}, "project": PROJECT, "versions": versions})
            elif path == "/ws/heads/3":
                self.answer({"version": {"generating": False, "progress": 1, "images": 4}})
            elif found := re.fullmatch(r"/ws/heads/3/(\w+)", path):
                if service.asked.count(f"GET {path}") == 1:  # the first time it has to be packed
                    self.answer({"progress": 0.5}, 202)
                else:
                    place = f"http://127.0.0.1:{server.server_port}/download.zip?export={found[1]}"
                    self.answer({"export": {"format": found[1], "link": place}, "version": VERSION})
            elif path == "/download.zip":
                name = parse_qs(urlsplit(self.path).query)["export"][0]
                self.answer(service.zips[name], service.status)
            else:
                self.answer(MISSING, 404)

        def do_POST(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = self.rfile.read(length)
            if not self.allowed():
                return
            url = urlsplit(self.path)
            query = {key: values if key == "tag" else values[0] for key, values in parse_qs(url.query).items()}
            if url.path == "/":
                self.answer({"welcome": "Welcome to the Roboflow API.", "workspace": "ws"})
            elif url.path == "/dataset/heads/upload":
                parts = _form(self.headers, body)
                name = parts["name"].decode()
                if name == service.refused:
                    self.answer({"message": "Image too large.", "type": "InvalidImage"}, 400)
                    return
                service.pictures.append({**query, **{k: v.decode() for k, v in parts.items() if k != "file"}})
                service.pictures[-1]["bytes"] = parts["file"]
                if name in service.known:
                    self.answer({"duplicate": True, "id": name})
                else:
                    self.answer({"success": True, "id": name})
            elif url.path.startswith("/dataset/heads/annotate/"):
                service.annotations.append({**query, **json.loads(body), "image": url.path.rpartition("/")[2]})
                self.answer({"success": True})
            else:
                self.answer(MISSING, 404)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    return server


def _form(headers: Message, body: bytes) -> dict[str, bytes]:
    """The parts of a multipart form by name."""
    message = BytesParser().parsebytes(f"Content-Type: {headers['Content-Type']}\r\n\r\n".encode() + body)
    parts: Any = message.get_payload()
    return {str(part.get_param("name", header="content-disposition")): part.get_payload(decode=True) for part in parts}
