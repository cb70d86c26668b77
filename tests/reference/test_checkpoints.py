"""transformers reads our checkpoints: 4.57.6 every format in its framework, 5.23.0 safetensors.

Run by the tox environments `reference` and `peers`.
"""

import shutil
from importlib.metadata import version

import numpy as np
import pytest

from roberta_core import checkpoints
from roberta_core.config import RobertaConfig
from roberta_core.parameters import ARCHITECTURES, aliases

transformers = pytest.importorskip("transformers", reason="asks transformers itself")
torch = pytest.importorskip("torch")

RTOL = (
    2e-5  # relative to the largest value, float32 compared with float64; transformers has up to 1.5e-5 on such weights
)
OLD = int(version("transformers").partition(".")[0]) < 5
# Format -> prefix of the classes that read it, and their arguments.
READERS = {
    "safetensors": ("", {"use_safetensors": True}),
    "bin": ("", {"use_safetensors": False}),
    "h5": ("TF", {}),
    "tf-safetensors": ("TF", {}),
    "msgpack": ("Flax", {}),
    "flax-safetensors": ("Flax", {}),
}
FORMATS = list(READERS) if OLD else ["safetensors", "bin"]
VARIANTS = {
    **{name: (name, {}) for name in ARCHITECTURES},
    "ForCausalLM, cross": ("ForCausalLM", {"is_decoder": True, "add_cross_attention": True}),
    "ForMaskedLM, untied": ("ForMaskedLM", {"tie_word_embeddings": False}),
}
# The folder of each variant, written by transformers.
PUBLISHED = {"ForCausalLM, cross": "ForCausalLM_cross", "ForMaskedLM, untied": "ForMaskedLM_untied"}
WRITTEN = {
    "safetensors": "pt-safetensors" if OLD else "v5-safetensors",
    "bin": "pt-bin",
    "h5": "tf-h5",
    "tf-safetensors": "tf-safetensors",
    "msgpack": "flax-msgpack",
    "flax-safetensors": "flax-safetensors",
}


def pairs():
    """Return every variant in every format that supports it: the TensorFlow classes always tie embeddings."""
    return [
        pytest.param(variant, format, id=f"{variant} {format}")
        for variant in VARIANTS
        for format in FORMATS
        if not (variant.endswith("untied") and READERS[format][0] == "TF")
    ]


def changed(config, changes):
    """Return a configuration with changed fields."""
    return RobertaConfig.from_dict({**config.to_dict(), **changes})


def read(folder, architecture, format, **more):
    """Load the model with transformers; return it with the missing and unexpected tensors."""
    prefix, options = READERS[format]
    options = {**options, **more}
    kind = getattr(transformers, f"{prefix}Roberta{architecture}")
    if prefix == "Flax":
        return kind.from_pretrained(folder, **options), {}
    model, info = kind.from_pretrained(folder, output_loading_info=True, **options)
    return (model.eval() if prefix == "" else model), info


def inputs_of(config, architecture):
    """Return ids and mask [2, 7] with a padded second row; [1, 2, 7] for multiple choice."""
    ids = np.random.default_rng(0).integers(3, config.vocab_size, (2, 7))
    mask = np.ones_like(ids)
    mask[1, 5:] = 0
    ids[mask == 0] = config.pad_token_id
    inputs = {"input_ids": ids, "attention_mask": mask}
    return {name: value[None] for name, value in inputs.items()} if architecture == "ForMultipleChoice" else inputs


def outputs_of(model, inputs):
    """Return the outputs of the last layer as arrays."""
    if isinstance(model, torch.nn.Module):
        with torch.no_grad():
            output = model(**{name: torch.from_numpy(value) for name, value in inputs.items()})
    else:
        output = model(**{name: value.astype(np.int32) for name, value in inputs.items()})
    wanted = ("logits", "start_logits", "end_logits", "last_hidden_state", "pooler_output")
    return {name: np.asarray(output[name]) for name in wanted if output.get(name) is not None}


@pytest.mark.parametrize(("variant", "format"), pairs())
def test_what_we_write_gives_its_outputs_to_transformers(tmp_path, config, weights, variant, format):
    architecture, changes = VARIANTS[variant]
    config = changed(config, changes)
    tensors = weights(config, architecture)
    checkpoints.save(tmp_path / "made", config, architecture, tensors, format=format)
    model, info = read(tmp_path / "made", architecture, format)
    harmless = {"lm_head.decoder.bias"}  # the alias of lm_head.bias, which 4.57.6 reports as missing if untied
    assert not set(info.get("missing_keys", ())) - harmless
    assert not info.get("unexpected_keys")
    inputs = inputs_of(config, architecture)
    checkpoints.save(tmp_path / "plain", config, architecture, tensors)
    reference, _ = read(tmp_path / "plain", architecture, "safetensors", attn_implementation="eager")
    held = {**{name: reference.state_dict()[name] for name in tensors}}
    assert all(np.array_equal(held[name].numpy(), tensors[name]) for name in tensors)
    assert all(torch.equal(reference.state_dict()[a], held[b]) for a, b in aliases(config, architecture).items())
    want = outputs_of(reference.double(), inputs)
    got = outputs_of(model, inputs)
    assert got.keys() == want.keys()
    for name, value in want.items():
        error = np.abs(got[name] - value).max() / np.abs(value).max()
        assert error <= RTOL, f"{name}: {error:.1e}"


@pytest.mark.parametrize(("variant", "format"), pairs())
def test_what_we_write_is_to_transformers_what_it_wrote_itself(tmp_path, shared, variant, format):
    architecture, _ = VARIANTS[variant]
    theirs = shared / "fixtures/hf/checkpoints" / PUBLISHED.get(variant, variant) / WRITTEN[format]
    config = RobertaConfig.from_pretrained(theirs)
    tensors, _ = checkpoints.load(theirs.with_name("pt-safetensors"), config, architecture)
    checkpoints.save(tmp_path, config, architecture, tensors, format=format)
    inputs = inputs_of(config, architecture)
    got = outputs_of(read(tmp_path, architecture, format)[0], inputs)
    want = outputs_of(read(theirs, architecture, format)[0], inputs)
    assert got.keys() == want.keys()
    for name, value in want.items():
        np.testing.assert_array_equal(got[name], value, err_msg=name)


# The Flax classes do not read sharded safetensors.
@pytest.mark.parametrize("format", [format for format in FORMATS if format != "flax-safetensors"])
def test_what_we_write_in_shards_is_read(tmp_path, config, weights, format):
    tensors = weights(config, "ForTokenClassification")
    checkpoints.save(tmp_path / "one", config, "ForTokenClassification", tensors, format=format)
    checkpoints.save(tmp_path / "many", config, "ForTokenClassification", tensors, format=format, max_shard_size="5KB")
    inputs = inputs_of(config, "ForTokenClassification")
    one, many = (read(tmp_path / name, "ForTokenClassification", format)[0] for name in ("one", "many"))
    np.testing.assert_array_equal(outputs_of(one, inputs)["logits"], outputs_of(many, inputs)["logits"])


def test_a_changed_file_gives_other_outputs(tmp_path, config, weights):
    tensors = weights(config, "ForTokenClassification")
    inputs = inputs_of(config, "ForTokenClassification")
    found = []
    for _ in range(2):
        checkpoints.save(tmp_path, config, "ForTokenClassification", tensors)
        found.append(outputs_of(read(tmp_path, "ForTokenClassification", "safetensors")[0], inputs)["logits"])
        name = "roberta.encoder.layer.0.attention.self.query.weight"
        tensors = {**tensors, name: tensors[name].T}
        shutil.rmtree(tmp_path)
    assert np.abs(found[0] - found[1]).max() > 100 * RTOL * np.abs(found[0]).max()
