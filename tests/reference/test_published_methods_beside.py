"""Configurations, tokenizers and encodings beside those of 4.57.6: the published methods that RoBERTa does not need.

The rows of census.csv that are marked as refused are called here one by one.
"""

import csv
import re
from pathlib import Path

import pytest

transformers = pytest.importorskip("transformers", reason="runs transformers itself")
if not transformers.__version__.startswith("4."):
    pytest.skip("written for 4.57.6", allow_module_level=True)

from tokenizers import AddedToken  # noqa: E402

import roberta_core  # noqa: E402
from roberta_core.checkpoints.source import EMBEDDED  # noqa: E402
from roberta_core.tokenization import BatchEncoding  # noqa: E402

FOLDER = EMBEDDED / "roberta-tiny"
SIZES = {"vocab_size": 101, "hidden_size": 12, "num_hidden_layers": 2, "num_attention_heads": 3}
NAMED = ("vocab_size", "hidden_size", "layer_norm_eps", "use_cache", "hidden_act", "num_labels", "id2label", "dtype")


def configure(change, **settings):
    """Return what a change returns, and the fields after it, of both configurations."""
    found = []
    for one in (roberta_core, transformers):
        config = one.RobertaConfig(**SIZES, **settings)
        result = change(config)
        found.append((result, {name: getattr(config, name) for name in NAMED}))
    return found


def set_attribute(name, value):
    return lambda config: (setattr(config, name, value), getattr(config, name))[1]


CHANGES = {
    "name_or_path": set_attribute("name_or_path", 3),
    "name_or_path from a keyword": lambda config: type(config)(name_or_path="a").name_or_path,
    "torch_dtype": set_attribute("torch_dtype", "float16"),
    "use_return_dict": lambda config: (setattr(config, "torchscript", True), config.use_return_dict)[1],
    "num_labels": set_attribute("num_labels", 2),
    "update": lambda config: config.update(config_dict={"hidden_size": 36, "num_labels": 3}),
    "update_from_string": lambda config: config.update_from_string(
        update_str="hidden_size=24,layer_norm_eps=0.5,use_cache=no,hidden_act=relu"
    ),
    "get_config_dict": lambda config: (
        lambda found: ({name: found[0][name] for name in ("hidden_size", "vocab_size")}, found[1])
    )(config.get_config_dict(pretrained_model_name_or_path=str(FOLDER), custom=3, local_files_only=True)),
    "attribute_map": lambda config: (config.attribute_map, config.base_config_key, config.sub_configs),
    "plans": lambda config: (config.base_model_tp_plan, config.base_model_pp_plan, config.base_model_ep_plan),
    "has_no_defaults_at_init": lambda config: config.has_no_defaults_at_init,
    "dict_dtype_to_str": lambda config: (lambda d: (config.dict_dtype_to_str(d=d), d))({"dtype": "float16", "a": {}}),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_configuration_changes_in_the_same_way(name):
    ours, theirs = configure(CHANGES[name], id2label={0: "a", 1: "b"})
    assert ours == theirs


def test_a_configuration_is_the_same_after_it_is_saved_and_loaded(tmp_path):
    for one in (roberta_core, transformers):
        config = one.RobertaConfig(**SIZES, num_labels=3, custom="x", dtype="float16", is_decoder=True)
        config.save_pretrained(tmp_path)
        assert one.RobertaConfig.from_pretrained(tmp_path).to_dict() == config.to_dict()
        config.to_json_file(json_file_path=tmp_path / "a.json")
        assert one.RobertaConfig.from_json_file(json_file=tmp_path / "a.json").to_dict() == config.to_dict()


KINDS = ("RobertaTokenizer", "RobertaTokenizerFast")
TOKEN = AddedToken("x", lstrip=True)
CALLS = {
    "sanitize_special_tokens": lambda t: t.sanitize_special_tokens(),
    "truncate_sequences of a pair": lambda t: t.truncate_sequences(
        ids=[1, 2, 3, 4, 5], pair_ids=[6, 7], num_tokens_to_remove=2, truncation_strategy="longest_first"
    ),
    "truncate_sequences of the first": lambda t: t.truncate_sequences([1, 2, 3, 4], [6], 2, "only_first", stride=1),
    "truncate_sequences of the second": lambda t: t.truncate_sequences([1], [6, 7, 8], 2, "only_second"),
    "truncate_sequences of none": lambda t: t.truncate_sequences([1, 2], None, 1, "only_second"),
    "truncate_sequences, do_not_truncate": lambda t: t.truncate_sequences([1, 2], [3], 1, "do_not_truncate"),
    "convert_added_tokens": lambda t: t.convert_added_tokens(obj={"a": [TOKEN, 3]}, save=True),
    "convert_added_tokens, add_type_field": lambda t: t.convert_added_tokens(TOKEN, save=True, add_type_field=False),
    "convert_added_tokens back": lambda t: str(
        t.convert_added_tokens(t.convert_added_tokens({"a": TOKEN}, save=True))["a"]
    ),
    "as_target_tokenizer": lambda t: in_context(t.as_target_tokenizer(), lambda: t("It rained.").input_ids),
    "prepare_seq2seq_batch": lambda t: dict(
        t.prepare_seq2seq_batch(
            src_texts=["It rained."], tgt_texts=["It rained."], max_length=4, max_target_length=3, padding="max_length",
            return_tensors=None, truncation=True,
        )
    ),
    "clean_up_tokenization": lambda t: t.clean_up_tokenization(out_string="It rained . Is n't it ?"),
    "files": lambda t: (t.vocab_files_names, t.pretrained_vocab_files_map),
    "slow_tokenizer_class": lambda t: getattr(t.slow_tokenizer_class, "__name__", None),
}  # fmt: skip
PLAIN = {
    "bpe": lambda t: [t.bpe(token=one) for one in ("Ġopened", "x", "ĠabcÃ©")],
    "prepare_for_tokenization": lambda t: [
        t.prepare_for_tokenization(text="a", is_split_into_words=True, x=1),
        t.prepare_for_tokenization("", True),
        t.prepare_for_tokenization(" a", add_prefix_space=True),
        t.prepare_for_tokenization("a", add_prefix_space=False),
    ],
}
FAST = {
    "decoder": lambda t: (type(t.decoder), t.decoder.decode(["It", "Ġis"])),
    "can_save_slow_tokenizer": lambda t: t.can_save_slow_tokenizer,
}


def in_context(context, call):
    with context:
        return call()


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        *((kind, name) for kind in KINDS for name in CALLS),
        *((KINDS[0], name) for name in PLAIN),
        *((KINDS[1], name) for name in FAST),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_a_call_of_a_tokenizer_does_the_same(kind, name):
    call = (CALLS | PLAIN | FAST)[name]
    ours, theirs = (call(getattr(one, kind).from_pretrained(FOLDER)) for one in (roberta_core, transformers))
    assert ours == theirs


def test_an_encoding_is_made_with_the_same_arguments():
    tokenizer = roberta_core.RobertaTokenizerFast.from_pretrained(FOLDER)
    row = tokenizer.backend_tokenizer.encode("It rained.", "Yes.")
    arguments = {"data": {"input_ids": row.ids}, "encoding": row, "tensor_type": "np", "prepend_batch_axis": True}
    for more in ({}, {"n_sequences": 1}):
        ours, theirs = (kind(**arguments, **more) for kind in (BatchEncoding, transformers.BatchEncoding))
        assert ours["input_ids"].tolist() == theirs["input_ids"].tolist()
        assert ours.tokens() == theirs.tokens()
        assert ours.word_to_chars(0, 1) == theirs.word_to_chars(0, 1)
        assert not more or ours.n_sequences == theirs.n_sequences


# What is refused -----------------------------------------------------------------------------------------------------

TABLE = Path(__file__).with_name("census.csv")


def list_refused_rows():
    """Return the members that are refused as a whole, each with its arguments in the reference."""
    with TABLE.open(encoding="utf-8", newline="") as file:
        rows = [
            row for row, mark, evidence in csv.reader(file) if mark == "refused" and Path(__file__).stem in evidence
        ]
    found = {}
    for row in rows:
        kind, name, argument = re.fullmatch(r"(\w+)\.(\w+)(?:\((\w+)\))?", row).groups()
        found.setdefault((kind, name), []).extend([argument] if argument else [])
    return found


REFUSED = list_refused_rows()
OWNERS = {
    "config": lambda: roberta_core.RobertaConfig(**SIZES),
    "slow": lambda: roberta_core.RobertaTokenizer.from_pretrained(FOLDER),
    "fast": lambda: roberta_core.RobertaTokenizerFast.from_pretrained(FOLDER),
}


@pytest.mark.parametrize(("kind", "name"), REFUSED, ids=".".join)
def test_a_refused_member_raises_an_error_that_says_what_to_do(kind, name, request):
    owner = OWNERS[kind]() if kind in OWNERS else request.getfixturevalue("load_model")(kind)
    for argument in [None, *REFUSED[kind, name]]:
        with pytest.raises(NotImplementedError, match=rf"\w+\.{name} is not available: .{{20}}"):
            getattr(owner, name)(**({} if argument is None else {argument: "x"}))


@pytest.fixture(scope="module")
def load_model():
    """Return `load_model("pt")`, a small decoder of a framework."""
    kinds = {
        "pt": ("roberta_pt", "Roberta"),
        "tf": ("roberta_tf", "TFRoberta"),
        "flax": ("roberta_flax", "FlaxRoberta"),
    }
    config = roberta_core.RobertaConfig(**SIZES, intermediate_size=20, max_position_embeddings=19, is_decoder=True)

    def load(framework):
        package, prefix = kinds[framework]
        return getattr(pytest.importorskip(package), f"{prefix}ForCausalLM")(config)

    return load
