"""Loading tokenizers from the files of a folder: older and newer names, hostile content, wrong types."""

import json
import os
import pickle
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers, processors

from roberta_core.tokenization import RobertaTokenizer, RobertaTokenizerFast, TokenizerFast, load_tokenizer
from roberta_core.tokenization.byte_level_bpe import BYTE_TO_CHARACTER
from roberta_core.tokenization.vocabulary_files import MAX_TOKENS

MERGES = [("Ġ", "a"), ("h", "e")]
TOKENS = ["<s>", "<pad>", "</s>", "<unk>", *BYTE_TO_CHARACTER.values(), *map("".join, MERGES), "<mask>"]
VOCABULARY = {token: index for index, token in enumerate(TOKENS)}
SIZE = len(VOCABULARY)
BOTH = (RobertaTokenizerFast, RobertaTokenizer)


@pytest.fixture(params=BOTH, ids=["fast", "python"])
def kind(request):
    return request.param


@pytest.fixture
def folder(tmp_path):
    """Return the folder of a saved tokenizer."""
    RobertaTokenizerFast(VOCABULARY, MERGES).save_pretrained(tmp_path)
    return tmp_path


def change(folder, name, **values):
    """Change entries of a JSON file; None removes one, Ellipsis writes null."""
    path = folder / name
    content = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    content |= {key: None if value is ... else value for key, value in values.items()}
    kept = {key: value for key, value in content.items() if value is not None or values.get(key) is ...}
    path.write_text(json.dumps(kept), encoding="utf-8")


def forms(folder):
    """Yield after each step that removes files: all files, without tokenizer.json."""
    yield "tokenizer.json"
    (folder / "tokenizer.json").unlink()
    yield "vocab.json"


# Names of other releases ---------------------------------------------------------------------------------------------


def test_max_len_of_older_files_is_the_maximum_length(kind, folder):
    change(folder, "tokenizer_config.json", model_max_length=None, max_len=128)
    assert kind.from_pretrained(folder).model_max_length == 128
    assert kind(VOCABULARY, MERGES, max_len=33).model_max_length == 33
    assert kind.from_pretrained(folder, max_len=64).model_max_length == 128  # only a default, as published
    assert kind.from_pretrained(folder, model_max_length=64).model_max_length == 64


@pytest.mark.parametrize(
    ("entries", "named"),
    [
        ({"additional_special_tokens": ["<x>"], "extra_special_tokens": ["<y>"]}, {}),
        ({"additional_special_tokens": ["<x>"], "extra_special_tokens": {"y_token": "<y>"}}, {"y_token": "<y>"}),
        ({"extra_special_tokens": ["<x>"], "model_specific_special_tokens": {"y_token": "<y>"}}, {"y_token": "<y>"}),
        ({"additional_special_tokens": ["<x>", {"content": "<y>"}], "extra_special_tokens": {}}, {}),
    ],
)
def test_special_tokens_are_read_under_every_name(kind, folder, entries, named):
    change(folder, "tokenizer_config.json", **entries)
    for _ in forms(folder):
        tokenizer = kind.from_pretrained(folder)
        assert tokenizer("a<x><y>", add_special_tokens=False).tokens() == ["a", "<x>", "<y>"]
        assert {"<x>", "<y>"} <= {*tokenizer.all_special_tokens}
        assert tokenizer.decode(tokenizer("a<x><y>").input_ids, skip_special_tokens=True) == "a"
        assert tokenizer.extra_special_tokens == named
        again = reload(tokenizer, folder / "again")
        assert again.get_vocab() == tokenizer.get_vocab()
        assert again.special_tokens_map == tokenizer.special_tokens_map
        if named:
            assert (tokenizer.y_token, tokenizer.y_token_id) == ("<y>", tokenizer.convert_tokens_to_ids("<y>"))


def reload(tokenizer, folder):
    tokenizer.save_pretrained(folder)
    return type(tokenizer).from_pretrained(folder)


def test_special_tokens_passed_as_strings_keep_the_flags_of_their_file(kind, folder):
    entry = {"content": "<x>", "lstrip": True, "special": True}
    decoder = json.loads((folder / "tokenizer_config.json").read_text())["added_tokens_decoder"]
    change(folder, "tokenizer_config.json", additional_special_tokens=["<x>"])
    change(folder, "tokenizer_config.json", added_tokens_decoder=decoder | {str(SIZE): entry})
    (folder / "tokenizer.json").unlink()
    assert kind.from_pretrained(folder)("a <x>", add_special_tokens=False).tokens() == ["a", "<x>"]


def test_null_removes_the_role_of_a_token(kind, folder):
    change(folder, "tokenizer_config.json", mask_token=..., bos_token=...)
    for _ in forms(folder):
        tokenizer = kind.from_pretrained(folder)
        assert (tokenizer.mask_token, tokenizer.mask_token_id, tokenizer.bos_token) == (None, None, None)
        assert "<mask>" not in tokenizer.all_special_tokens
        assert tokenizer("<mask>").input_ids == [0, SIZE - 1, 2]  # still in the vocabulary and matched
        assert reload(tokenizer, folder / "again").mask_token is None
    assert kind(VOCABULARY, MERGES, mask_token=None).mask_token is None


def test_only_tokenizer_json_determines_the_tokens_around_texts(kind, folder):
    tokenizer = kind(VOCABULARY, MERGES, cls_token="[CLS]", sep_token="[SEP]", add_prefix_space=True)
    tokenizer.save_pretrained(folder)
    (folder / "tokenizer_config.json").unlink()
    (folder / "special_tokens_map.json").unlink()
    bare = Tokenizer.from_file(str(folder / "tokenizer.json"))
    for load in (kind.from_pretrained, load_tokenizer):
        assert load(folder)("he", "a").input_ids == bare.encode("he", "a").ids == tokenizer("he", "a").input_ids


@pytest.mark.parametrize("role", ["cls_token", "sep_token", "pad_token"])
def test_a_missing_token_is_refused_where_it_is_needed(kind, role):
    tokenizer = kind(VOCABULARY, MERGES, **{role: None})
    assert tokenizer("a", add_special_tokens=False).input_ids == [VOCABULARY["a"]]
    with pytest.raises(ValueError, match=role.replace("_", "[ _]")):
        tokenizer(["a", "ab"], padding=True)
    with pytest.raises(ValueError, match=role.replace("_", "[ _]")):
        tokenizer.pad({"input_ids": [[1], [1, 2]]}) if role == "pad_token" else tokenizer.backend_tokenizer


def test_an_unused_id_counts_as_a_row(folder):
    (folder / "added_tokens.json").write_text(json.dumps({"<x>": SIZE + 1}))
    (folder / "tokenizer.json").unlink()
    tokenizer = RobertaTokenizer.from_pretrained(folder)
    assert (tokenizer("<x>").input_ids[1], len(tokenizer)) == (SIZE + 1, SIZE + 2)
    assert tokenizer.add_tokens("new") == 1
    assert tokenizer.convert_tokens_to_ids("new") == SIZE + 2
    with pytest.raises(ValueError, match=rf"'<x>' has the id {SIZE + 1}, but the next free id is {SIZE}"):
        RobertaTokenizerFast.from_pretrained(folder)
    holes = {token: index * 2 for token, index in VOCABULARY.items()}
    assert [len(kind(holes, MERGES)) for kind in BOTH] == [2 * SIZE - 1] * 2


def test_a_second_entry_with_the_text_of_a_special_token_is_skipped_too():
    entries = [("<s>", 0.0), ("<unk>", 0.0), ("a", -1.0), ("<unk>", -2.0)]
    engine = Tokenizer(models.Unigram(entries, unk_id=3))
    engine.add_special_tokens(["<s>", "<unk>"])
    tokenizer = TokenizerFast(engine, unk_token="<unk>")
    assert tokenizer.decode([1, 2, 3, 2], skip_special_tokens=True).replace(" ", "") == "aa"
    assert tokenizer.convert_ids_to_tokens([1, 2, 3], skip_special_tokens=True) == ["a"]


@pytest.mark.parametrize("name", ["config", "use_fast", "from_slow", "do_lower_case", "verbose", "trust_remote_code"])
def test_arguments_of_the_reference_without_effect_are_accepted(kind, folder, name):
    plain = kind.from_pretrained(folder)
    for value in (True, False):
        for tokenizer in (kind.from_pretrained(folder, **{name: value}), load_tokenizer(folder, **{name: value})):
            assert tokenizer("He A <mask>") == plain("He A <mask>")


def test_arguments_that_concern_models_are_accepted_when_saving(kind, tmp_path):
    tokenizer = kind(VOCABULARY, MERGES)
    tokenizer.save_pretrained(tmp_path, safe_serialization=True, push_to_hub=False, max_shard_size="1GB")
    assert kind.from_pretrained(tmp_path)("he").input_ids == tokenizer("he").input_ids
    with pytest.raises(TypeError, match="save_pretrained has no argument 'prefix'"):
        tokenizer.save_pretrained(tmp_path, prefix="a")


def test_an_object_of_the_library_can_be_given_by_its_published_name():
    engine = RobertaTokenizerFast(VOCABULARY, MERGES).backend_tokenizer
    for made in (RobertaTokenizerFast(tokenizer_object=engine), TokenizerFast(tokenizer_object=engine)):
        assert made("he a").input_ids == engine.encode("he a").ids
    with pytest.raises(ValueError, match="needs tokenizer_file or tokenizer_object"):
        TokenizerFast()


@pytest.mark.parametrize("make", [*BOTH, lambda *parts: TokenizerFast(RobertaTokenizerFast(*parts).backend_tokenizer)])
def test_calls_do_not_change_the_pickle(make):
    tokenizer = make(VOCABULARY, MERGES)
    before = pickle.dumps(tokenizer)
    encoding = tokenizer("he a <mask>", return_offsets_mapping=True, split_special_tokens=True)
    tokenizer.decode(encoding.input_ids, skip_special_tokens=True)
    assert len(tokenizer) == SIZE
    assert pickle.dumps(tokenizer) == before
    vocabulary = {token: index for token, index in VOCABULARY.items() if token != "z"}
    lacking = RobertaTokenizerFast(vocabulary, MERGES)
    before = pickle.dumps(lacking)
    lacking("z")
    assert pickle.dumps(lacking) == before


# Hostile files -------------------------------------------------------------------------------------------------------


def catch_refusal(call, *arguments, seconds=2.0):
    """Return the message of a refused call; asserts that the call takes less than a number of seconds of CPU time."""
    start = time.process_time()
    with pytest.raises((ValueError, OSError)) as caught:
        call(*arguments)
    assert time.process_time() - start < seconds
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 1000
    return str(caught.value)


LOADERS = {
    "fast": RobertaTokenizerFast.from_pretrained,
    "python": RobertaTokenizer.from_pretrained,
    "any": load_tokenizer,
}


@pytest.mark.parametrize("load", LOADERS.values(), ids=LOADERS)
def test_a_model_that_the_library_panics_on_is_refused(load, folder):
    saved = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    for name in ("continuing_subword_prefix", "end_of_word_suffix"):
        saved["model"] |= {"continuing_subword_prefix": "", "end_of_word_suffix": "", name: "##"}
        (folder / "tokenizer.json").write_text(json.dumps(saved))
        assert f"{name} '##' is not supported" in catch_refusal(load, folder)


def test_a_template_without_its_token_is_refused(folder):
    saved = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    part = {"SpecialToken": {"id": "<none>", "type_id": 0}}
    text = {"Sequence": {"id": "A", "type_id": 0}}
    saved["post_processor"] = {
        "type": "TemplateProcessing", "single": [part, text], "pair": [part, text], "special_tokens": {},
    }  # fmt: skip
    (folder / "tokenizer.json").write_text(json.dumps(saved))
    catch_refusal(load_tokenizer, folder)


@pytest.mark.parametrize("load", LOADERS.values(), ids=LOADERS)
@pytest.mark.parametrize("index", [MAX_TOKENS, 2**29, 2**31, 2**63, -1, 1.5, "3", True, None])
def test_ids_out_of_range_are_refused(load, folder, index):
    expected = f"must be an integer from 0 to {MAX_TOKENS - 1}"
    saved = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    saved["model"]["vocab"]["new"] = index
    (folder / "tokenizer.json").write_text(json.dumps(saved))
    assert expected in catch_refusal(load, folder)
    del saved["model"]["vocab"]["new"]
    saved["added_tokens"].append({**saved["added_tokens"][0], "content": "new", "id": index})
    (folder / "tokenizer.json").write_text(json.dumps(saved))
    assert expected in catch_refusal(load, folder)
    (folder / "tokenizer.json").unlink()
    (folder / "added_tokens.json").write_text(json.dumps({"new": index}))
    assert expected in catch_refusal(load, folder)
    (folder / "added_tokens.json").unlink()
    change(folder, "vocab.json", new=... if index is None else index)
    assert expected in catch_refusal(load, folder)


def test_too_many_added_tokens_are_refused_before_they_are_indexed(kind, folder):
    many = {f"<x{number}>": SIZE + number for number in range(100_000)}
    (folder / "added_tokens.json").write_text(json.dumps(many))
    (folder / "tokenizer.json").unlink()
    assert "100005 added tokens; at most 100000 are supported" in catch_refusal(kind.from_pretrained, folder, seconds=5)
    with pytest.raises(ValueError, match="alternate 2999 times"):
        RobertaTokenizerFast(VOCABULARY, MERGES).add_tokens(
            [AddedToken(f"<x{number}>", special=number % 2 == 0) for number in range(2999)]
        )


def test_ten_thousand_added_tokens_take_seconds_at_most(kind):
    tokenizer = kind(VOCABULARY, MERGES)
    start = time.process_time()
    assert tokenizer.add_tokens([f"<x{number}>" for number in range(10_000)]) == 10_000
    assert tokenizer("<x9999>").input_ids[1] == SIZE + 9_999
    assert time.process_time() - start < 5


def test_special_tokens_around_texts_do_not_depend_on_the_normaliser():
    engine = Tokenizer(models.WordLevel({"<s>": 0, "b": 1}, unk_token="<s>"))
    engine.normalizer = normalizers.Replace("a", "")
    engine.pre_tokenizer = pre_tokenizers.Whitespace()
    engine.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A $B", special_tokens=[("<s>", 0)]
    )
    assert TokenizerFast(engine)("b a").input_ids == [0, 1]


@pytest.mark.parametrize("value", ["-1", "0", "-Infinity", "NaN", '"512"', "[]", "true"])
def test_an_invalid_maximum_length_is_refused(kind, folder, value):
    path = folder / "tokenizer_config.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    del content["model_max_length"]
    path.write_text(json.dumps(content)[:-1] + f', "model_max_length": {value}}}', encoding="utf-8")
    assert "model_max_length must be a number of tokens above 0" in catch_refusal(kind.from_pretrained, folder)
    with pytest.raises(ValueError, match="model_max_length must be a number of tokens above 0"):
        kind(VOCABULARY, MERGES, model_max_length=json.loads(value))


def test_an_infinite_maximum_length_means_no_limit(kind, folder):
    change(folder, "tokenizer_config.json", model_max_length=float("inf"))
    assert kind.from_pretrained(folder).model_max_length == int(1e30)


WRONG = [3, "x", [], ["x"], {}, {"a": 1}, True, 1.5, [[]], [None]]
FIELDS = {
    "tokenizer_config.json": [
        "added_tokens_decoder", "additional_special_tokens", "extra_special_tokens", "model_specific_special_tokens",
        "bos_token", "mask_token", "errors", "add_prefix_space", "trim_offsets", "padding_side", "truncation_side",
        "model_input_names", "clean_up_tokenization_spaces", "split_special_tokens", "model_max_length", "max_len",
        "tokenizer_class",
    ],
    "special_tokens_map.json": ["bos_token", "mask_token", "additional_special_tokens"],
    "added_tokens.json": ["new"],
    "vocab.json": ["a"],
    "tokenizer.json": [
        "model", "added_tokens", "pre_tokenizer", "post_processor", "normalizer", "decoder", "truncation", "padding",
    ],
    "config.json": ["model_type", "max_position_embeddings", "pad_token_id", "id2label"],
}  # fmt: skip


@pytest.mark.parametrize(("name", "field"), [(name, field) for name, fields in FIELDS.items() for field in fields])
def test_wrong_types_are_refused_in_one_sentence_or_read(name, field, folder):
    if name in ("vocab.json", "added_tokens.json"):
        (folder / "tokenizer.json").unlink()
    sentences = set()
    original = (folder / name).read_bytes() if (folder / name).exists() else b"{}"
    for value in WRONG:
        change(folder, name, **{field: value})
        for load in LOADERS.values():
            try:
                tokenizer = load(folder)
                tokenizer(["he a <mask>", "b"], padding=True, return_offsets_mapping=True)
            except (ValueError, OSError) as error:
                sentences.add(str(error))
        (folder / name).write_bytes(original)
    assert [text for text in sentences if "\n" in text or len(text) > 999] == []


@pytest.mark.parametrize(
    "text", ["[" * 100_000, '{"a": ' * 100_000, '{"\\ud800": 1}', '{"a": ' + "9" * 5000 + "}", "", "3"]
)
@pytest.mark.parametrize("name", ["vocab.json", "tokenizer_config.json", "tokenizer.json", "special_tokens_map.json"])
def test_content_that_is_not_an_object_is_refused_with_its_file(folder, name, text):
    if name == "vocab.json":
        (folder / "tokenizer.json").unlink()
    (folder / name).write_text(text)
    for load in LOADERS.values():
        assert name in catch_refusal(load, folder)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes on this system")
@pytest.mark.parametrize("name", ["vocab.json", "merges.txt", "tokenizer_config.json", "tokenizer.json"])
def test_special_files_are_refused(folder, name):
    if name in ("vocab.json", "merges.txt"):
        (folder / "tokenizer.json").unlink()
    (folder / name).unlink()
    os.mkfifo(folder / name)
    assert "not a regular file" in catch_refusal(load_tokenizer, folder)
    (folder / name).unlink()
    (folder / name).symlink_to("/dev/zero")
    assert "not a regular file" in catch_refusal(load_tokenizer, folder)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (({"a": "0"}, []), "vocab_file: every id must be an integer"),
        (({3: 0}, []), "vocab_file: every token must be a string, not 3"),
        ((VOCABULARY, [("a",)]), r"every merge must be a pair of tokens, not \('a',\)"),
        ((VOCABULARY, [("a", 3)]), "every merge must be a pair of tokens"),
        ((VOCABULARY, [3]), "every merge must be a pair of tokens, not 3"),
        ((VOCABULARY, [("q", "r")]), "the merges do not fit the vocabulary: it has no token 'qr'"),
    ],
)
def test_a_vocabulary_of_wrong_types_is_refused(kind, arguments, message):
    with pytest.raises(ValueError, match=message):
        kind(*arguments)


@pytest.mark.parametrize(
    ("added", "message"),
    [
        ({SIZE: AddedToken("<x>"), SIZE + 1: AddedToken("<x>")}, "'<x>' has two ids"),
        ({SIZE: AddedToken("a")}, "'a' has two ids"),
        ({4: AddedToken("<x>")}, "the id 4 belongs to two tokens"),
    ],
)
def test_added_tokens_that_contradict_the_vocabulary_are_refused(kind, added, message):
    with pytest.raises(ValueError, match=message):
        kind(VOCABULARY, MERGES, added=added)


def test_fuzzing_finds_nothing_and_prints_its_totals(tmp_path):
    script = Path(__file__).with_name("fuzz_tokenizers.py")
    command = [sys.executable, str(script), "--inputs", "60", "--findings", str(tmp_path / "found")]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "60 inputs, 0 tracebacks, 0 killed" in ended.stdout
    assert not (tmp_path / "found").exists()
