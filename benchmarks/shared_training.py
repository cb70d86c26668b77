"""Two processes against one: `python -m benchmarks.shared_training --texts FILE --tokenizer FOLDER`.

Runs `roberta pretrain` with the same recipe alternately in one process on two cores and in two processes bound to one
core each, which limits the threads of every framework (on Linux). Prints the median tokens per second of both, without
those of the first steps. The exit status is 1 if two processes are slower by more than a tenth.
"""

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from roberta_core.worker_pool import divide_cores, list_cores

LIMIT = 0.9  # of the tokens per second of one process
LEFT_OUT = 4  # steps at the beginning, in which frameworks compile
RECIPE = """
[model]
hidden_size = {width}
num_hidden_layers = {layers}
num_attention_heads = {heads}
intermediate_size = {inner}
max_position_embeddings = 130
[data]
sequence_length = 128
held_out = []
[optimizer]
batch_size = 16
steps = {steps}
warmup_steps = 2
peak_learning_rate = 1e-4
[run]
threads = {threads}
log_every = 1
evaluate_every = {steps}
evaluation_blocks = 1
checkpoint_every = {steps}
"""


def main() -> int:
    """Time both ways in each framework and print a table; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--texts", required=True, help="a file with some thousand sentences")
    parser.add_argument("--tokenizer", required=True, help="a folder with a tokenizer.json")
    parser.add_argument("--frameworks", default="pt,tf,flax")
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    print("| framework | one process, two cores | two processes, one core each | ratio |\n| --- | --- | --- | --- |")
    ratios = []
    for framework in options.frameworks.split(","):
        found: dict[int, list[float]] = {1: [], 2: []}
        for _ in range(options.rounds):
            for count, speeds in found.items():
                speeds += time_run(options, framework, count)
        one, two = (statistics.median(speeds) for speeds in found.values())
        ratios.append(two / one)
        print(f"| {framework} | {one:,.0f} tokens/s | {two:,.0f} tokens/s | {ratios[-1]:.2f} |", flush=True)
    return int(min(ratios) < LIMIT)


def time_run(options: argparse.Namespace, framework: str, count: int) -> list[float]:
    """Train in so many processes and return the tokens per second of each step."""
    with tempfile.TemporaryDirectory() as folder:
        recipe, output = Path(folder, "recipe.toml"), Path(folder, "run")
        sizes = {"width": options.width, "heads": options.width // 64, "inner": 4 * options.width}
        recipe.write_text(RECIPE.format(**sizes, layers=options.layers, steps=options.steps, threads=2 // count))
        command = [
            sys.executable, "-m", "roberta_core", "pretrain", "--texts", options.texts, "--tokenizer",
            options.tokenizer, "--recipe", str(recipe), "--output", str(output), "--framework", framework,
            *(["--distributed"] if framework == "flax" and count > 1 else []),
        ]  # fmt: skip
        shares = divide_cores(list_cores()[:2], count)
        processes = [
            subprocess.Popen(
                ["taskset", "--cpu-list", ",".join(map(str, cores)), *command], env={**os.environ, **variables},
                stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
            )
            for variables, cores in zip(list_environments(framework, count), shares, strict=True)
        ]  # fmt: skip
        for process in processes:
            errors = process.communicate()[1]
            if process.returncode:
                raise SystemExit(f"{framework}, {count} processes:\n{errors}")
        lines = map(json.loads, (output / "log.jsonl").read_text().splitlines())
        return [line["tokens_per_second"] for line in lines if "tokens_per_second" in line][LEFT_OUT:]


def list_environments(framework: str, count: int) -> list[dict[str, str]]:
    """Return the variables by which the processes of a framework find each other."""
    if count == 1:
        return [{}]
    ports = find_ports(count)
    place, numbers = f"127.0.0.1:{ports[0]}", [str(number) for number in range(count)]
    if framework == "pt":
        shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(ports[0]), "WORLD_SIZE": str(count)}
        return [shared | {"RANK": number, "LOCAL_RANK": number} for number in numbers]
    if framework == "flax":
        shared = {"JAX_COORDINATOR_ADDRESS": place, "JAX_NUM_PROCESSES": str(count)}
        return [shared | {"JAX_PROCESS_ID": number} for number in numbers]
    cluster = {"worker": [f"127.0.0.1:{port}" for port in ports]}
    tasks = [{"type": "worker", "index": number} for number in range(count)]
    return [{"TF_CONFIG": json.dumps({"cluster": cluster, "task": task})} for task in tasks]


def find_ports(count: int) -> list[int]:
    """Return free ports."""
    servers = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [server.getsockname()[1] for server in servers]
    for server in servers:
        server.close()
    return ports


if __name__ == "__main__":
    sys.exit(main())
