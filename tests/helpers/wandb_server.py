"""A minimal W&B server: it stores the requests of the real client `wandb`, and serves them to `wandb.Api`."""

import gzip
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from typing import Any

from helpers.wandb_artifacts import Artifacts
from helpers.wandb_sweeps import Sweeps
from helpers.wandb_views import Views

KEY = "0123456789" * 4
ENTITY, PROJECT = "team", "refinenet_pl"


class Server(ThreadingHTTPServer):
    """Runs by id.

    Attributes:
        runs: Last values of each run's UpsertBucket mutations, with `files` (name to bytes) and `history` (rows).
    """

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.runs: dict[str, dict] = {}
        self.sweeps = Sweeps(ENTITY, PROJECT, self.runs)
        self.views = Views(ENTITY, PROJECT)
        self.artifacts = Artifacts(self.url, ENTITY, PROJECT)
        self.lock = Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    @property
    def environment(self) -> dict[str, str]:
        """Environment variables of a client of this server."""
        return {"WANDB_BASE_URL": self.url, "WANDB_API_KEY": KEY, "WANDB_MODE": "online", "WANDB_ENTITY": ENTITY}

    def answer(self, query: str, given: dict[str, Any]) -> dict[str, Any] | None:
        """Response to a GraphQL query with these variables; None if it is not supported."""
        run, name = self.runs.get(given.get("name")), given.get("name")
        project = {"id": "p", "internalId": "1", "name": PROJECT, "entity": {"id": "e", "name": ENTITY}}
        page = {"pageInfo": {"endCursor": None, "hasNextPage": False}}
        operation = (re.search(r"(?:query|mutation)\s+(\w+)", query) or [None, ""])[1]
        match operation:
            case "UpsertBucket":
                run = self.runs.setdefault(name, {"files": {}, "history": []})
                run |= {key: value for key, value in given.items() if value is not None}
                bucket = {"id": name, "name": name, "displayName": run.get("displayName"), "config": run.get("config")}
                bucket |= {"project": project, "description": "", "sweepName": None, "historyLineCount": 0}
                return {"upsertBucket": {"bucket": bucket, "inserted": True}}
            case "CreateRunFiles":
                files = [{"name": name, "uploadUrl": f"{self.url}/store/{given['run']}/{name}"} for name in given["files"]]
                return {"createRunFiles": {"runID": given["run"], "uploadHeaders": [], "files": files}}
            case "RunResumeStatus":
                return {"model": {**project, "bucket": None}}
            case "Viewer":
                return {"viewer": {"id": "u", "entity": ENTITY, "flags": "{}", "teams": {"edges": []}}}
            case "Runs" if given["project"] != PROJECT:
                return {"project": None}
            case "Runs":
                edges = [{"node": self._run(run), "cursor": str(index)} for index, run in enumerate(self.runs.values())]
                return {"project": {**project, "runCount": len(edges), "readOnly": False, "runs": {"edges": edges, **page}}}
            case "Run":
                return {"project": {**project, "run": self._run(run)}}
            case "RunFiles":
                wanted = given.get("fileNames") or run["files"]
                files = [self._file(name, file, len(run["files"][file])) for file in run["files"] if file in wanted]
                edges = [{"node": file, "cursor": file["name"]} for file in files]
                return {"project": {**project, "run": {"fileCount": len(edges), "files": {"edges": edges, **page}}}}
        parts = (self.sweeps, self.views, self.artifacts)
        return next((found for part in parts if (found := part.answer(operation, given)) is not None), None)

    def _file(self, run: str, name: str, size: int) -> dict[str, Any]:
        url = f"{self.url}/store/{run}/{name}"
        return {"id": name, "name": name, "url": url, "directUrl": url, "sizeBytes": size}

    def _run(self, run: dict) -> dict[str, Any]:
        state = "running" if "exitcode" not in run else "failed" if run["exitcode"] else "finished"
        content = {key: run.get(key) for key in ("name", "displayName", "config", "jobType", "tags", "commit")}
        content |= {"id": run["name"], "group": run.get("groupName"), "state": state, "projectId": "1"}
        content |= {"historyLineCount": len(run["history"]), "user": {"name": "one", "username": "one"}, "sweepName": None}
        return content | {"summaryMetrics": json.dumps(run.get("summary") or {}), "systemMetrics": "{}"}


class _Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments) -> None:
        """Print nothing."""

    def do_POST(self) -> None:
        body, answer = self._body(), {}
        with self.server.lock:
            if self.path == "/graphql":
                request = json.loads(body)
                data = self.server.answer(request["query"], request.get("variables") or {})
                answer = {"errors": [{"message": "not supported"}]} if data is None else {"data": data}
            elif self.path.endswith("/file_stream"):  # /files/ENTITY/PROJECT/RUN/file_stream
                self._store(self.server.runs[self.path.split("/")[4]], json.loads(body))
        self._send(json.dumps(answer).encode())

    def do_PUT(self) -> None:
        _, _, run, name = self.path.split("/", 3)
        with self.server.lock:
            owner = self.server.artifacts.stored if run.startswith("artifact-") else self.server.runs
            owner[run]["files"][name] = self._body()
        self._send(b"")

    def do_GET(self) -> None:
        _, _, run, name = self.path.split("/", 3)
        self._send(self.server.runs[run]["files"][name])

    @staticmethod
    def _store(run: dict, request: dict) -> None:
        for name, part in (request.get("files") or {}).items():
            if name == "wandb-history.jsonl":
                run["history"] += map(json.loads, part["content"])
            elif name == "wandb-summary.json":
                run["summary"] = json.loads(part["content"][-1])
        if request.get("complete") is not None:
            run["exitcode"] = request.get("exitcode")

    def _body(self) -> bytes:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.headers.get("Transfer-Encoding") == "chunked":
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
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
