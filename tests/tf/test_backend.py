import json
import subprocess
import sys
from importlib.util import find_spec

import pytest

from roberta_core.cli.frameworks import UNUSED

INSTALLED = [name for name in UNUSED["tf"] if find_spec(name)]
LOADED = f"import sys; print([name for name in {INSTALLED} if name in sys.modules])"
COMMAND = """
from contextlib import suppress
from roberta_core.cli import frameworks, main
{change}
with suppress(SystemExit):
    main(["fill-mask", "Hello <mask>!", "--framework", "tf", "--json"])
"""


def printed_by(*lines):
    """Run code in a new process and return its output."""
    code = "\n".join(lines)
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


@pytest.mark.skipif(not INSTALLED, reason="nothing that TensorFlow and Keras could do without is installed")
def test_the_command_loads_tensorflow_without_what_it_has_no_use_for():
    later = [f"import {name}" for name in INSTALLED]
    *answer, loaded, then = printed_by(COMMAND.format(change=""), LOADED, *later, LOADED).splitlines()
    assert (loaded, then) == ("[]", str(INSTALLED))
    whole = json.loads(printed_by(COMMAND.format(change="frameworks.UNUSED.clear()")))
    assert json.loads("\n".join(answer)) == whole


@pytest.mark.skipif(not INSTALLED, reason="nothing that TensorFlow and Keras could do without is installed")
def test_the_package_is_imported_with_all_that_keras_finds():
    assert printed_by("import roberta_tf", LOADED) == printed_by("import keras", LOADED) != "[]\n"
