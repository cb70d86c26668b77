"""Starts `roberta` in several processes at once. They are forked from one process that has imported the framework."""

import json
import os
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from signal import SIGKILL

SERVER = """
import contextlib, gc, importlib, io, json, os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
for name in sys.argv[1:]:
    importlib.import_module(name)
from roberta_core.cli import main
with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()):
    main(["pretrain", "--help"])  # imports what every command needs
gc.freeze()
print("ready", flush=True)
for line in sys.stdin:
    given = json.loads(line)
    if "wait" in given:
        print(os.waitstatus_to_exitcode(os.waitpid(given["wait"], 0)[1]), flush=True)
        continue
    child = os.fork()
    if not child:
        os.environ.update(given["environment"])
        exec(given["code"])
        for number, file in ((1, given["output"]), (2, given["errors"])):
            os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
        from roberta_core.training.pretrain_loop import Pretraining

        def build_batch(self, step, original=Pretraining.build_batch):
            if [step + 1] == given["stop"][:1]:
                os.kill(os.getpid(), given["stop"][1])
            return original(self, step)

        Pretraining.build_batch = build_batch
        try:
            main(given["arguments"])
        except SystemExit as end:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(end.code)  # to free a whole framework takes a second
    print(child, flush=True)
"""
LIMIT = 300.0  # seconds that a process may take
ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "TF_CPP_MIN_LOG_LEVEL": "2",
    # JAX compiles once for all runs, quickly.
    "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
}


@dataclass
class Process:
    """A process that was started."""

    number: int
    output: Path
    errors: Path


class Launcher:
    """Starts processes; `modules` are imported once, before the first."""

    def __init__(self, folder: Path, modules: tuple[str, ...]):
        self.folder, self.started = folder, 0
        environment = {**os.environ, **ENVIRONMENT, "JAX_COMPILATION_CACHE_DIR": str(folder / "compiled")}
        command = [sys.executable, "-c", SERVER, *modules]
        self.server = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        self.running: list[Process] = []
        self.code = ""  # run in each new process
        assert self._read() == "ready"

    def _read(self) -> str:
        assert self.server.stdout is not None
        return self.server.stdout.readline().strip()

    def _ask(self, **request: object) -> int:
        assert self.server.stdin is not None
        self.server.stdin.write(json.dumps(request) + "\n")
        self.server.stdin.flush()
        return int(self._read())

    def start(
        self, arguments: list[str], environments: list[dict[str, str]], stop: tuple[int, int] | None = None
    ) -> list[Process]:
        """Start a process for each of the environments; the last one gets a signal in a step, `stop`."""
        begun = []
        for environment in environments:
            self.started += 1
            output, errors = (self.folder / f"{self.started}.{name}" for name in ("out", "err"))
            files = {"output": str(output), "errors": str(errors)}
            stopped = stop if stop and environment is environments[-1] else ()
            number = self._ask(arguments=arguments, environment=environment, stop=stopped, code=self.code, **files)
            begun.append(Process(number, output, errors))
        self.running += begun
        return begun

    def wait(self, processes: list[Process]) -> list[int]:
        """Return the exit statuses; a process that takes too long is killed."""
        end = time.monotonic() + LIMIT
        for process in processes:
            while _is_running(process.number) and time.monotonic() < end:
                time.sleep(0.01)
            if _is_running(process.number):
                os.kill(process.number, SIGKILL)
        statuses = [self._ask(wait=process.number) for process in processes]
        self.running = [process for process in self.running if process not in processes]
        return statuses

    def run(
        self,
        arguments: list[str],
        environments: list[dict[str, str]],
        stop: tuple[int, int] | None = None,
        statuses: list[int] | None = None,
    ) -> list[Process]:
        """Start processes and wait for them; they exit with `statuses`, by default 0."""
        processes = self.start(arguments, environments, stop)
        found = self.wait(processes)
        assert found == (statuses or [0] * len(processes)), "\n".join(one.errors.read_text() for one in processes)
        return processes

    def close(self) -> None:
        """Kill what still runs, and end the server."""
        for process in self.running:
            os.kill(process.number, SIGKILL)
        self.server.kill()
        self.server.wait()


def find_ports(count: int) -> list[int]:
    """Return free ports."""
    servers = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [server.getsockname()[1] for server in servers]
    for server in servers:
        server.close()
    return ports


def _is_running(number: int) -> bool:
    state = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0]
    return state != "Z"
