"""The Trainer of transformers and PEFT adapters on our models, compared with models of transformers.

Run by the tox environments `reference` (4.57.6) and `peers` (5.23.0).
"""

import copy
import pickle

import numpy as np
import pytest

transformers = pytest.importorskip("transformers", reason="runs transformers itself")
peft = pytest.importorskip("peft", reason="runs PEFT itself")
torch = pytest.importorskip("torch")

import roberta_pt  # noqa: E402
from roberta_core import RobertaConfig, RobertaTokenizer, RobertaTokenizerFast, checkpoints  # noqa: E402

OLD = int(transformers.__version__.partition(".")[0]) < 5
IDS = np.random.default_rng(0).integers(3, 101, (4, 7))
TASKS = {
    "SEQ_CLS": ("ForSequenceClassification", {"labels": [0, 1, 0, 1]}),
    "TOKEN_CLS": ("ForTokenClassification", {"labels": (IDS % 2).tolist()}),
    "QUESTION_ANS": ("ForQuestionAnswering", {"start_positions": [1, 2, 3, 0], "end_positions": [4, 2, 6, 1]}),
    "CAUSAL_LM": ("ForCausalLM", {"labels": IDS.tolist()}),
}
ADAPTERS = {
    "LoRA": lambda task: peft.LoraConfig(task_type=task, target_modules=["query", "value"], init_lora_weights=False),
    "IA3": lambda task: peft.IA3Config(
        task_type=task, target_modules=["query", "output.dense"], feedforward_modules=["output.dense"]
    ),
    "prefix": lambda task: peft.PrefixTuningConfig(task_type=task, num_virtual_tokens=3),
    "prompt": lambda task: peft.PromptTuningConfig(task_type=task, num_virtual_tokens=3),
    "p-tuning": lambda task: peft.PromptEncoderConfig(task_type=task, num_virtual_tokens=3, encoder_hidden_size=8),
}
# PEFT's prompts extend the sequence but not the token labels: no model can be trained.
PAIRS = [
    (task, kind) for task in TASKS for kind in ADAPTERS if (task, kind[0]) != ("TOKEN_CLS", "p") or kind == "prefix"
]


@pytest.fixture
def config(config):
    config.hidden_dropout_prob = config.attention_probs_dropout_prob = 0.0
    return config


@pytest.fixture
def folder(config, weights, tmp_path):
    """Return `folder(architecture)`: a checkpoint of a class."""

    def made(architecture):
        config.is_decoder = architecture == "ForCausalLM"
        checkpoints.save(tmp_path / "start", config, architecture, weights(config, architecture))
        return tmp_path / "start"

    return made


def both(architecture, folder):
    """Load a checkpoint into our model and into that of transformers."""
    return [
        getattr(package, f"Roberta{architecture}").from_pretrained(folder) for package in (roberta_pt, transformers)
    ]


def trained(model, labels):
    """Return the loss of a batch and the gradients of trainable parameters."""
    arguments = {"input_ids": torch.from_numpy(IDS), "attention_mask": torch.ones(4, 7, dtype=torch.long)}
    loss = model(**arguments, **{name: torch.tensor(value) for name, value in labels.items()}).loss
    loss.backward()
    return loss.item(), {name: value.grad for name, value in model.named_parameters() if value.requires_grad}


@pytest.mark.parametrize(("task", "kind"), PAIRS)
def test_an_adapter_trains_as_on_the_model_of_transformers(folder, task, kind):
    architecture, labels = TASKS[task]
    ours, theirs = both(architecture, folder(architecture))
    if (OLD, task, kind) == (True, "SEQ_CLS", "prefix"):
        theirs = ours  # 4.57.6 raises a TypeError for the cache that PEFT passes to its classifier
    found = []
    for model in (ours, copy.deepcopy(theirs)):
        torch.manual_seed(7)
        found.append(trained(peft.get_peft_model(model, ADAPTERS[kind](task)).eval(), labels))
    (loss, gradients), (wanted, references) = found
    assert loss == pytest.approx(wanted, rel=1e-5)
    assert gradients.keys() == references.keys()
    for name, reference in references.items():
        assert gradients[name] is not None, name
        torch.testing.assert_close(gradients[name], reference, rtol=1e-3, atol=1e-4 * reference.abs().max() + 1e-7)


@pytest.mark.parametrize("first", ["adapters", "checkpointing"])
@pytest.mark.parametrize("reentrant", [True, False])
def test_every_lora_adapter_trains_with_gradient_checkpointing(folder, first, reentrant):
    model = roberta_pt.RobertaForSequenceClassification.from_pretrained(folder("ForSequenceClassification"))
    plain = trained(
        peft.get_peft_model(copy.deepcopy(model), ADAPTERS["LoRA"]("SEQ_CLS")).train(), {"labels": [0, 1, 0, 1]}
    )
    if first == "checkpointing":
        model.gradient_checkpointing_enable({"use_reentrant": reentrant})
    adapted = peft.get_peft_model(model, ADAPTERS["LoRA"]("SEQ_CLS")).train()
    if first == "adapters":
        adapted.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": reentrant})
    _, gradients = trained(adapted, {"labels": [0, 1, 0, 1]})
    assert len([name for name in gradients if "lora" in name]) == 8
    assert gradients.keys() == plain[1].keys()
    assert all(value is not None for value in gradients.values())


def test_text_is_not_generated_without_the_prompts_that_were_learned(folder):
    model = roberta_pt.RobertaForCausalLM.from_pretrained(folder("ForCausalLM"))
    tuned = peft.get_peft_model(copy.deepcopy(model), ADAPTERS["prefix"]("CAUSAL_LM"))
    with pytest.raises(ValueError, match="generate does not support PEFT's"):
        tuned.generate(input_ids=torch.from_numpy(IDS), max_new_tokens=2)
    adapted = peft.get_peft_model(model, ADAPTERS["LoRA"]("CAUSAL_LM"))
    text = adapted.generate(input_ids=torch.from_numpy(IDS), max_new_tokens=2, eos_token_id=None)
    assert text.shape == (4, 9)


@pytest.mark.parametrize("settings", [{}, {"use_reentrant": True}], ids=["default", "re-entrant"])
def test_trainer_writes_models_that_load_and_trains_as_transformers(folder, tmp_path, settings):
    found = []
    for number, model in enumerate(both("ForSequenceClassification", folder("ForSequenceClassification"))):
        output = tmp_path / str(number)
        arguments = transformers.TrainingArguments(
            output_dir=str(output),
            max_steps=3,
            per_device_train_batch_size=2,
            gradient_checkpointing=True,
            gradient_checkpointing_kwargs=settings or None,
            save_steps=2,
            logging_steps=1,
            learning_rate=1e-3,
            use_cpu=True,
            report_to=[],
            disable_tqdm=True,
        )
        rows = [{"input_ids": row, "labels": number % 2} for number, row in enumerate(IDS.tolist())]
        trainer = transformers.Trainer(model=model, args=arguments, train_dataset=rows)
        trainer.train()
        trainer.save_model(str(output / "final"))
        found.append([entry["loss"] for entry in trainer.state.log_history if "loss" in entry])
    assert len(found[0]) == 3
    assert found[0] == pytest.approx(found[1], rel=1e-4)
    kinds = (roberta_pt.RobertaForSequenceClassification, transformers.RobertaForSequenceClassification)
    for saved in ("final", "checkpoint-2", "checkpoint-3"):
        ours, theirs = (
            kind.from_pretrained(tmp_path / "0" / saved).eval()(torch.from_numpy(IDS)).logits for kind in kinds
        )
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
    last, earlier = (
        kinds[0].from_pretrained(tmp_path / "0" / saved).state_dict() for saved in ("final", "checkpoint-2")
    )
    assert not torch.equal(last["classifier.out_proj.weight"], earlier["classifier.out_proj.weight"])


@pytest.mark.parametrize("kind", [RobertaTokenizer, RobertaTokenizerFast])
def test_trainer_pads_with_our_tokenizer_by_default(folder, tmp_path, kind):
    model = roberta_pt.RobertaForSequenceClassification.from_pretrained(folder("ForSequenceClassification"))
    arguments = transformers.TrainingArguments(output_dir=str(tmp_path), use_cpu=True, report_to=[])
    tokenizer = kind.from_pretrained("roberta-tiny")
    collate = transformers.Trainer(model=model, args=arguments, processing_class=tokenizer).data_collator
    assert isinstance(collate, transformers.DataCollatorWithPadding)
    batch = collate([dict(tokenizer(text)) for text in ("A door.", "A door and a window.")])
    assert batch["input_ids"][0, -1] == tokenizer.pad_token_id
    assert batch["attention_mask"].sum(dim=1).tolist() == [5, 8]


def test_the_embeddings_of_a_frozen_model_can_require_a_gradient(folder):
    model = roberta_pt.RobertaModel.from_pretrained(folder("Model")).requires_grad_(False)
    ids = torch.from_numpy(IDS)
    for _ in range(2):
        model.enable_input_require_grads()
        assert model(ids).last_hidden_state.requires_grad
        model.disable_input_require_grads()
        assert not model(ids).last_hidden_state.requires_grad


def test_a_model_is_one_of_transformers_and_stays_ours(folder):
    model = roberta_pt.RobertaForMaskedLM.from_pretrained(folder("ForMaskedLM"))
    assert isinstance(model, transformers.PreTrainedModel)
    assert isinstance(model.roberta, transformers.PreTrainedModel)
    assert type(model) is roberta_pt.RobertaForMaskedLM
    for copied in (copy.deepcopy(model), copy.copy(model), pickle.loads(pickle.dumps(model))):
        assert type(copied) is roberta_pt.RobertaForMaskedLM
        torch.testing.assert_close(copied(torch.from_numpy(IDS)).logits, model(torch.from_numpy(IDS)).logits)


def test_a_frozen_model_passes_calls_on_to_its_adapters(monkeypatch):
    monkeypatch.setattr("roberta_pt.frozen.find_packing_obstacle", lambda: None)
    sizes = {"vocab_size": 101, "hidden_size": 12, "num_hidden_layers": 2, "num_attention_heads": 3}
    model = roberta_pt.RobertaForSequenceClassification(RobertaConfig(**sizes, intermediate_size=20)).eval()
    view = model.frozen()
    adapted = peft.get_peft_model(model, ADAPTERS["LoRA"]("SEQ_CLS")).eval()
    ids = torch.from_numpy(IDS)
    with torch.no_grad():
        want = adapted(ids).logits
        assert torch.equal(view(ids).logits, want)
        assert view.path.startswith("plain: a module of the encoder was changed")
        other = adapted.frozen()
        assert torch.equal(other(ids).logits, want)
        assert "peft.tuners.lora" in other.path
        merged = adapted.merge_and_unload().frozen()
        torch.testing.assert_close(merged(ids).logits, want, rtol=1e-4, atol=1e-6)
        assert merged.path.startswith("oneDNN packed")
