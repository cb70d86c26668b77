import sys
from pathlib import Path

# The benchmarks are not installed. At the end of the path, so that every other package is the installed one.
sys.path.append(str(Path(__file__).resolve().parents[2]))
