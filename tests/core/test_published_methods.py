"""Methods of the published configuration, tokenizers and encodings that RoBERTa's own code does not need."""

import warnings

import pytest
from tokenizers import AddedToken

from roberta_core import RobertaConfig, RobertaTokenizer, RobertaTokenizerFast
from roberta_core.checkpoints import hub as hub_module
from roberta_core.parameters import draw
from roberta_core.refusals import list_refused
from roberta_core.surgery import prune_heads
from roberta_core.tokenization import BatchEncoding

TINY = "roberta-tiny"
NAME = "someone/roberta"
TOKENIZERS = (RobertaTokenizer, RobertaTokenizerFast)


@pytest.fixture(params=TOKENIZERS, ids=["plain", "fast"])
def tokenizer(request):
    return request.param.from_pretrained(TINY)


def test_a_configuration_has_a_name_that_is_not_saved(tmp_path):
    config = RobertaConfig(name_or_path="here", num_labels=3, custom="x")
    assert config.name_or_path == "here"
    config.name_or_path = 3
    assert config.name_or_path == "3"
    config.name_or_path = ""
    config.save_pretrained(tmp_path)
    assert RobertaConfig.from_pretrained(tmp_path).to_dict() == config.to_dict()


def test_fields_are_updated_together_or_not_at_all(config):
    config.update(config_dict={"num_labels": 4, "custom": "x"})
    assert (config.num_labels, config.custom) == (4, "x")
    config.update_from_string(update_str="hidden_size=24,layer_norm_eps=0.5,use_cache=no,hidden_act=relu")
    assert (config.hidden_size, config.layer_norm_eps, config.use_cache, config.hidden_act) == (24, 0.5, False, "relu")
    before = config.to_dict()
    for text, kind, sentence in (
        ("hidden_size=36,nope=3", ValueError, "nope=3 is not a field"),
        ("hidden_size", ValueError, "hidden_size is not a field of the configuration and its value"),
        ("use_cache=maybe", ValueError, "use_cache is 'maybe'; it must be true or false"),
        ("hidden_size=1.5", ValueError, "hidden_size is '1.5'; it must be an integer"),
        ("layer_norm_eps=x", ValueError, "layer_norm_eps is 'x'; it must be a number"),
        ("classifier_dropout=0.2", TypeError, "classifier_dropout is None; only booleans"),
        ("num_labels=3,hidden_size=25", ValueError, "hidden_size 25 is not divisible"),
    ):
        with pytest.raises(kind, match=sentence):
            config.update_from_string(text)
        assert config.to_dict() == before
    with pytest.raises(ValueError, match="'update' cannot be a field"):
        config.update({"update": 3})


def test_older_names_of_fields_can_be_set(config):
    config.torch_dtype = "torch.float16"
    assert config.dtype == config.torch_dtype == "float16"
    config.torchscript = True
    assert not config.use_return_dict
    assert config.get_text_config(decoder=True, encoder=False) is config


def test_the_same_number_of_labels_keeps_their_names():
    config = RobertaConfig(id2label={0: "a", 1: "b"})
    config.num_labels = 2
    assert config.id2label == {0: "a", 1: "b"}


def test_pruned_heads_may_count_layers_from_the_last():
    config = RobertaConfig(num_hidden_layers=2, pruned_heads={-1: [0], 1: [3]})
    assert config.pruned_heads == {1: [0, 3]}
    assert RobertaConfig.from_dict({"num_hidden_layers": 2, "pruned_heads": {"-2": [1]}}).pruned_heads == {0: [1]}
    with pytest.raises(ValueError, match="for layer -1; the model has 2 layers"):
        RobertaConfig(num_hidden_layers=2, pruned_heads={-3: [0]})


def test_heads_of_the_last_layer_are_pruned(config):
    config.num_hidden_layers = 2
    tensors = dict(draw(config, "Model"))
    one, other = (prune_heads(config, "Model", tensors, {layer: [0]}) for layer in (-1, 1))
    assert one.config.pruned_heads == other.config.pruned_heads == {1: [0]}
    assert one.tensors.keys() == other.tensors.keys()
    with pytest.raises(ValueError, match="layer -1 has no heads"):
        prune_heads(config, "Model", tensors, {-3: [0]})


def test_the_fields_of_a_file_are_returned_as_it_states_them():
    fields, rest = RobertaConfig.get_config_dict(TINY, custom=3, local_files_only=True)
    assert rest == {"custom": 3}
    assert fields["hidden_size"] == RobertaConfig.from_pretrained(TINY).hidden_size
    dtypes = {"dtype": type("", (), {"__str__": lambda self: "torch.float16"})(), "a": {"dtype": "x"}}
    RobertaConfig.dict_dtype_to_str(d=dtypes)
    assert dtypes == {"dtype": "float16", "a": {"dtype": "x"}}


def test_a_configuration_describes_one_model_on_one_device():
    found = [RobertaConfig.attribute_map, RobertaConfig.sub_configs, RobertaConfig.base_config_key]
    found += [RobertaConfig.base_model_tp_plan, RobertaConfig.base_model_pp_plan, RobertaConfig.base_model_ep_plan]
    assert found == [{}, {}, "", None, None, None]
    assert not RobertaConfig.has_no_defaults_at_init


def test_a_configuration_and_a_tokenizer_are_uploaded(hub, tokenizer, config, tmp_path):
    address = config.push_to_hub(repo_id=NAME, token=hub.TOKEN, commit_message="New", use_temp_dir=True)
    assert address == f"{hub.url}/{NAME}/commit/{hub.commit(NAME, 'main')}"
    tokenizer.push_to_hub(repo_id=NAME, token=hub.TOKEN, max_shard_size="1GB", safe_serialization=True)
    assert RobertaConfig.from_pretrained(NAME) == config
    assert type(tokenizer).from_pretrained(NAME)("It rained.") == tokenizer("It rained.")
    folder = tmp_path / "mine"
    tokenizer.save_pretrained(folder, push_to_hub=True, token=hub.TOKEN, repo_id="someone/second")
    config.save_pretrained(folder, push_to_hub=True, token=hub.TOKEN, repo_id="someone/second")
    assert {"config.json", "vocab.json"} <= {*hub.repositories["someone/second"]["main"]}
    with pytest.raises(ValueError, match="tags='a' is not supported: write them into README"):
        config.push_to_hub(NAME, tags="a")
    with pytest.raises(TypeError, match="there is no option fast"):
        tokenizer.push_to_hub(NAME, fast=True)


def test_the_options_of_an_upload_reach_it(tokenizer, config, monkeypatch):
    found = []
    monkeypatch.setattr(hub_module, "push_files", lambda name, save, **options: found.append((name, options)))
    options = dict.fromkeys(("token", "private", "revision", "commit_description", "create_pr"), "x")
    for one, message in ((config, "Upload the configuration"), (tokenizer, "Upload the tokenizer")):
        one.push_to_hub(NAME, **options)
        assert found.pop() == (NAME, {**options, "commit_message": message})


def test_tokens_are_removed_from_one_or_both_texts(tokenizer):
    cut = tokenizer.truncate_sequences
    assert cut(ids=[1, 2, 3, 4, 5], pair_ids=[6, 7], num_tokens_to_remove=2) == ([1, 2, 3], [6, 7], [])
    assert cut([1, 2, 3, 4], None, 2, truncation_strategy="only_first", stride=1) == ([1, 2], None, [2, 3, 4])
    assert cut([1], [6, 7, 8], 2, "only_second") == ([1], [6], [7, 8])
    assert cut([1, 2], [3], 1, "do_not_truncate") == cut([1, 2], [3], 0) == ([1, 2], [3], [])
    tokenizer.truncation_side = "left"
    assert cut([1, 2, 3, 4], None, 2, "longest_first", 1) == ([3, 4], None, [1, 2, 3])
    with pytest.raises(ValueError, match="only_first"):
        cut([1], [2, 3], 2, "only_first")


def test_added_tokens_are_written_and_read_as_dicts(tokenizer):
    token = AddedToken("x", lstrip=True)
    written = tokenizer.convert_added_tokens({"a": [token, 3]}, save=True)
    assert written["a"][0]["__type"] == "AddedToken"
    read = tokenizer.convert_added_tokens(obj=written)["a"]
    assert (read[0].content, read[0].lstrip, read[1]) == ("x", True, 3)
    assert {"__type", "special"}.isdisjoint(tokenizer.convert_added_tokens(token, save=True, add_type_field=False))
    assert tokenizer.sanitize_special_tokens() == 0


def test_targets_are_encoded_as_every_text(tokenizer):
    with tokenizer.as_target_tokenizer():
        assert tokenizer("It") == tokenizer(text_target="It")
    batch = tokenizer.prepare_seq2seq_batch(
        src_texts=["It rained."], tgt_texts=["It rained."], max_length=4, max_target_length=3, padding="max_length",
        return_tensors="np", truncation=True,
    )  # fmt: skip
    assert (batch.input_ids.shape, batch.labels.shape) == ((1, 4), (1, 3))


def test_texts_and_words_are_prepared_and_split():
    plain, fast = (kind.from_pretrained(TINY) for kind in TOKENIZERS)
    assert plain.bpe(token="Ġopened").replace(" ", "") == "Ġopened"
    assert plain.bpe("Ġopened").split(" ") == plain.tokenize(" opened")
    assert plain.prepare_for_tokenization(text="a", is_split_into_words=True, x=1) == (" a", {"x": 1})
    assert plain.prepare_for_tokenization("a", add_prefix_space=False) == ("a", {})
    assert plain.clean_up_tokenization(out_string="It rained .") == "It rained."
    assert fast.decoder.decode(["It", "Ġis"]) == "It is"
    assert fast.can_save_slow_tokenizer
    assert (plain.slow_tokenizer_class, fast.slow_tokenizer_class) == (None, RobertaTokenizer)
    assert fast.vocab_files_names == {**plain.vocab_files_names, "tokenizer_file": "tokenizer.json"}
    assert plain.pretrained_vocab_files_map == {}


def test_an_encoding_is_made_of_rows_that_were_made_elsewhere():
    fast = RobertaTokenizerFast.from_pretrained(TINY)
    ours = fast(["It rained."], ["Yes."])
    engine = fast.backend_tokenizer
    for made in (ours.encodings, [engine.encode("It rained.", "Yes.")]):
        given = BatchEncoding({"input_ids": [made[0].ids]}, encoding=made)
        assert given.tokens() == ours.tokens()
        assert given.word_ids() == ours.word_ids()
        assert given.token_to_chars(2) == ours.token_to_chars(2)
        assert given.char_to_token(0, 4, 1) == ours.char_to_token(0, 4, 1)
        assert (given.n_sequences, given.is_fast) == (2, True)
    assert BatchEncoding({}, ours.encodings[0], n_sequences=1).n_sequences == 1


class Device:
    """A tensor that records where it is moved."""

    def to(self, device, **options):
        self.moved = device, options
        return self


def test_an_encoding_passes_on_where_tensors_are_moved():
    encoding = BatchEncoding({"input_ids": Device(), "text": "a"})
    assert encoding.to(device="cuda", non_blocking=True) is encoding
    assert encoding["input_ids"].moved == ("cuda", {"non_blocking": True})


@pytest.mark.parametrize("kind", [RobertaConfig, *TOKENIZERS])
def test_what_is_not_available_raises_an_error_that_says_what_to_do(kind):
    names = list_refused(kind)
    assert "register_for_auto_class" in names
    one = RobertaConfig() if kind is RobertaConfig else kind.from_pretrained(TINY)
    for name in names:
        for owner in (one, kind):
            with pytest.raises(NotImplementedError, match=rf"{kind.__name__}\.{name} is not available: .{{20}}"):
                getattr(owner, name)("a", b=1)


def test_no_warning_is_raised_for_deprecated_names(config):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        config.torch_dtype = "float32"
        assert config.torch_dtype == "float32"
