"""`generate` beside that of 4.57.6: the same tokens from the same weights.

The reference counts positions in `generate` from 0 in PyTorch and Flax, unlike in a call. Its table of positions is
therefore shifted here, so that it computes what a call computes.
"""

from types import SimpleNamespace

import numpy as np
import pytest

transformers = pytest.importorskip("transformers", reason="runs transformers itself")
if not transformers.__version__.startswith("4."):
    pytest.skip("written for 4.57.6", allow_module_level=True)

from roberta_core import GenerationConfig, RobertaConfig, checkpoints  # noqa: E402
from roberta_core.parameters import draw  # noqa: E402

PROMPTS = np.array([[0, 45, 9, 100], [0, 33, 80, 7]], np.int32)
POSITIONS = "roberta.embeddings.position_embeddings.weight"


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Return the checkpoints of two decoders, each with its positions and with shifted ones."""
    config = RobertaConfig(
        vocab_size=101, hidden_size=12, num_hidden_layers=2, num_attention_heads=3, intermediate_size=20,
        max_position_embeddings=40, is_decoder=True, initializer_range=0.1,
    )  # fmt: skip
    root = tmp_path_factory.mktemp("decoder")
    for crossed in ("", "-crossed"):
        config.add_cross_attention = bool(crossed)
        tensors = dict(draw(config, "ForCausalLM", seed=1))
        shifted = {**tensors, POSITIONS: np.roll(tensors[POSITIONS], -2, axis=0)}
        for name, one in (("plain", tensors), ("shifted", shifted)):
            checkpoints.save(root / f"{name}{crossed}", config, "ForCausalLM", one)
            checkpoints.save(root / f"{name}{crossed}-bin", config, "ForCausalLM", one, format="bin")
    return root


def load_pt(folders):
    torch = pytest.importorskip("torch")
    import roberta_pt

    theirs = transformers.RobertaForCausalLM.from_pretrained(folders / "shifted").eval()
    ours = roberta_pt.RobertaForCausalLM.from_pretrained(folders / "plain")
    return SimpleNamespace(ours=ours, theirs=theirs, tensor=lambda array: torch.from_numpy(array).long(), lib=torch)


def load_tf(folders):
    tf = pytest.importorskip("tensorflow")
    import roberta_tf

    theirs = transformers.TFRobertaForCausalLM.from_pretrained(folders / "plain-bin", from_pt=True)
    ours = roberta_tf.TFRobertaForCausalLM.from_pretrained(folders / "plain")
    return SimpleNamespace(ours=ours, theirs=theirs, tensor=tf.constant, lib=tf)


def load_flax(folders):
    jax = pytest.importorskip("jax")
    pytest.importorskip("flax")
    import roberta_flax

    # There the Flax class decodes with a cache only if it has cross attention.
    theirs = transformers.FlaxRobertaForCausalLM.from_pretrained(folders / "shifted-crossed-bin", from_pt=True)
    ours = roberta_flax.FlaxRobertaForCausalLM.from_pretrained(folders / "plain-crossed")
    return SimpleNamespace(ours=ours, theirs=theirs, tensor=jax.numpy.asarray, lib=jax)


@pytest.fixture(scope="module", params=[load_pt, load_tf, load_flax], ids=["pt", "tf", "flax"])
def pair(request, folders):
    return request.param(folders)


@pytest.fixture(scope="module")
def torch_pair(folders):
    return load_pt(folders)


@pytest.fixture(scope="module")
def flax_pair(folders):
    return load_flax(folders)


def run(model, pair, **settings):
    found = model.generate(pair.tensor(PROMPTS), **settings)
    return np.asarray(getattr(found, "sequences", found))


def assert_same(pair, **settings):
    ours, theirs = (run(model, pair, **settings) for model in (pair.ours, pair.theirs))
    np.testing.assert_array_equal(ours[:, : theirs.shape[1]], theirs)
    assert (ours[:, theirs.shape[1] :] == 1).all()
    return ours


def test_greedy_text_is_the_same(pair):
    plain = assert_same(pair, max_new_tokens=6, eos_token_id=None if pair.lib.__name__ != "jax" else 2)
    assert len({*plain[:, 4:].flatten()}) > 2
    if pair.lib.__name__ != "jax":  # the Flax classes accept one id only
        ends = [int(plain[0, 5]), int(plain[1, 7])]
        assert_same(pair, max_new_tokens=6, eos_token_id=ends)


def test_a_generation_config_is_read(pair):
    options = transformers.GenerationConfig(max_new_tokens=4, eos_token_id=2, pad_token_id=1)
    ours, theirs = (run(model, pair, generation_config=options) for model in (pair.ours, pair.theirs))
    np.testing.assert_array_equal(ours, theirs)


def test_the_generation_configuration_of_a_model_is_used_and_stored_alike(pair, tmp_path):
    texts = []
    for name, model in (("ours", pair.ours), ("theirs", pair.theirs)):
        own = model.generation_config
        assert (own.eos_token_id, own.pad_token_id, own.bos_token_id, own.max_length) == (2, 1, 0, 20)
        own.max_new_tokens = 3
        texts.append(run(model, pair))
        model.save_pretrained(tmp_path / name)
        own.max_new_tokens = None
    np.testing.assert_array_equal(*texts)
    assert texts[0].shape[1] == 7
    for name in ("ours", "theirs"):  # each reads the other's file
        for kind in (transformers.GenerationConfig, GenerationConfig):
            read = kind.from_pretrained(tmp_path / name)
            assert (read.eos_token_id, read.pad_token_id, read.max_new_tokens) == (2, 1, 3)
    if pair.lib.__name__ == "jax":
        assert_same(pair, max_new_tokens=2)
        found = [model.generate(pair.tensor(PROMPTS), max_new_tokens=2) for model in (pair.ours, pair.theirs)]
        np.testing.assert_array_equal(found[0].sequences, found[1].sequences)
        np.testing.assert_array_equal(found[0]["sequences"], found[1]["sequences"])


def test_processors_change_the_scores_alike(pair):
    def process(ids, scores, *length):
        return -scores

    if pair.lib.__name__ == "torch":
        processors = transformers.LogitsProcessorList([process])
    elif pair.lib.__name__ == "tensorflow":
        processors = transformers.TFLogitsProcessorList([process])
    else:
        processors = transformers.FlaxLogitsProcessorList([process])
    end = {} if pair.lib.__name__ == "jax" else {"eos_token_id": None}
    assert_same(pair, max_new_tokens=5, logits_processor=processors, **end)


def test_text_is_stopped_and_restricted_alike(torch_pair):
    torch, seen = torch_pair.lib, []

    def stop(ids, scores, **_):
        return torch.tensor([ids.shape[1] == 6, False])

    assert_same(
        torch_pair, max_new_tokens=5, stopping_criteria=transformers.StoppingCriteriaList([stop]), eos_token_id=2
    )
    for beams in (1, 3):
        assert_same(
            torch_pair,
            max_new_tokens=4,
            prefix_allowed_tokens_fn=lambda prompt, ids: [[5, 6, 7], [8, 9]][prompt],
            num_beams=beams,
            eos_token_id=None,
        )

    class Streamer:
        def put(self, value):
            seen.append(value.tolist())

        def end(self):
            pass

    text = run(torch_pair.theirs, torch_pair, max_new_tokens=3, eos_token_id=None)
    torch_pair.theirs.generate(torch_pair.tensor(PROMPTS[:1]), max_new_tokens=3, eos_token_id=None, streamer=Streamer())
    ours = []
    torch_pair.ours.generate(
        inputs=torch_pair.tensor(PROMPTS[:1]), max_new_tokens=3, eos_token_id=None, streamer=ours.append
    )
    assert [one.tolist() for one in ours] == seen[1:] == [[token] for token in text[0, 4:].tolist()]


def test_beams_that_may_end_with_several_tokens_are_the_same(torch_pair):
    for ends in ([3, 4], [50, 60, 70]):
        assert_same(torch_pair, max_new_tokens=6, num_beams=3, num_return_sequences=2, eos_token_id=ends)


@pytest.mark.parametrize("beams", [1, 3])
def test_the_scores_of_new_tokens_are_the_same(torch_pair, beams):
    found = []
    for model in (torch_pair.ours, torch_pair.theirs):
        output = model.generate(
            torch_pair.tensor(PROMPTS), max_new_tokens=4, num_beams=beams, eos_token_id=2, output_scores=True,
            return_dict_in_generate=True,
        )  # fmt: skip
        found.append(
            model.compute_transition_scores(
                sequences=output.sequences,
                scores=output.scores,
                beam_indices=output.beam_indices if beams > 1 else None,
                normalize_logits=beams == 1,
            )
        )
    torch_pair.lib.testing.assert_close(*found, rtol=1e-4, atol=1e-4)


def test_the_scores_of_new_tokens_are_those_of_the_tensorflow_class(folders):
    pair = load_tf(folders)
    scores = tuple(pair.tensor(np.random.default_rng(number).normal(size=(2, 101))) for number in range(3))
    sequences = pair.tensor(PROMPTS)
    for beams, normalised in ((None, True), (pair.tensor([[0, 1, 0], [1, 0, 1]]), False)):
        ours, theirs = (
            model.compute_transition_scores(
                sequences=sequences, scores=scores, beam_indices=beams, normalize_logits=normalised
            )
            for model in (pair.ours, pair.theirs)
        )
        np.testing.assert_allclose(ours, theirs, rtol=1e-5)


def test_parameters_and_keys_are_arguments_in_flax(flax_pair):
    jax = flax_pair.lib
    found = []
    for model in (flax_pair.ours, flax_pair.theirs):
        params = jax.tree.map(lambda value: -value, model.params)
        found.append(run(model, flax_pair, params=params, max_new_tokens=4, trace=True))
        keys = [jax.random.PRNGKey(number) for number in (0, 1, 1)]
        texts = [run(model, flax_pair, prng_key=key, do_sample=True, max_new_tokens=8) for key in keys]
        assert (texts[0] != texts[1]).any()
        np.testing.assert_array_equal(texts[1], texts[2])
    np.testing.assert_array_equal(*found)


def search(model, jax, ids, length):
    """Return text that a script with its own greedy search generates."""
    arguments = model.prepare_inputs_for_generation(input_ids=ids, max_length=length, attention_mask=ids * 0 + 1)
    current = ids
    for _ in range(length - ids.shape[1]):
        output = model(input_ids=current, **arguments)
        current = output.logits[:, -1:].argmax(-1).astype(ids.dtype)
        ids = jax.numpy.concatenate([ids, current], axis=1)
        arguments = model.update_inputs_for_generation(model_outputs=output, model_kwargs=arguments)
    return np.asarray(ids)


def test_a_search_of_a_users_script_gives_the_same_text(flax_pair):
    ours = search(flax_pair.ours, flax_pair.lib, flax_pair.tensor(PROMPTS), 8)
    np.testing.assert_array_equal(ours, run(flax_pair.ours, flax_pair, max_new_tokens=4, eos_token_id=None))
    theirs = flax_pair.theirs.prepare_inputs_for_generation(flax_pair.tensor(PROMPTS), 8)
    assert theirs.keys() == flax_pair.ours.prepare_inputs_for_generation(flax_pair.tensor(PROMPTS), 8).keys()
    np.testing.assert_array_equal(ours, run(flax_pair.theirs, flax_pair, max_new_tokens=4))


def test_inputs_are_prepared_alike(torch_pair, folders):
    torch = torch_pair.lib
    ids, states = torch_pair.tensor(PROMPTS), torch.zeros(2, 4, 12)
    found = []
    for model in (torch_pair.ours, torch_pair.theirs):
        mask, places = torch.ones(2, 4), torch.arange(4)
        first = model.prepare_inputs_for_generation(input_ids=ids, attention_mask=mask, cache_position=places)
        embedded = model.prepare_inputs_for_generation(ids, inputs_embeds=states, cache_position=places)
        cache = model(ids, use_cache=True).past_key_values
        later = model.prepare_inputs_for_generation(
            torch.cat([ids, ids[:, :1]], 1), past_key_values=cache, attention_mask=torch.ones(2, 5),
            cache_position=torch.tensor([4]),
        )  # fmt: skip
        found.append(
            [first["input_ids"].tolist(), embedded["inputs_embeds"].shape, embedded.get("input_ids"),
             later["input_ids"].tolist(), later["attention_mask"].shape, later["past_key_values"] is not None]
        )  # fmt: skip
    assert found[0] == found[1]
    pair = load_tf(folders)
    for cache in (None, ()):
        ours, theirs = (
            model.prepare_inputs_for_generation(
                input_ids=pair.tensor(PROMPTS), past_key_values=cache, attention_mask=None
            )
            for model in (pair.ours, pair.theirs)
        )
        assert ours.keys() == theirs.keys()
        np.testing.assert_array_equal(ours["attention_mask"], theirs["attention_mask"])
    np.testing.assert_array_equal(ours["input_ids"][:, -1], theirs["input_ids"][:, -1])


REFUSED = ("synced_gpus", "assistant_model", "negative_prompt_ids", "negative_prompt_attention_mask",
           "use_model_defaults", "custom_generate")  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_an_option_that_is_not_supported_is_refused(torch_pair, name):
    with pytest.raises(ValueError, match=f"{name}='x' is not supported: .{{20}}"):
        torch_pair.ours.generate(torch_pair.tensor(PROMPTS), **{name: "x"})


def test_the_seed_of_the_tensorflow_class_is_accepted(folders):
    pair = load_tf(folders)
    for model in (pair.ours, pair.theirs):
        found = [run(model, pair, seed=seed, do_sample=True, max_new_tokens=8) for seed in ([0, 1], [0, 1], [7, 8])]
        np.testing.assert_array_equal(found[0], found[1])
        assert (found[0] != found[2]).any()
