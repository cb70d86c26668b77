import pytest
import torch

from roberta_pt import RobertaForMaskedLM


def test_a_loaded_model_can_be_trained_and_leaves_the_file_alone(make, config, ids, tmp_path):
    make(RobertaForMaskedLM, config).save_pretrained(tmp_path)
    before = (tmp_path / "model.safetensors").read_bytes()
    model = RobertaForMaskedLM.from_pretrained(tmp_path).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model(ids, labels=ids).loss.backward()
    optimizer.step()
    assert (tmp_path / "model.safetensors").read_bytes() == before
    assert not torch.equal(model.lm_head.bias, RobertaForMaskedLM.from_pretrained(tmp_path).lm_head.bias)


@pytest.mark.parametrize("dtype", ["bfloat16", torch.float16, "float64"])
def test_parameters_come_in_the_type_that_is_asked_for(make, config, tmp_path, dtype):
    make(RobertaForMaskedLM, config).save_pretrained(tmp_path)
    model = RobertaForMaskedLM.from_pretrained(tmp_path, dtype=dtype)
    assert {str(value.dtype) for value in model.parameters()} == {f"torch.{str(dtype).removeprefix('torch.')}"}
    with pytest.raises(ValueError, match="dtype is 'float23'"):
        RobertaForMaskedLM.from_pretrained(tmp_path, dtype="float23")


def test_a_new_model_is_in_training_mode_and_a_loaded_one_is_not(make, config, tmp_path):
    assert RobertaForMaskedLM(config).training
    make(RobertaForMaskedLM, config).save_pretrained(tmp_path)
    assert not RobertaForMaskedLM.from_pretrained(tmp_path).training


def test_a_frozen_body_is_not_counted(config):
    model = RobertaForMaskedLM(config)
    model.roberta.requires_grad_(False)
    assert model.num_parameters(only_trainable=True) == model.lm_head.dense.weight.numel() + 101 + 3 * 12


def test_a_state_dict_is_saved_in_the_place_of_the_models_own(make, config, tmp_path):
    model = make(RobertaForMaskedLM, config)
    state = {name: value + 1 for name, value in model.state_dict().items()}
    model.save_pretrained(tmp_path, state_dict=state, save_function=torch.save, safe_serialization=False)
    assert {path.name for path in tmp_path.iterdir()} == {"config.json", "pytorch_model.bin"}
    for name, value in RobertaForMaskedLM.from_pretrained(tmp_path).state_dict().items():
        assert torch.equal(value, model.state_dict()[name] + 1), name


def test_another_process_writes_nothing(make, config, tmp_path):
    make(RobertaForMaskedLM, config).save_pretrained(tmp_path / "model", is_main_process=False)
    assert not (tmp_path / "model").exists()


def test_what_cannot_be_saved_is_refused(make, config, tmp_path):
    model = make(RobertaForMaskedLM, config)
    state = model.state_dict()
    state["other"] = state.pop("lm_head.bias")
    for settings, sentence in (
        ({"state_dict": state}, r"missing \['lm_head.bias'\], unknown \['other'\]"),
        ({"variant": "fp16"}, "variant='fp16' is not supported: rename the file after saving"),
    ):
        with pytest.raises(ValueError, match=sentence):
            model.save_pretrained(tmp_path / "model", **settings)
    assert not (tmp_path / "model").exists()
