"""The table of loading and saving arguments in docs/migrating.md says what the code does, entry by entry."""

import re
from pathlib import Path
from typing import NamedTuple

import pytest

from roberta_core import RobertaConfig, RobertaTokenizer, RobertaTokenizerFast
from roberta_core.checkpoints import hub, load_options, save_options

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "migrating.md").read_text(encoding="utf-8")
TINY = "roberta-tiny"


class Row(NamedTuple):
    """One argument of one kind of object: what the page says of it."""

    table: str
    argument: str
    of: str
    here: str
    text: str


def read_rows():
    """Return the entries of both tables."""
    section = PAGE.partition("## Loading and saving arguments\n")[2].partition("\n## ")[0]
    load, save = section.split("`save_pretrained` and `push_to_hub`:")
    rows = []
    for table, text in (("load", load), ("save", save)):
        for cells in re.findall(r"^\| (`.*?) \| (.*?) \| (.*?) \| (.*?) \|$", text, re.M):
            rows += [Row(table, name, *cells[1:]) for name in re.findall(r"`(\w+)`", cells[0])]
    return rows


ROWS = read_rows()


def select(table, here, *of):
    """Return the entries of a table with one outcome, for these kinds of objects."""
    return [row for row in ROWS if row.table == table and row.here == here and (not of or row.of in of)]


def test_the_table_is_read_whole():
    assert {row.here for row in ROWS} == {"honoured", "ignored", "refused"}
    assert len(ROWS) == len({(row.table, row.argument, row.of) for row in ROWS}) > 100


@pytest.mark.parametrize("row", select("load", "refused"), ids=lambda row: row.argument)
def test_a_refused_option_of_loading_is_an_error_that_says_what_to_do(row):
    with pytest.raises(ValueError, match=re.escape(f"{row.argument}='x' is not supported: {row.text}.")):
        (hub.pop_options if row.of == "all" else load_options.refuse_unsupported)({row.argument: "x"})
    rest = {row.argument: None, "num_labels": 3}
    load_options.refuse_unsupported(rest)
    assert hub.pop_options(rest) == {}
    assert rest == {"num_labels": 3}


def test_the_table_has_every_option_that_the_code_refuses_or_ignores():
    assert {row.argument for row in select("load", "refused")} == {*load_options.UNSUPPORTED, *hub.UNSUPPORTED}
    assert {row.argument for row in select("load", "ignored", "all")} == {*hub.IGNORED}
    models = ("models", "TensorFlow and Flax models")
    assert {row.argument for row in select("save", "refused", *models)} == {*save_options.UNSUPPORTED}
    assert {row.argument for row in select("save", "ignored", "models")} == {*save_options.IGNORED}


@pytest.mark.parametrize("row", select("load", "ignored"), ids=lambda row: row.argument)
def test_an_ignored_option_of_loading_changes_nothing(row):
    for kind in (RobertaTokenizerFast, RobertaTokenizer)[: 1 + (row.of == "tokenizers")]:
        made = kind.from_pretrained(TINY, **{row.argument: True})
        assert (made.init_kwargs, made.get_vocab()) == FOUND[kind]
    if row.of == "all":
        assert RobertaConfig.from_pretrained(TINY, **{row.argument: "x"}) == RobertaConfig.from_pretrained(TINY)
        rest = {row.argument: "x", "revision": "main"}
        assert hub.pop_options(rest) == {"revision": "main"}  # what every framework's from_pretrained calls
        assert rest == {}


FOUND = {
    kind: (loaded.init_kwargs, loaded.get_vocab())
    for kind in (RobertaTokenizer, RobertaTokenizerFast)
    for loaded in (kind.from_pretrained(TINY),)
}
TOKENS = {
    "additional_special_tokens": (["<a>"], lambda made: "<a>" in made.all_special_tokens),
    "extra_special_tokens": ({"image_token": "<i>"}, lambda made: made.image_token == "<i>"),
    "errors": ("ignore", lambda made: made.errors == "ignore"),
    "add_prefix_space": (True, lambda made: made.tokenize("a") == made.tokenize(" a")),
    "model_max_length": (7, lambda made: made.model_max_length == 7),
    "padding_side": ("left", lambda made: made.padding_side == "left"),
    "truncation_side": ("left", lambda made: made.truncation_side == "left"),
    "model_input_names": (["input_ids"], lambda made: list(made("a")) == ["input_ids"]),
    "clean_up_tokenization_spaces": (True, lambda made: made.decode(made("a .").input_ids[1:-1]) == "a."),
    "split_special_tokens": (True, lambda made: made.mask_token_id not in made("<mask>").input_ids),
    "trim_offsets": (False, lambda made: made(" a", return_offsets_mapping=True).offset_mapping[1] == (0, 2)),
    "max_len": (7, lambda made: made.model_max_length != 7),  # the checkpoint has its own
    **{role: ("<x>", lambda made, role=role: getattr(made, role) == "<x>")
       for role in ("bos_token", "eos_token", "sep_token", "cls_token", "unk_token", "pad_token", "mask_token")},
}  # fmt: skip


@pytest.mark.parametrize(
    "row", select("load", "honoured", "tokenizers", "fast tokenizers"), ids=lambda row: row.argument
)
def test_an_honoured_option_of_a_tokenizer_has_its_effect(row):
    if row.argument == "tokenizer_object":
        engine = RobertaTokenizerFast.from_pretrained(TINY).backend_tokenizer
        assert RobertaTokenizerFast(tokenizer_object=engine).get_vocab() == FOUND[RobertaTokenizerFast][1]
        return
    value, has_effect = TOKENS[row.argument]
    for kind in (RobertaTokenizerFast, RobertaTokenizer)[: 2 - (row.of == "fast tokenizers")]:
        assert has_effect(kind.from_pretrained(TINY, **{row.argument: value})), kind


@pytest.mark.parametrize("row", select("load", "honoured", "all"), ids=lambda row: row.argument)
def test_an_honoured_option_of_the_hub_reaches_the_download(row):
    if row.argument == "pretrained_model_name_or_path":
        assert RobertaConfig.from_pretrained(**{row.argument: TINY}) == RobertaConfig.from_pretrained(TINY)
        return
    name = {"use_auth_token": "token"}.get(row.argument, row.argument)
    assert hub.pop_options({row.argument: "x"}) == {name: "x"}
    assert hasattr(hub.Repository("a/b", **{name: "x"}), name)


@pytest.mark.parametrize("row", select("save", "refused"), ids=lambda row: f"{row.argument}-{row.of}")
def test_a_refused_option_of_saving_is_an_error_that_says_what_to_do(row):
    with pytest.raises(ValueError, match=re.escape(f"{row.argument}='x' is not supported: {row.text}.")):
        save_options.read_save_options({row.argument: "x"}, None, "h5")
    assert save_options.read_save_options({row.argument: None}, None, "h5") == save_options.read_save_options(
        {}, None, "h5"
    )


@pytest.mark.parametrize("row", select("save", "ignored", "models"), ids=lambda row: row.argument)
def test_an_ignored_option_of_saving_changes_nothing(row):
    plain = save_options.read_save_options({}, None, "h5")
    assert save_options.read_save_options({row.argument: "x"}, None, "h5") == plain


def test_the_ignored_options_of_saving_a_tokenizer_change_nothing(tmp_path):
    tokenizer = RobertaTokenizerFast.from_pretrained(TINY)
    tokenizer.save_pretrained(tmp_path / "a", **{row.argument: "x" for row in select("save", "ignored", "tokenizers")})
    tokenizer.save_pretrained(tmp_path / "b")
    found, plain = ({path.name: path.read_bytes() for path in (tmp_path / name).iterdir()} for name in "ab")
    assert found == plain


UPLOADS = select("save", "honoured", "configuration and tokenizers")


@pytest.mark.parametrize("row", UPLOADS, ids=lambda row: row.argument)
def test_an_honoured_option_of_an_upload_reaches_it(row, tmp_path, monkeypatch):
    found = []
    monkeypatch.setattr(hub, "push_files", lambda name, save, **options: found.append((name, options)))
    name = {"use_auth_token": "token"}.get(row.argument, row.argument)
    for one in (RobertaConfig(), RobertaTokenizerFast.from_pretrained(TINY)):
        one.save_pretrained(tmp_path, **{"push_to_hub": True, "repo_id": "x", row.argument: "x"})
        repository, options = found.pop()
        assert repository == "x"
        assert row.argument in ("push_to_hub", "repo_id") or options[name] == "x"
        one.save_pretrained(tmp_path)
        assert not found


def test_the_options_of_saving_are_read():
    read = save_options.read_save_options
    assert read({}, None, "h5") == save_options.SaveOptions("safetensors", True, False, None, {})
    assert read({"safe_serialization": False}, None, "h5").format == "h5"
    assert read({"safe_serialization": False}, "bin", "h5").format == "bin"
    assert not read({"is_main_process": False}, None, "h5").is_main_process
    upload = dict.fromkeys(save_options.UPLOAD, "x")
    made = read({"push_to_hub": True, "repo_id": "a/b", **upload}, None, "h5")
    assert (made.push_to_hub, made.repo_id, made.upload) == (True, "a/b", upload)
    assert read({"use_auth_token": "x"}, None, "h5").upload == {"token": "x"}
    with pytest.raises(TypeError, match="there is no option maxshard for saving a model"):
        read({"maxshard": 1}, None, "h5")
