"""`make check`: check the types of changed files, run the quick tests of the core and the tests of changed modules."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("roberta_core", "roberta_pt", "roberta_tf", "roberta_flax", "roberta_onnx", "conformance", "roberta_bench")
# Test files of the core, without `test_` and `.py`, that take at most a few seconds each.
QUICK = (
    "backend", "batches", "classification", "classify", "cli_files", "cli_tokenizer", "checkpoints_h5_file",
    "checkpoints_msgpack_file", "checkpoints_shards", "checkpoints_source", "config", "embedded", "fill_mask",
    "generation", "input_validation", "metrics", "optimizer_step", "outputs", "packing", "parameters",
    "pretrain", "recipe", "records", "schedule", "surgery", "task_features", "task_predictions",
)  # fmt: skip
ALWAYS = ("tests/test_english.py", "tests/test_workflows.py", "tests/test_mirror.py")


def git(*arguments: str) -> list[str]:
    """Return the lines that git prints; none if it fails."""
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True).stdout.splitlines()


def find_changed_files() -> list[Path]:
    """Return the existing Python files that differ from the main branch, or from HEAD if there is none."""
    base = next((found[0] for name in ("origin/main", "main") if (found := git("merge-base", "HEAD", name))), "HEAD")
    names = {*git("diff", "--name-only", base), *git("ls-files", "--others", "--exclude-standard")}
    return [ROOT / name for name in sorted(names) if name.endswith(".py") and (ROOT / name).is_file()]


def find_tests(path: Path) -> list[Path]:
    """Return the test files of a changed module, or the file itself if it is a test file."""
    package, stem = path.relative_to(ROOT).parts[0], path.stem
    if package == "tests":
        return [path] if stem.startswith("test_") else []
    folder = ROOT / "tests" / package.removeprefix("roberta_")
    return sorted(folder.glob(f"test_*{stem}*.py")) if stem not in ("__init__", "base") else []


def main() -> int:
    """Run both steps and return the exit status of the first that fails."""
    changed = find_changed_files()
    modules = [str(path) for path in changed if path.relative_to(ROOT).parts[0] in PACKAGES]
    core = [ROOT / "tests" / "core" / f"test_{name}.py" for name in QUICK]
    tests = [*(ROOT / name for name in ALWAYS), *core, *(test for path in changed for test in find_tests(path))]
    steps = [["pyright", *modules]] if modules else []
    steps.append(["pytest", "-q", *(str(test) for test in dict.fromkeys(tests))])
    for name, *arguments in steps:
        if status := subprocess.run([sys.executable, "-m", name, *arguments], cwd=ROOT).returncode:
            return status
    return 0


if __name__ == "__main__":
    sys.exit(main())
