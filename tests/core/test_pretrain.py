"""Pretraining from texts to a checkpoint and the command for it, with a NumPy framework."""

import json

import numpy as np
import pytest

from roberta_core import backend, checkpoints, cli
from roberta_core.checkpoints import safetensors_file
from roberta_core.config import RobertaConfig
from roberta_core.parameters import draw, parameters
from roberta_core.tokenization import train_tokenizer
from roberta_core.training import pretrain_run
from roberta_core.training.recipe import Recipe
from roberta_core.training.training_checkpoint import State

SENTENCE = "The old man, who came to the sea, saw the house. "
RECIPE = """
[model]
hidden_size = 12
num_hidden_layers = 2
num_attention_heads = 3
intermediate_size = 20
max_position_embeddings = 19
[data]
sequence_length = 17
held_out = ["held.txt"]
[optimizer]
batch_size = 3
steps = 6
warmup_steps = 2
[run]
log_every = 2
evaluate_every = 3
checkpoint_every = 3
"""


class NumPyTrainer:
    """A trainer that adds the learning rate to all values; NaN loss at `broken_at`, double loss from `risen_at`."""

    broken_at = risen_at = None

    def __init__(self, model, recipe):
        self.model, self.steps = model, 0

    def step(self, batch, learning_rate):
        self.steps += 1
        for array in self.model.values():
            array += learning_rate
        loss = float("nan") if self.steps == self.broken_at else 2.5
        return {"loss": 2 * loss if self.risen_at and self.steps >= self.risen_at else loss, "gradient_norm": 1.0}

    def evaluate(self, batch):
        return {"loss": 3.0, "correct": 1, "count": 2}

    def state(self):
        copies = {name: array.copy() for name, array in self.model.items()}
        return State(copies, copies, copies, self.steps)

    def load_state(self, state):
        self.model.update(state.tensors)
        self.steps = state.steps


class NumPyBackend:
    name, title, version, device = "np", "NumPy", "2", "cpu"

    def on(self, device):
        return self

    def from_tensors(self, architecture, config, tensors):
        return tensors

    def tensors(self, model):
        return model

    def trainer(self, model, recipe):
        return NumPyTrainer(model, recipe)


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    folder = tmp_path_factory.mktemp("texts")
    for name in ("a.txt", "b.txt", "held.txt"):
        (folder / name).write_text(SENTENCE * 20)
    train_tokenizer([folder / "a.txt"], 290, folder)
    (folder / "recipe.toml").write_text(RECIPE)
    return folder


@pytest.fixture
def call(texts, tmp_path, monkeypatch, capfd):
    """Return a function that runs the command with more arguments and returns its exit status, stdout and stderr."""
    monkeypatch.setattr(backend, "load", lambda name: NumPyBackend())
    monkeypatch.setattr(backend, "find_default", lambda: "pt")

    def call_command(*arguments):
        command = [
            "pretrain",
            "--texts",
            str(texts / "[abh]*.txt"),
            "--tokenizer",
            str(texts),
            "--output",
            str(tmp_path),
        ]
        with pytest.raises(SystemExit) as end:
            cli.main([*command, "--recipe", str(texts / "recipe.toml"), *arguments])
        printed = capfd.readouterr()
        return end.value.code, printed.out, printed.err

    return call_command


def test_documents_are_held_out_by_the_recipe_and_by_patterns(texts):
    recipe = Recipe.load(texts / "recipe.toml")
    train, held_out = pretrain_run.split_documents(recipe, [str(texts / "[abh]*.txt")], [str(texts / "b.txt")])
    assert [[path.name for path in files] for files in (train[""], held_out)] == [["a.txt"], ["b.txt", "held.txt"]]


def test_an_impossible_split_is_refused(texts):
    recipe = Recipe.load(texts / "recipe.toml")
    with pytest.raises(ValueError, match=r"holds out documents that are not among the texts: held\.txt"):
        pretrain_run.split_documents(recipe, [str(texts / "a.txt")])
    with pytest.raises(ValueError, match="nothing is left"):
        pretrain_run.split_documents(recipe, [str(texts / "held.txt")])


def test_a_folder_without_a_tokenizer_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"has no tokenizer\.json"):
        pretrain_run.Vocabulary.from_folder(tmp_path)


def test_the_tokenizer_of_a_model_on_the_hub_is_downloaded(texts, monkeypatch):
    asked = []
    monkeypatch.setattr(pretrain_run, "resolve", lambda source, wants: asked.append((source, wants)) or texts)
    assert pretrain_run.Vocabulary.from_pretrained("a/model").folder == texts
    assert asked == [("a/model", ("config", "tokenizer"))]


def test_the_tokenizer_can_be_that_of_a_built_in_model(call, tmp_path):
    assert call("--tokenizer", "roberta-tiny", "--prepare", "--json")[0] == 0


def test_a_tokenizer_without_the_special_tokens_is_refused(texts, tmp_path):
    text = (texts / "tokenizer.json").read_text().replace("<mask>", "<hole>")
    (tmp_path / "tokenizer.json").write_text(text)
    with pytest.raises(ValueError, match="lacks <mask>"):
        pretrain_run.Vocabulary.from_folder(tmp_path)


def test_training_and_held_out_documents_have_separate_splits(texts, tmp_path):
    recipe, vocabulary = Recipe.load(texts / "recipe.toml"), pretrain_run.Vocabulary.from_folder(texts)
    files = [texts / "a.txt"], [texts / "held.txt"]
    splits = (lambda text, document: [text, text], lambda text, document: [text])
    run, _ = pretrain_run.prepare(
        NumPyBackend(), recipe, vocabulary, *files, tmp_path, lambda line: None, splits=splits
    )
    plain, _ = pretrain_run.prepare(NumPyBackend(), recipe, vocabulary, *files, tmp_path / "b", lambda line: None)
    assert len(run.data.tokens) - 1 == 2 * (len(plain.data.tokens) - 1)
    assert len(run.held_out.tokens) == len(plain.held_out.tokens)


def test_a_framework_that_does_not_train_is_refused(texts, tmp_path):
    recipe, vocabulary = Recipe.load(texts / "recipe.toml"), pretrain_run.Vocabulary.from_folder(texts)

    class Answers:
        title = "Oracle"

    with pytest.raises(ValueError, match="Oracle cannot train"):
        pretrain_run.prepare(Answers(), recipe, vocabulary, [texts / "a.txt"], [], tmp_path, lambda line: None)


def test_the_command_trains_and_saves_a_checkpoint(call, texts, tmp_path):
    status, out, _ = call()
    assert status == 0
    assert "step 3: held-out loss 1.500, masked accuracy 50.0%" in " ".join(out.split())
    model = tmp_path / "model"
    config = RobertaConfig.from_pretrained(model)
    assert (config.hidden_size, config.vocab_size) == (12, pretrain_run.Vocabulary.from_folder(texts).size)
    tensors, report = checkpoints.load(model, config, "ForMaskedLM")
    assert not report.missing
    assert not report.unexpected
    assert tensors["lm_head.bias"].dtype == np.float32
    assert tensors["lm_head.bias"][0] == pytest.approx(sum((0.5, 1, 1, 0.75, 0.5, 0.25)) * 1e-4)
    assert (model / "merges.txt").read_bytes() == (texts / "merges.txt").read_bytes()


def test_the_model_can_be_saved_in_half_precision(call, tmp_path):
    assert call("--dtype", "float16")[0] == 0
    stored = safetensors_file.read(tmp_path / "model")
    assert {array.dtype for array in stored.values()} == {np.dtype(np.float16)}
    config = RobertaConfig.from_pretrained(tmp_path / "model")
    assert config.dtype == "float16"
    assert set(stored) == set(parameters(config, "ForMaskedLM"))
    assert safetensors_file.metadata(tmp_path / "model") == {"format": "pt"}


def test_json_has_one_object_per_line(call, tmp_path):
    _, out, _ = call("--json")
    lines = [json.loads(line) for line in out.splitlines()]
    assert lines[0] == {"framework": "NumPy", "version": "2", "device": "cpu"}
    assert lines[1]["documents"] == 2
    assert lines[1]["held_out"] == 1
    assert [line["step"] for line in lines if "loss" in line] == [2, 4, 6]
    assert lines[-1] == {"done": 6, "model": str(tmp_path / "model")}


def test_a_run_is_not_overwritten_but_resumed(call):
    assert call()[0] == 0
    status, _, message = call()
    assert (status, message.count("\n")) == (1, 1)
    assert "already has a run: continue it with --resume" in message
    assert call("--resume")[0] == 0


def test_a_nan_loss_is_reported_in_one_sentence(call, monkeypatch):
    monkeypatch.setattr(NumPyTrainer, "broken_at", 4)
    status, _, message = call("--json")
    assert (status, message.count("\n")) == (1, 1)
    assert "step 4: loss nan" in message


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (("--dtype", "float8"), 2, "expected one of float32, float16"),
        (("--recipe", "none"), 1, "no recipe none"),
        (("--recipe", "squad"), 1, "squad is a recipe for `roberta finetune question-answering`"),
        (("--held-out", "none.txt"), 1, "no file is called none.txt"),
    ],
)
def test_wrong_arguments_are_refused(call, arguments, status, message):
    got, _, error = call(*arguments)
    assert got == status
    assert message in error


def test_texts_can_be_prepared_separately_and_faults_are_reported(call, texts, tmp_path, monkeypatch):
    monkeypatch.setattr(backend, "load", lambda name: pytest.fail("a framework was asked for"))
    (tmp_path / "bad.txt").write_bytes(b"It was late.\n\xff\n")
    status, printed, _ = call("--prepare", "--json", "--texts", str(tmp_path / "bad.txt"))
    lines = [json.loads(line) for line in printed.splitlines()]
    assert status == 0
    assert lines[0]["skipped"] == 1
    assert "bad.txt, line 2: not UTF-8" in lines[0]["reasons"][0]
    assert lines[-1]["tokens"] == len(np.load(tmp_path / "corpus" / "train" / "tokens.npy"))
    status, _, error = call("--prepare", "--strict", "--texts", str(tmp_path / "bad.txt"))
    assert status == 1
    assert "bad.txt, line 2: not UTF-8" in error


def test_corpora_are_mixed_with_the_weights_of_the_recipe(call, texts, tmp_path):
    text = (texts / "recipe.toml").read_text().replace("[data]", "[data]\nweights = {news = 3}\ndeduplicate = true")
    (tmp_path / "recipe.toml").write_text(text)
    row = json.dumps({"text": (texts / "b.txt").read_text() + " A new end."}) + "\n"
    (tmp_path / "news.jsonl").write_text(row * 3)
    arguments = ["--recipe", str(tmp_path / "recipe.toml"), "--texts", f"news={tmp_path / 'news.jsonl'}"]
    status, printed, error = call(*arguments, "--prepare", "--processes", "2")
    assert status == 0, error
    for expected in (
        "without a name: 1 document (1 duplicate skipped)",
        "news: 1 document (2 dup",
        "2 documents (3 dup",
    ):
        assert expected in " ".join(printed.split())
    status, printed, error = call(*arguments, "--json")
    assert status == 0, error
    start = next(line for line in map(json.loads, printed.splitlines()) if "documents" in line)
    corpora = json.loads((tmp_path / "corpus" / "train" / "manifest.json").read_text())["corpora"]
    assert (start["documents"], start["held_out"]) == (2, 1)
    assert start["tokens"] == sum(facts["tokens"] for facts in corpora.values())
    recipe, vocabulary = Recipe.load(tmp_path / "recipe.toml"), pretrain_run.Vocabulary.from_folder(texts)
    files = {"": [texts / "a.txt", texts / "b.txt"], "news": [tmp_path / "news.jsonl"]}
    data, held_out = pretrain_run.prepare_corpus(recipe, vocabulary, files, [texts / "held.txt"], tmp_path)
    assert len(data) == start["blocks"] == data.mixture.counts[0] + 3 * data.mixture.counts[1]
    assert held_out.mixture is None


def test_a_weight_of_no_corpus_is_refused(call, texts, tmp_path):
    text = (texts / "recipe.toml").read_text().replace("[data]", "[data]\nweights = {news = 3}")
    (tmp_path / "recipe.toml").write_text(text)
    status, _, error = call("--recipe", str(tmp_path / "recipe.toml"), "--prepare")
    assert status == 1
    assert "has a weight for news, but no texts have that name: name them with --texts news=FILES" in error


def test_the_curves_are_drawn_and_written_for_tensorboard(call, tmp_path):
    pytest.importorskip("matplotlib")
    pytest.importorskip("tensorboard")
    assert call("--chart", str(tmp_path / "curves.png"), "--tensorboard", str(tmp_path / "board"))[0] == 0
    assert (tmp_path / "curves.png").read_bytes()[:4] == b"\x89PNG"
    assert len(list((tmp_path / "board").glob("*tfevents*"))) == 1


def test_the_curves_of_a_failed_run_are_drawn_too(call, tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    monkeypatch.setattr(NumPyTrainer, "broken_at", 4)
    assert call("--chart", str(tmp_path / "curves.png"))[0] == 1
    assert (tmp_path / "curves.png").is_file()


def test_curves_that_cannot_be_written_are_refused_before_the_run(call, tmp_path):
    pytest.importorskip("matplotlib")
    status, _, error = call("--chart", str(tmp_path / "curves.docx"))
    assert status == 1
    assert "curves.docx: charts are drawn as" in error
    (tmp_path / "file").touch()
    status, _, error = call("--tensorboard", str(tmp_path / "file"))
    assert status == 1
    assert f"cannot be written: file exists: {tmp_path / 'file'}" in error
    assert not (tmp_path / "log.jsonl").exists()


def test_a_collapse_is_reported(call, monkeypatch):
    monkeypatch.setattr(NumPyTrainer, "risen_at", 5)
    status, printed, _ = call()
    assert status == 0
    assert "step 6: the loss has risen to 5.000 from 2.500 at step 2" in " ".join(printed.split())


def test_training_starts_from_a_checkpoint_with_its_tokenizer(texts, tmp_path, monkeypatch):
    given = []

    class Backend(NumPyBackend):
        def from_pretrained(self, architecture, source, seed=0, **settings):
            given.append((architecture, source, settings))
            config = RobertaConfig.from_pretrained(checkpoints.resolve(source), **settings)
            return dict(draw(config, architecture, seed))

    monkeypatch.setattr(backend, "load", lambda name: Backend())
    monkeypatch.setattr(backend, "find_default", lambda: "pt")
    (tmp_path / "recipe.toml").write_text(
        "[model]\nhidden_dropout_prob = 0.3\nmax_position_embeddings = 130\n[data]\nsequence_length = 33\n"
        "[optimizer]\nbatch_size = 2\nsteps = 2\nwarmup_steps = 1\n"
    )
    command = [
        "pretrain",
        "--model",
        "roberta-tiny",
        "--texts",
        str(texts / "a.txt"),
        "--output",
        str(tmp_path / "run"),
    ]
    with pytest.raises(SystemExit) as end:
        cli.main([*command, "--recipe", str(tmp_path / "recipe.toml"), "--json"])
    assert end.value.code == 0
    assert given == [("ForMaskedLM", "roberta-tiny", {"hidden_dropout_prob": 0.3, "max_position_embeddings": 130})]
    config = RobertaConfig.from_pretrained(tmp_path / "run" / "model")
    assert (config.hidden_size, config.hidden_dropout_prob) == (256, 0.3)
    assert (tmp_path / "run" / "model" / "tokenizer.json").is_file()
