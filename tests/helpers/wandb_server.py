"""As much of W&B's server as its own client needs here: it keeps what `wandb` sends, and gives `wandb.Api` what was kept.

The real one cannot be had in tests. The requests are the client's own, so what is kept is what the real server would be told.
"""

import gzip
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from typing import Any

KEY = "0123456789" * 4
ENTITY, PROJECT = "team", "refinenet_pl"


class Server(ThreadingHTTPServer):
    """Runs by their ids.

    Attributes:
        runs: For each id what its UpsertBucket mutations said last, with `files` (name to bytes) and `history` (rows).
        asked: GraphQL queries that had no answer here.
    """

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.runs: dict[str, dict] = {}
        self.asked: list[str] = []
        self.lock = Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    @property
    def environment(self) -> dict[str, str]:
        """What leads W&B's client here."""
        return {"WANDB_BASE_URL": self.url, "WANDB_API_KEY": KEY, "WANDB_MODE": "online", "WANDB_ENTITY": ENTITY}

    def answer(self, query: str, given: dict[str, Any]) -> dict[str, Any]:
        """What a GraphQL query gets."""
        operation = (re.search(r"(?:query|mutation)\s+(\w+)", query) or [None, ""])[1]
        project = {"id": "p", "internalId": "1", "name": PROJECT, "entity": {"id": "e", "name": ENTITY}}
        if operation == "UpsertBucket":
            run = self.runs.setdefault(given["name"], {"files": {}, "history": []})
            run |= {key: value for key, value in given.items() if value is not None}
            bucket = {"id": given["name"], "name": given["name"], "displayName": run.get("displayName"), "project": project}
            bucket |= {"config": run.get("config"), "description": "", "sweepName": None, "historyLineCount": 0}
            return {"upsertBucket": {"bucket": bucket, "inserted": True}}
        if operation == "CreateRunFiles":
            files = [{"name": name, "uploadUrl": f"{self.url}/store/{given['run']}/{name}"} for name in given["files"]]
            return {"createRunFiles": {"runID": given["run"], "uploadHeaders": [], "files": files}}
        if operation == "RunResumeStatus":
            return {"model": {**project, "bucket": None}}
        if operation == "Viewer":
            return {
                "viewer": {"id": "u", "entity": ENTITY, "username": "one", "email": "", "flags": "{}", "teams": {"edges": []}}
            }
        if operation == "ServerFeaturesQuery":
            return {"serverInfo": {"features": []}}
        if operation == "Runs":
            edges = [{"node": self._run(run), "cursor": str(place)} for place, run in enumerate(self.runs.values())]
            page = {"endCursor": None, "hasNextPage": False}
            runs = {"edges": edges, "pageInfo": page}
            return {"project": {**project, "runCount": len(edges), "readOnly": False, "runs": runs}}
        if operation == "Run":
            return {"project": {**project, "run": self._run(self.runs[given["name"]])}}
        if operation == "RunFiles":
            kept = self.runs[given["name"]]["files"]
            names = [name for name in kept if name in (given.get("fileNames") or kept)]
            edges = [{"node": self._file(given["name"], name, len(kept[name])), "cursor": name} for name in names]
            page = {"endCursor": None, "hasNextPage": False}
            return {"project": {**project, "run": {"fileCount": len(edges), "files": {"edges": edges, "pageInfo": page}}}}
        raise NotImplementedError(f"{query} {given}")

    def _file(self, run: str, name: str, size: int) -> dict[str, Any]:
        url = f"{self.url}/store/{run}/{name}"
        known = {"id": name, "name": name, "url": url, "directUrl": url, "sizeBytes": size}
        return {**known, "mimetype": "", "updatedAt": "2026-01-01T00:00:00Z", "md5": ""}

    def _run(self, run: dict) -> dict[str, Any]:
        """A run as the server describes it."""
        state = "running" if "exitcode" not in run else "failed" if run["exitcode"] else "finished"
        time = "2026-01-01T00:00:00Z"
        return {
            **{key: run.get(key) for key in ("name", "displayName", "config", "jobType", "tags", "commit")},
            **{"id": run["name"], "group": run.get("groupName"), "state": state, "projectId": "1", "createdAt": time},
            **{"heartbeatAt": time, "description": "", "notes": "", "sweepName": None, "readOnly": False},
            **{"historyLineCount": len(run["history"]), "user": {"name": "one", "username": "one"}},
            **{"summaryMetrics": json.dumps(run.get("summary") or {}), "systemMetrics": "{}", "historyKeys": None},
        }


class _Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments) -> None:
        """Nothing: the test's output is for the test."""

    def do_POST(self) -> None:
        body = self._body()
        with self.server.lock:
            if self.path == "/graphql":
                request = json.loads(body)
                try:
                    answer = {"data": self.server.answer(request["query"], request.get("variables") or {})}
                except NotImplementedError as error:  # artifacts, which nothing here reads back
                    self.server.asked.append(str(error))
                    answer = {"errors": [{"message": "not supported"}]}
            elif self.path.endswith("/file_stream"):  # /files/ENTITY/PROJECT/RUN/file_stream
                self._keep(self.path.split("/")[4], json.loads(body))
                answer = {}
            else:
                self.server.asked.append(self.path)
                answer = {}
        self._send(json.dumps(answer).encode())

    def do_PUT(self) -> None:
        _, _, run, name = self.path.split("/", 3)
        with self.server.lock:
            self.server.runs[run]["files"][name] = self._body()
        self._send(b"")

    def do_GET(self) -> None:
        _, _, run, name = self.path.split("/", 3)
        self._send(self.server.runs[run]["files"][name])

    def _keep(self, run: str, request: dict) -> None:
        for name, part in (request.get("files") or {}).items():
            if name == "wandb-history.jsonl":
                self.server.runs[run]["history"] += map(json.loads, part["content"])
            elif name == "wandb-summary.json":
                self.server.runs[run]["summary"] = json.loads(part["content"][-1])
        if request.get("complete") is not None:
            self.server.runs[run]["exitcode"] = request.get("exitcode")

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") == "chunked":
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        return gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body

    def _send(self, content: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


@contextmanager
def serving() -> Iterator[Server]:
    """A server while the block runs."""
    server = Server()
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
