"""Checkpoints whose names have a prefix, and encoder-decoders, which contain two models."""

import json

import numpy as np
import pytest
from safetensors.numpy import save_file

from roberta_core import checkpoints
from roberta_core.checkpoints import CheckpointError, conversion
from roberta_core.config import RobertaConfig
from roberta_core.interface import COMMAND, use_interface
from roberta_core.parameters import draw, is_transposed, parameters, spell
from roberta_core.pretrained import PreTrainedBase

SIZES = {
    "vocab_size": 101, "hidden_size": 12, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 20,
    "max_position_embeddings": 19, "type_vocab_size": 7, "layer_norm_eps": 1e-5,
}  # fmt: skip
DECODER = {"is_decoder": True, "add_cross_attention": True}


class Masked(PreTrainedBase):
    """A model without a framework, which has only a configuration."""

    architecture = "ForMaskedLM"
    has_pooler = False

    def __init__(self, config, **_):
        self.config = config


def write(folder, fields, tensors):
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(fields))
    save_file({name: np.ascontiguousarray(array) for name, array in tensors.items()}, folder / "model.safetensors")
    return folder


def assert_same(found, expected):
    assert list(found) == list(expected)
    for name, array in expected.items():
        assert found[name].tobytes() == array.tobytes(), name


@pytest.mark.parametrize("dialect", ["pt", "tf", "flax"])
@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "model.", "encoder.", "module._orig_mod.", "a/b/"])
def test_a_prefix_is_named_and_can_be_removed(tmp_path, prefix, dialect):
    config = RobertaConfig(**SIZES)
    tensors, keys = dict(draw(config, "ForMaskedLM")), {}
    for row in parameters(config, "ForMaskedLM").values():
        array = tensors[row.name]
        keys[prefix + spell(row, dialect)] = array.T if is_transposed(row, dialect) else array
    write(tmp_path, config.to_dict(), keys)
    with pytest.raises(CheckpointError, match=rf"none of the encoder's.*strip_prefix '{prefix}' \(--strip-prefix\)"):
        checkpoints.load(tmp_path, config, "ForMaskedLM")
    with pytest.raises(CheckpointError, match=rf"specify strip_prefix '{prefix}'"):
        conversion.open_checkpoint(tmp_path)
    found, report = checkpoints.load(tmp_path, config, "ForMaskedLM", strip_prefix=prefix)
    assert_same(found, tensors)
    assert (report.sentences(), report.unexpected) == ((), ())
    assert_same(conversion.open_checkpoint(tmp_path, strip_prefix=prefix).tensors, tensors)
    assert_same(Masked._load(tmp_path, None, 0, False, {"strip_prefix": prefix})[1], tensors)


def test_other_names_have_no_prefix_to_remove(tmp_path):
    config = RobertaConfig(**SIZES)
    tensors = dict(draw(config, "ForMaskedLM"))
    write(tmp_path, config.to_dict(), {f"{name}.other": array for name, array in tensors.items()})
    with pytest.raises(CheckpointError) as caught:
        checkpoints.load(tmp_path, config, "ForMaskedLM")
    assert "strip_prefix" not in str(caught.value)


def test_a_prefix_that_no_tensor_has_is_refused(tmp_path):
    config = RobertaConfig(**SIZES)
    checkpoints.save(tmp_path, config, "ForMaskedLM", dict(draw(config, "ForMaskedLM")))
    with pytest.raises(CheckpointError, match=r"no tensor begins with strip_prefix 'module.'; they are like lm_head"):
        checkpoints.load(tmp_path, config, "ForMaskedLM", strip_prefix="module.")


def test_a_tensor_with_and_without_the_prefix_is_refused(tmp_path):
    config = RobertaConfig(**SIZES)
    tensors = dict(draw(config, "ForMaskedLM"))
    write(tmp_path, config.to_dict(), {"module.lm_head.bias": tensors["lm_head.bias"], **tensors})
    with pytest.raises(CheckpointError, match=r"with and without strip_prefix 'module.' there are lm_head.bias"):
        checkpoints.load(tmp_path, config, "ForMaskedLM", strip_prefix="module.")


@pytest.fixture
def halves():
    """Return the two models of an encoder-decoder: class, configuration and tensors by prefix."""
    encoder, decoder = RobertaConfig(**SIZES), RobertaConfig(**SIZES, **DECODER)
    return {
        "encoder.": ("Model", encoder, dict(draw(encoder, "Model", 1, pooler=True))),
        "decoder.": ("ForCausalLM", decoder, dict(draw(decoder, "ForCausalLM", 2))),
    }


@pytest.fixture
def both(tmp_path, halves):
    """Return a folder as `EncoderDecoderModel.save_pretrained` writes it."""
    fields: dict = {"model_type": "encoder-decoder", "is_encoder_decoder": True}
    tensors = {}
    for prefix, (architecture, config, arrays) in halves.items():
        fields[prefix.strip(".")] = {**config.to_dict(), "architectures": ["RobertaForMaskedLM"]}
        strip = "roberta." if architecture == "Model" else ""
        tensors |= {prefix + name.removeprefix(strip): array for name, array in arrays.items()}
    return write(tmp_path / "both", fields, tensors)


@pytest.mark.parametrize("prefix", ["encoder.", "decoder."])
def test_each_half_of_an_encoder_decoder_is_read(tmp_path, both, halves, prefix):
    architecture, config, tensors = halves[prefix]
    assert RobertaConfig.from_pretrained(both, strip_prefix=prefix) == config
    opened = conversion.open_checkpoint(both, strip_prefix=prefix)
    assert opened.architecture == architecture
    assert_same(opened.tensors, tensors)
    assert len(opened.report.unexpected) == sum(len(half[2]) for half in halves.values()) - len(tensors)
    conversion.convert(both, tmp_path / "half", "bin", strip_prefix=prefix)
    assert RobertaConfig.from_pretrained(tmp_path / "half").architectures == [f"Roberta{architecture}"]
    assert_same(conversion.open_checkpoint(tmp_path / "half").tensors, tensors)


def test_an_encoder_decoder_is_refused_without_the_half(both):
    for read in (RobertaConfig.from_pretrained, conversion.open_checkpoint):
        with pytest.raises(ValueError, match=r"encoder-decoder: read one half .* strip_prefix encoder\. or decoder\."):
            read(both)


@pytest.mark.parametrize(
    ("architecture", "kept", "skipped", "keeper"),
    [
        ("ForSequenceClassification", "classifier", "lm_head", "ForMaskedLM"),
        ("ForMaskedLM", "lm_head", "pooler", "Model"),
    ],
)
def test_a_part_that_the_class_does_not_have_is_reported(tmp_path, architecture, kept, skipped, keeper):
    config = RobertaConfig(**SIZES, architectures=[f"Roberta{architecture}"])
    tensors = {f"roberta.{name}": array for name, array in draw(config, "Model", pooler=True)}
    tensors |= dict(draw(config, "ForMaskedLM")) | dict(draw(config, architecture))
    write(tmp_path, config.to_dict(), tensors)
    opened = conversion.open_checkpoint(tmp_path)
    assert any(name.startswith(kept) for name in opened.tensors)
    remarks = [one for one in opened.remarks if f"omitted, because Roberta{architecture} has no {skipped}: " in one]
    assert len(remarks) == 1
    assert f"{skipped}.dense.weight" in remarks[0]
    assert remarks[0].endswith(f"; Roberta{keeper} keeps it")
    with use_interface(COMMAND):
        assert any(one.endswith(f"; `roberta convert --class {keeper}` keeps it") for one in opened.remarks)
    assert not [one for one in opened.report.sentences() if skipped in one]  # loading a model does not mention it
