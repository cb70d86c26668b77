"""The command line: exit statuses, stdout and stderr, and the messages for wrong input of every kind."""

import json
import os
import subprocess
import sys
from contextlib import suppress
from importlib import import_module
from importlib.metadata import EntryPoint

import pytest

import roberta_core
from roberta_core import RobertaConfig, backend, checkpoints, cli
from roberta_core.backend import hide_modules
from roberta_core.cli import frameworks, program
from roberta_core.outputs import MaskedLMOutput
from roberta_core.parameters import draw
from roberta_core.tokenization import train_tokenizer

TEXT = "the old man and the sea, the boy and the boat\n"
SEED = 7


class SmallBackend:
    """A NumPy backend that scores a token by its id and its position; `shift` changes its predictions."""

    version, device = "1.2", "cpu"

    def __init__(self, name: str, title: str, shift: float = 0.0):
        self.name, self.title, self.shift = name, title, shift

    def on(self, device):
        return self

    def from_pretrained(self, architecture, source, **settings):
        self.config = RobertaConfig.from_pretrained(source)
        return self

    def run(self, model, inputs, **options):
        import numpy as np

        ids = inputs["input_ids"]
        logits = np.zeros((*ids.shape, self.config.vocab_size), np.float32)
        logits[..., 100:103] = [3 + self.shift, 5 - self.shift, 4]
        return MaskedLMOutput(logits=logits)


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory):
    """Return the folder of a small masked language model with its tokenizer."""
    folder = tmp_path_factory.mktemp("checkpoint")
    corpus = folder / "corpus.txt"
    corpus.write_text(TEXT * 20)
    vocab_size = train_tokenizer([corpus], 290, folder)
    config = RobertaConfig(
        vocab_size=vocab_size, hidden_size=12, num_hidden_layers=2, num_attention_heads=3, intermediate_size=20,
        max_position_embeddings=19, type_vocab_size=1, layer_norm_eps=1e-5, architectures=["RobertaForMaskedLM"],
    )  # fmt: skip
    checkpoints.save(folder, config, "ForMaskedLM", dict(draw(config, "ForMaskedLM", SEED)))
    return folder


@pytest.fixture
def two_backends(monkeypatch):
    """Install two frameworks that have no dependencies."""
    known = {"one": SmallBackend("one", "First"), "two": SmallBackend("two", "Second")}
    monkeypatch.setattr(backend, "registered", lambda: known)
    monkeypatch.setattr(backend, "require", lambda name: None)
    monkeypatch.setattr(backend, "available", lambda: tuple(known))
    monkeypatch.setattr(backend, "load", known.__getitem__)
    return known


@pytest.fixture
def run(capsys):
    """Return a function that runs a command line and returns its exit status, stdout and stderr."""

    def run(*arguments):
        with pytest.raises(SystemExit) as ended:
            cli.main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return ended.value.code, captured.out, captured.err

    return run


def assert_refused(result, status: int, *parts: str) -> None:
    """Assert that a command exited with a status and printed one sentence with these parts on stderr."""
    code, out, err = result
    assert code == status, err
    assert out == ""
    assert err.startswith("roberta: ")
    assert err.count("\n") == 1
    for part in parts:
        assert part in err


# The program ----------------------------------------------------------------------------------------------------------


def test_the_help_names_every_command(run):
    code, out, _ = run("--help")
    assert code == 0
    listed = [line.split()[1] for line in out.splitlines() if line.startswith("│ ") and line[2] != " "]
    assert {*program.COMMANDS, "parity"} <= set(listed)


def test_a_command_has_its_own_help(run):
    code, out, _ = run("fill-mask", "--help")
    assert code == 0
    assert "--top-k" in out


def test_a_paragraph_of_a_help_is_one_line_so_that_the_terminal_breaks_it():
    found = program.find_commands()
    for name in ("finetune", "tokenizer", "answer"):
        command = program.build_command(name, found[name])
        for one in (command, *getattr(command, "commands", {}).values()):
            assert all("\n" not in part for part in one.help.split("\n\n")), one.name
    assert "\n\n" in program.build_command("finetune", found["finetune"]).help


def test_a_call_without_command_prints_the_help_as_a_usage_error(run):
    code, out, _ = run()
    assert code == 2
    assert "fill-mask" in out


def test_the_version_is_the_project_s(run):
    assert run("--version") == (0, f"triberta {roberta_core.__version__}\n", "")


def test_the_help_loads_no_framework_and_no_numpy():
    code = (
        "import sys; from roberta_core.cli import main\ntry: main(['--help'])\nexcept SystemExit: print(*sys.modules)"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "roberta_core.cli.pretrain" in loaded
    assert not {"torch", "tensorflow", "keras", "jax", "flax", "numpy"} & set(loaded)


def test_the_installed_command_ends_with_the_status():
    command = [sys.executable, "-c", "from roberta_core.cli import main; main()", "info", "nowhere"]
    ended = subprocess.run(command, capture_output=True, text=True)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["inof"], ["No such command 'inof'", "`roberta --help`"]),
        (["--wrong"], ["No such option: --wrong"]),
        (["info", "--wrong"], ["--wrong", "`roberta info --help`"]),
        (["info", "one", "two"], ["two"]),
        (["fill-mask"], ["TEXT"]),
        (["fill-mask", "a<mask>", "--top-k", "many"], ["--top-k"]),
        (["fill-mask", "a<mask>", "--top-k", "0"], ["--top-k"]),
        (["fill-mask", "a<mask>", "--top-k", "1.5"], ["--top-k"]),
        (["fill-mask", "a<mask>", "--model"], ["--model"]),
        (["fill-mask", "a<mask>", "--framework", "mxnet"], ["no framework 'mxnet'"]),
        (["fill-mask", "a<mask>", "--frameworks", "pt,mxnet,caffe"], ["no framework 'mxnet', 'caffe'"]),
        (["fill-mask", "a<mask>", "--frameworks", ""], ["no framework ''"]),
        (["fill-mask", "a<mask>", "--frameworks", "pt,pt"], ["twice"]),
        (["fill-mask", "a<mask>", "--processes", "2"], ["--processes requires --file"]),
        (["fill-mask", "a<mask>", "--engine", "ray"], ["--engine requires --file"]),
        (["generate", "a", "--model", "b", "--sample", "--temperature", "0"], ["--temperature is 0.0; it must be"]),
        (["generate", "a", "--model", "b", "--temperature", "nan"], ["--temperature is nan; it must be a finite"]),
        (["fill-mask", "a<mask>", "--framework", "pt,tf"], ["--frameworks pt,tf"]),
        (["fill-mask", "a<mask>", "--framework", "pt", "--frameworks", "tf"], ["not both"]),
    ],
)
def test_wrong_usage_is_one_sentence_and_status_2(run, arguments, parts):
    assert_refused(run(*arguments), 2, *parts)


def test_a_command_registered_by_another_package_is_found(run, monkeypatch):
    def entry_points(group):
        return [EntryPoint("more", "json:dumps", group), EntryPoint("gone", "nowhere_to_be_found:run", group)]

    monkeypatch.setattr(program, "entry_points", entry_points)
    code, out, _ = run("--help")
    assert code == 0
    assert "more" in out
    assert_refused(run("gone"), 1, "gone cannot be loaded", "nowhere_to_be_found")


def test_the_help_searches_for_commands_once(run, monkeypatch):
    asked, found = [], program.entry_points
    monkeypatch.setattr(program, "entry_points", lambda group: asked.append(group) or found(group=group))
    assert run("--help")[0] == 0
    assert asked == [program.GROUP]


class RustPanic(BaseException):
    """An exception like those of libraries in Rust."""


@pytest.mark.parametrize(
    ("error", "parts"),
    [
        (KeyError("roberta"), ["unexpected KeyError: 'roberta'", "this is a bug", "ROBERTA_TRACEBACK=1"]),
        (RecursionError(), ["unexpected RecursionError: RecursionError"]),
        (RustPanic("index out of bounds"), ["unexpected RustPanic: index out of bounds"]),
        (MemoryError(), ["not enough memory: MemoryError"]),
        (MemoryError("a: not enough memory to read it"), ["roberta: a: not enough memory to read it"]),
        (ValueError("in \x1b[2Jred\u202e"), ["in \\x1b[2Jred\\u202e"]),
        (FileNotFoundError(2, "No such file", "a\x1b]0;b\x07"), ["a\\x1b]0;b\\x07: No such file"]),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)
def test_every_error_is_one_sentence_without_control_characters(monkeypatch, run, error, parts):
    def fail(*_):
        raise error

    monkeypatch.setattr("roberta_core.cli.info.examine", fail)
    monkeypatch.delenv("ROBERTA_TRACEBACK", raising=False)
    assert_refused(run("info"), 1, *parts)


def test_the_traceback_of_an_unexpected_error_is_printed_on_request(monkeypatch):
    def fail(*_):
        raise KeyError("roberta")

    monkeypatch.setattr("roberta_core.cli.info.examine", fail)
    monkeypatch.setenv("ROBERTA_TRACEBACK", "1")
    with pytest.raises(KeyError):
        cli.main(["info"])


def test_a_closed_pipe_is_not_an_error(tmp_path):
    command = f"{sys.executable} -c 'from roberta_core.cli import main; main()' info --json; echo $? >{tmp_path}/status"
    ended = subprocess.run(f"({command}) | head -c 1", shell=True, capture_output=True, text=True)
    assert (ended.stdout, ended.stderr) == ("{", "")
    assert (tmp_path / "status").read_text() in ("1\n", "0\n")  # 0 if head was slower


@pytest.mark.parametrize("module", ["roberta_core.cli.program", "roberta_core.cli.info"])
def test_an_interrupt_during_import_prints_no_traceback(module):
    interrupt = (
        "import signal, sys; from roberta_core.cli import main\n"
        "class Finder:\n"
        "    def find_spec(self, name, *_):\n"
        f"        if name == '{module}': signal.raise_signal(signal.SIGINT)\n"
        "sys.meta_path.insert(0, Finder()); main(['info'])"
    )
    ended = subprocess.run([sys.executable, "-c", interrupt], capture_output=True, text=True)
    assert (ended.returncode, ended.stdout, ended.stderr.strip()) == (130, "", "roberta: interrupted")


def test_importing_the_entry_point_loads_no_large_module():
    code = "import sys; import roberta_core.cli; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"typer", "rich", "numpy", "json"} & set(loaded)


def test_markup_and_escapes_in_texts_are_printed_literally(run, checkpoint, two_backends):
    text = "[/x]\x1b[m:a:<mask>"
    code, out, err = run("fill-mask", text, "--model", checkpoint, "--frameworks", "one,two")
    assert (code, err) == (0, "")
    assert "[/x]\\x1b[m:a:<mask>" in out


def run_code(code: str) -> tuple[int, str]:
    program = f"import os, sys\nfrom roberta_core.cli.frameworks import hold_back_stderr\n{code}"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    return ended.returncode, ended.stderr


def test_messages_from_native_code_are_suppressed_at_start_up():
    greet = (
        "with hold_back_stderr(): os.write(2, b'greeting'); print('a warning', file=sys.stderr)\nos.write(2, b'after')"
    )
    assert run_code(greet) == (0, "a warning\nafter")


def test_messages_before_a_failed_start_up_are_printed():
    status, printed = run_code("with hold_back_stderr(): os.write(2, b'a reason'); raise OSError")
    assert status == 1
    assert printed.startswith("a reason")
    assert "OSError" in printed


def test_start_up_messages_are_not_printed_with_our_own_errors():
    status, printed = run_code("with hold_back_stderr(): os.write(2, b'noise'); raise ValueError('the reason')")
    assert status == 1
    assert "noise" not in printed
    assert printed.endswith("ValueError: the reason\n")


def test_messages_from_native_code_after_start_up_are_printed():
    code = "with hold_back_stderr() as end: os.write(2, b'noise'); end(); os.write(2, b'last words'); os._exit(3)"
    assert run_code(code) == (3, "last words")


def test_a_hidden_module_can_be_imported_only_afterwards(monkeypatch, tmp_path):
    (tmp_path / "spare").mkdir()
    (tmp_path / "spare" / "part.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("spare", "spare.part"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    with suppress(OSError), hide_modules(["spare", "nowhere_to_be_found"]):
        for name in ("spare", "spare.part"):
            with pytest.raises(ModuleNotFoundError):
                import_module(name)
        raise OSError
    assert import_module("spare.part").__name__ == "spare.part"
    assert "nowhere_to_be_found" not in sys.modules


def test_a_loaded_module_is_not_hidden():
    with hide_modules(["json"]):
        assert import_module("json") is json
    assert sys.modules["json"] is json


def test_the_environment_of_a_framework_is_set_before_it_is_imported_unless_it_is_set(monkeypatch):
    monkeypatch.setattr(frameworks, "SETTINGS", {"one": {"ROBERTA_FIRST": "1", "ROBERTA_SECOND": "1"}})
    monkeypatch.setenv("ROBERTA_FIRST", "0")
    monkeypatch.setenv("ROBERTA_SECOND", "to be removed")  # and restored after the test
    del os.environ["ROBERTA_SECOND"]
    found, small = {}, SmallBackend("one", "First")
    monkeypatch.setattr("roberta_core.backend.load", lambda name: found.update(os.environ) or small)
    frameworks.load_backend("one")
    assert (found["ROBERTA_FIRST"], found["ROBERTA_SECOND"]) == ("0", "1")


def test_a_framework_is_loaded_without_unused_modules(monkeypatch):
    monkeypatch.setattr(frameworks, "UNUSED", {"one": ("nowhere_to_be_found",)})
    found = []
    small = SmallBackend("one", "First")
    monkeypatch.setattr(backend, "load", lambda name: found.append("nowhere_to_be_found" in sys.modules) or small)
    frameworks.load_backend("one")
    frameworks.load_backend("two")
    assert found == [True, False]


# info -----------------------------------------------------------------------------------------------------------------


def test_info_prints_class_sizes_and_tensors(run, checkpoint):
    code, out, err = run("info", checkpoint)
    assert (code, err) == (0, "")
    for part in ("RobertaForMaskedLM", "safetensors", "float32", "12", "roberta.encoder.layer.*.intermediate.dense"):
        assert part in out


def test_info_as_json_has_every_tensor(run, checkpoint):
    code, out, err = run("info", checkpoint, "--json")
    facts = json.loads(out)
    assert (code, err) == (0, "")
    assert facts["class"] == "RobertaForMaskedLM"
    assert facts["config"]["hidden_size"] == 12
    assert facts["config"]["max_sequence_length"] == 17
    assert facts["tensors"]["roberta.encoder.layer.1.intermediate.dense.weight"] == {
        "dtype": "float32",
        "shape": [20, 12],
    }
    assert facts["parameters"] * 4 == facts["bytes"]
    assert facts["remarks"] == []
    assert (facts["format"], facts["dialect"], facts["files"]) == ("safetensors", "pt", ["model.safetensors"])
    assert (facts["missing"], facts["unexpected"], facts["not_finite"]) == ([], [], [])


@pytest.mark.parametrize("named", [None, ["BertForMadeUp"]])
def test_info_infers_a_class_that_the_configuration_does_not_name(run, checkpoint, tmp_path, named):
    config = json.loads((checkpoint / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "architectures": named}))
    (tmp_path / "model.safetensors").write_bytes((checkpoint / "model.safetensors").read_bytes())
    assert json.loads(run("info", tmp_path, "--json")[1])["class"] == "RobertaForMaskedLM"


def broken_checkpoints(checkpoint, folder):
    """Yield folders that are not checkpoints, each with a part of its error message."""
    weights = (checkpoint / "model.safetensors").read_bytes()
    config = (checkpoint / "config.json").read_text()
    files = {
        "empty": ({}, "config.json"),
        "no weights": ({"config.json": config}, "no weights"),
        "no configuration": ({"model.safetensors": weights}, "config.json"),
        "configuration cut off": ({"config.json": config[:40], "model.safetensors": weights}, "config.json"),
        "configuration of a list": ({"config.json": "[]", "model.safetensors": weights}, "config.json"),
        "weights cut off": ({"config.json": config, "model.safetensors": weights[:900]}, "model.safetensors"),
        "weights of nothing": ({"config.json": config, "model.safetensors": b""}, "model.safetensors"),
        "another size": (
            {"config.json": config.replace('"hidden_size": 12', '"hidden_size": 15'), "model.safetensors": weights},
            "15",
        ),
        "heads that do not fit": (
            {"config.json": config.replace('"num_attention_heads": 3', '"num_attention_heads": 5')},
            "is not divisible by num_attention_heads 5",
        ),
    }
    for name, (contents, part) in files.items():
        (folder / name).mkdir()
        for file, content in contents.items():
            (folder / name / file).write_bytes(content if isinstance(content, bytes) else content.encode())
        yield folder / name, part


def test_info_refuses_folders_that_are_not_checkpoints(run, checkpoint, tmp_path):
    for folder, part in broken_checkpoints(checkpoint, tmp_path):
        assert_refused(run("info", folder), 1, part)


@pytest.mark.parametrize("source", ["nowhere", "", "a/b/c", "x" * 5000, "nul\0byte", "../nowhere"])
def test_info_refuses_a_missing_source(run, source):
    assert_refused(run("info", source), 1)


def test_info_refuses_a_file(run, checkpoint):
    assert_refused(run("info", checkpoint / "config.json"), 1, "is a file")


# fill-mask ------------------------------------------------------------------------------------------------------------


def test_the_predictions_of_frameworks_are_compared(run, checkpoint, two_backends):
    code, out, err = run("fill-mask", "the old<mask> and", "--model", checkpoint, "--frameworks", "one,two")
    assert (code, err) == (0, "")
    assert "First 1.2" in out
    assert "Second 1.2" in out
    assert "the same tokens" in out


def test_a_disagreement_is_reported(run, checkpoint, two_backends):
    two_backends["two"].shift = 2.0
    out = run("fill-mask", "the old<mask> and", "--model", checkpoint, "--frameworks", "one,two")[1]
    assert "predict different tokens" in out


def test_json_has_every_mask_and_framework(run, checkpoint, two_backends):
    texts = ("the old<mask> and<mask>", "<mask>")
    code, out, err = run("fill-mask", *texts, "--model", checkpoint, "--frameworks", "two,one", "--top-k", 3, "--json")
    assert (code, err) == (0, "")
    data = json.loads(out)
    assert list(data["frameworks"]) == ["two", "one"]
    assert [len(text["masks"]) for text in data["texts"]] == [2, 1]
    assert [text["text"] for text in data["texts"]] == list(texts)
    best = data["texts"][0]["masks"][0]["candidates"]["one"]
    assert [candidate["token_id"] for candidate in best] == [101, 102, 100]
    assert best[0]["probability"] > best[1]["probability"] > 0


def test_the_first_framework_is_the_default(run, checkpoint, two_backends):
    out = run("fill-mask", "a<mask>", "--model", checkpoint, "--json")[1]
    assert list(json.loads(out)["frameworks"]) == ["one"]


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("no mask here", ["No mask_token (<mask>) found on the input 'no mask here': write <mask>"]),
        ("", ["found on the input ''"]),
        ("[MASK]", ["No mask_token (<mask>)"]),
        ("the <mask>" + " old" * 30, ["tokens, but the model accepts at most 17: shorten it\n"]),
        ("x" * 500, ["..."]),
    ],
)
def test_a_text_without_a_mask_or_too_long_is_refused(run, checkpoint, two_backends, text, parts):
    assert_refused(run("fill-mask", "a<mask>", text, "--model", checkpoint), 1, *parts)


def test_more_tokens_than_the_vocabulary_has_are_refused(run, checkpoint, two_backends):
    assert_refused(run("fill-mask", "a<mask>", "--model", checkpoint, "--top-k", 9000), 1, "--top-k is 9000")


def test_the_error_without_any_framework_names_what_to_install(run, checkpoint, monkeypatch):
    monkeypatch.setattr(backend, "available", lambda: ())
    assert_refused(run("fill-mask", "a<mask>", "--model", checkpoint), 1, "pip install 'triberta[pt]'")


def test_the_error_of_a_missing_framework_names_what_to_install(run, checkpoint, monkeypatch):
    backend.load.cache_clear()
    monkeypatch.setattr(backend.importlib.util, "find_spec", lambda name: None)
    assert_refused(run("fill-mask", "a<mask>", "--model", checkpoint, "--framework", "flax"), 1, "'triberta[flax]'")


@pytest.mark.parametrize(
    "name",
    ["fill-mask", "classify", "tag", "answer", "choose", "embed", "rank", "zero-shot", "generate", "evaluate",
     "finetune", "pretrain", "parity"],
)  # fmt: skip
def test_every_command_that_runs_a_model_has_a_device(name):
    command = program.build_command(name, program.find_commands()[name])
    assert "--device" in {option for parameter in command.params for option in parameter.opts}


def test_a_missing_device_is_refused_in_one_sentence(run, checkpoint, two_backends, monkeypatch):
    monkeypatch.setattr(
        SmallBackend, "on", lambda self, device: backend.select_device(self.title, device, ["cuda:0", "cpu"])
    )
    result = run("fill-mask", "a<mask>", "--model", checkpoint, "--device", "cuda:1")
    assert_refused(result, 1, "there is no device 'cuda:1' here: First sees only cuda:0, cpu")


def test_the_device_is_printed_and_is_the_one_requested(run, checkpoint, two_backends, monkeypatch):
    requested = []
    monkeypatch.setattr(SmallBackend, "on", lambda self, device: requested.append(device) or self)
    out = run("fill-mask", "a<mask>", "--model", checkpoint)[1]
    assert "First 1.2 on cpu" in out
    data = json.loads(run("fill-mask", "a<mask>", "--model", checkpoint, "--device", "mps", "--json")[1])
    assert data["frameworks"]["one"]["device"] == "cpu"
    assert requested == ["auto", "mps"]


def test_a_missing_model_is_refused_before_a_framework_is_loaded(run, two_backends):
    assert_refused(run("fill-mask", "a<mask>", "--model", "nowhere"), 1, "nowhere")
    assert not hasattr(two_backends["one"], "config")


def test_a_folder_without_a_tokenizer_is_refused(run, checkpoint, tmp_path, two_backends):
    for file in ("config.json", "model.safetensors"):
        (tmp_path / file).write_bytes((checkpoint / file).read_bytes())
    assert_refused(run("fill-mask", "a<mask>", "--model", tmp_path), 1, "vocab.json")


@pytest.mark.parametrize("file", ["tokenizer.json", "vocab.json"])
def test_a_broken_tokenizer_is_refused(run, checkpoint, tmp_path, two_backends, file):
    (tmp_path / "config.json").write_bytes((checkpoint / "config.json").read_bytes())
    (tmp_path / file).write_text('{"model": ')
    assert_refused(run("fill-mask", "a<mask>", "--model", tmp_path), 1)
