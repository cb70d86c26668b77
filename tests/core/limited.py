"""Running work in a process with limits on its time and memory."""

import os
import resource
import traceback
from pathlib import Path


def run_limited(work, report, seconds, memory):
    """Run `work`, which returns "read" or "refused", in a forked process.

    Args:
        work: Called without arguments.
        report: The file for the traceback of an exception that `work` raises.
        seconds: Processor time after which the process is killed.
        memory: Bytes that it may use beyond what it starts with.

    Returns:
        What `work` returned, "traceback", or "killed by signal N".
    """
    child = os.fork()
    if child == 0:
        status = 3
        try:
            used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
            resource.setrlimit(resource.RLIMIT_AS, (used + memory, used + memory))
            resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
            status = 0 if work() == "read" else 1
        except BaseException:
            report.write_text(traceback.format_exc(), encoding="utf-8", errors="replace")
        finally:
            os._exit(status)
    _, ended = os.waitpid(child, 0)
    if os.WIFSIGNALED(ended):
        return f"killed by signal {os.WTERMSIG(ended)}"
    return {0: "read", 1: "refused"}.get(os.WEXITSTATUS(ended), "traceback")
