"""Checkpoints of CamemBERT and XLM-RoBERTa, with and without `architectures`, in the code without a framework."""

import json
import shutil
from pathlib import Path

import pytest

from roberta_core import RobertaConfig, load_tokenizer
from roberta_core.checkpoints.conversion import open_checkpoint
from roberta_core.data.records import Record
from roberta_core.tasks import TASKS, fill_mask
from roberta_core.tasks.heads import require_head
from roberta_core.training.pretrain_run import Vocabulary

RELATIVES = Path(__file__).parents[1] / "relatives"
CLASSES = (
    "Model", "ForMaskedLM", "ForCausalLM", "ForSequenceClassification", "ForTokenClassification", "ForMultipleChoice",
    "ForQuestionAnswering",
)  # fmt: skip


@pytest.fixture(params=["camembert", "xlm-roberta"])
def build(request, tmp_path):
    """Return `build(architecture, named=True)`, which saves a checkpoint with its tokenizer and returns the folder."""

    def build(architecture, named=True):
        folder = tmp_path / f"{architecture}-{named}"
        shutil.copytree(RELATIVES / request.param / architecture, folder)
        shutil.copytree(RELATIVES / request.param / "tokenizer", folder, dirs_exist_ok=True)
        if not named:
            config = json.loads((folder / "config.json").read_text())
            del config["architectures"]
            (folder / "config.json").write_text(json.dumps(config))
        return folder

    return build


@pytest.mark.parametrize("named", [True, False])
def test_the_class_is_the_named_one_or_inferred_from_the_weights(build, named):
    assert {open_checkpoint(build(one, named)).architecture: one for one in CLASSES} == {one: one for one in CLASSES}


def test_a_class_name_that_ends_with_model_is_not_the_base_model(build):
    folder = build("ForMaskedLM")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "architectures": ["RobertaLMHeadModel"]}))
    assert open_checkpoint(folder).architecture == "ForMaskedLM"


def test_a_missing_head_is_reported_with_the_command_that_trains_it(build):
    folder = build("ForMaskedLM", named=False)
    require_head(folder, "ForMaskedLM")
    with pytest.raises(ValueError, match=r"not fine-tuned for tagging: it lacks classifier.*roberta finetune tagging"):
        require_head(folder, "ForTokenClassification")
    with pytest.raises(ValueError, match="is not a masked language model: it lacks lm_head"):
        require_head(build("ForTokenClassification"), "ForMaskedLM")


RECORDS = {
    "classification": {"text": "la fille", "text_pair": "le fromage", "label": "x"},
    "tagging": {"tokens": ["la", "fille", "aime"], "labels": ["O", "B-PER", "O"]},
    "multiple-choice": {"context": "la fille", "choices": ["aime", "le fromage"], "label": 0},
    "question-answering": {
        "context": "la fille",
        "question": "aime le",
        "answers": [{"text": "fille", "answer_start": 3}],
    },
}


@pytest.mark.parametrize("name", TASKS)
def test_every_task_builds_features_with_the_tokenizer_of_a_relative(build, name):
    folder = build("ForTokenClassification")
    task = TASKS[name].from_pretrained(folder)
    example = task.read_example(Record(RECORDS[name], "here"))
    task.labels = ("O", "B-PER", "x")
    (feature,) = task.build_features([example])
    row = feature.ids[0] if feature.has_choices() else feature.ids
    tokenizer = load_tokenizer(folder)
    assert (row[0], row[-1]) == (tokenizer.cls_token_id, tokenizer.sep_token_id)
    text = tokenizer.decode(row, skip_special_tokens=True)
    assert "fille" in text
    assert tokenizer.unk_token_id not in row


def test_question_answering_always_has_two_labels(build):
    folder = build("ForTokenClassification")
    task = TASKS["question-answering"].from_pretrained(folder)
    assert RobertaConfig.from_pretrained(folder).num_labels == 4
    assert RobertaConfig.from_pretrained(folder, **task.config()).num_labels == 2


def test_masks_and_special_tokens_come_from_the_tokenizer_of_the_relative(build):
    folder = build("ForMaskedLM")
    tokenizer = load_tokenizer(folder)
    fill_mask.check_texts(tokenizer, ["la <mask> aime"], RobertaConfig.from_pretrained(folder), 5)
    found = Vocabulary.from_folder(folder)
    assert (found.first, found.pad, found.last, found.mask) == (
        tokenizer.bos_token_id, tokenizer.pad_token_id, tokenizer.eos_token_id, tokenizer.mask_token_id,
    )  # fmt: skip
