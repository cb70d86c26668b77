"""A minimal model Hub on localhost, to test uploads and downloads; it records the requests."""

import base64
import hashlib
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

RESOLVE = re.compile(r"/(?P<name>.+?)/resolve/(?P<revision>[^/]+)/(?P<path>.+)")
INFO = re.compile(r"/api/models/(?P<name>.+?)(/revision/(?P<revision>[^/]+))?")
TREE = re.compile(r"/api/models/(?P<name>.+?)/tree/(?P<revision>[^/]+)")
BRANCH = re.compile(r"/api/models/(?P<name>.+?)/branch/(?P<revision>[^/]+)")
PREUPLOAD = re.compile(r"/api/models/(?P<name>.+?)/preupload/(?P<revision>[^/]+)")
COMMIT = re.compile(r"/api/models/(?P<name>.+?)/commit/(?P<revision>[^/]+)")


def sha(text):
    return hashlib.sha1(text.encode()).hexdigest()


class Hub:
    """A server with repositories (name -> branch -> file -> content); `secret` and `gated` ones require the token."""

    TOKEN = "hf_secret"

    def __init__(self):
        self.repositories = {}
        self.secret, self.gated = set(), set()
        self.asked = []  # requests: (method, path)
        self.broken = False  # answer every request with 500
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def do_GET(self):
                hub.answer(self)

            do_HEAD = do_POST = do_DELETE = do_GET  # noqa: N815 - as http.server calls them

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()

    def add(self, name, folder, revision="main", prefix=""):
        """Add the files of a folder to a repository."""
        files = self.repositories.setdefault(name, {"main": {}}).setdefault(revision, {})
        files.update({f"{prefix}{path.name}": path.read_bytes() for path in folder.iterdir() if path.is_file()})

    def downloads(self):
        """Return the downloaded files in order."""
        found = (RESOLVE.fullmatch(path) for method, path in self.asked if method == "GET")
        return [match["path"] for match in found if match]

    def commit(self, name, revision):
        """Return a hash of the contents of a branch."""
        files = self.repositories[name][revision]
        return sha(repr([(path, hashlib.sha1(content).hexdigest()) for path, content in sorted(files.items())]))

    # Answers ---------------------------------------------------------------------------------------------------------

    def answer(self, request):
        url = urlsplit(unquote(request.path))
        body = request.rfile.read(int(request.headers.get("Content-Length") or 0))
        self.asked.append((request.command, url.path))
        if self.broken:
            return self.send(request, 500, {"error": "down"})
        for pattern, method in (
            (COMMIT, self.apply_commit), (PREUPLOAD, self.preupload), (BRANCH, self.branch), (TREE, self.tree),
            (RESOLVE, self.resolve), (INFO, self.info),
        ):  # fmt: skip
            if match := pattern.fullmatch(url.path):
                return self.authorise(request, method, match.groupdict(), body)
        if url.path == "/api/repos/create":
            return self.create(request, json.loads(body))
        return self.send(request, 200, {})  # checks of model cards and similar requests

    def authorise(self, request, method, where, body):
        name, revision = where["name"], where.get("revision") or "main"
        known = request.headers.get("Authorization") == f"Bearer {self.TOKEN}"
        if name not in self.repositories or (name in self.secret and not known):
            return self.send(request, 401 if not known else 404, {"error": "no"}, {"X-Error-Code": "RepoNotFound"})
        if name in self.gated and not known:
            return self.send(request, 403, {"error": "gated"}, {"X-Error-Code": "GatedRepo"})
        branches = self.repositories[name]
        revision = next((branch for branch in branches if revision in (branch, self.commit(name, branch))), revision)
        if revision not in branches and method != self.branch:
            return self.send(request, 404, {"error": "no"}, {"X-Error-Code": "RevisionNotFound"})
        return method(request, name, revision, where.get("path"), body)

    def info(self, request, name, revision, *_):
        files = [{"rfilename": path} for path in sorted(self.repositories[name][revision])]
        commit = self.commit(name, revision)
        self.send(request, 200, {"id": name, "modelId": name, "sha": commit, "siblings": files, "tags": []})

    def tree(self, request, name, revision, *_):
        files = self.repositories[name][revision].items()
        entries = [{"type": "file", "path": path, "size": len(content), "oid": sha(path)} for path, content in files]
        self.send(request, 200, entries)

    def resolve(self, request, name, revision, path, *_):
        content = self.repositories[name][revision].get(path)
        headers = {"X-Repo-Commit": self.commit(name, revision)}
        if content is None:
            return self.send(request, 404, {"error": "no"}, {**headers, "X-Error-Code": "EntryNotFound"})
        etag = f'"{hashlib.sha1(content).hexdigest()}"'
        self.send(request, 200, content, {**headers, "ETag": etag, "Accept-Ranges": "bytes"})

    def create(self, request, body):
        if request.headers.get("Authorization") != f"Bearer {self.TOKEN}":
            return self.send(request, 401, {"error": "Invalid username or password."})
        name = f"{body['organization']}/{body['name']}" if body.get("organization") else body["name"]
        there = name in self.repositories
        self.repositories.setdefault(name, {"main": {}})
        self.send(request, 409 if there else 200, {"url": f"{self.url}/{name}", "name": name, "id": name})

    def branch(self, request, name, revision, *_):
        there = revision in self.repositories[name]
        self.repositories[name].setdefault(revision, dict(self.repositories[name]["main"]))
        self.send(request, 409 if there else 200, {})

    def preupload(self, request, name, revision, _, body):
        files = [{"path": one["path"], "uploadMode": "regular", "shouldIgnore": False, "oid": None}
                 for one in json.loads(body)["files"]]  # fmt: skip
        self.send(request, 200, {"files": files})

    def apply_commit(self, request, name, revision, _, body):
        files = self.repositories[name][revision]
        for line in map(json.loads, body.splitlines()):
            if line["key"] == "file":
                files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
            elif line["key"] == "deletedFile":
                files.pop(line["value"]["path"])
        commit = self.commit(name, revision)
        self.send(request, 200, {"commitUrl": f"{self.url}/{name}/commit/{commit}", "commitOid": commit})

    def send(self, request, status, content, headers=None):
        raw = content if isinstance(content, bytes) else json.dumps(content).encode()
        request.send_response(status)
        for key, value in {"Content-Length": str(len(raw)), **(headers or {})}.items():
            request.send_header(key, value)
        request.end_headers()
        if request.command != "HEAD":
            request.wfile.write(raw)
