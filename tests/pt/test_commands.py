"""Every prediction command with a model in PyTorch prints what the pipeline returns."""

import json

import pytest

from roberta_core import RobertaConfig, RobertaTokenizerFast, checkpoints
from roberta_core.cli import main
from roberta_core.parameters import draw
from roberta_core.pipelines import pipeline

TAGS = {0: "B-PER", 1: "B-LOC"}
# By command: the class, its labels, further options, a row, the pipeline, its inputs and its options.
COMMANDS = {
    "classify": ("ForSequenceClassification", {0: "bad", 1: "good"}, [], {"text": "A fine day."},
                 "text-classification", "A fine day.", {}),
    "tag": ("ForTokenClassification", TAGS, [], {"text": "Anna lives in Paris."},
            "token-classification", "Anna lives in Paris.", {"aggregation_strategy": "first"}),
    "answer": ("ForQuestionAnswering", None, [], {"question": "Where?", "context": "Anna lives in Paris."},
               "question-answering", {"question": "Where?", "context": "Anna lives in Paris."}, {}),
    "choose": ("ForMultipleChoice", None, [], {"context": "He came.", "choices": ["He left.", "It rained."]},
               "multiple-choice", {"context": "He came.", "choices": ["He left.", "It rained."]}, {}),
    "embed": ("Model", None, [], {"text": "A fine day."}, "sentence-embedding", "A fine day.", {}),
    "rank": ("ForSequenceClassification", {0: "relevance"}, [], {"query": "a day", "documents": ["a night", "bad"]},
             "text-ranking", {"query": "a day", "documents": ["a night", "bad"]}, {}),
    "zero-shot": ("ForSequenceClassification", {0: "contradiction", 1: "neutral", 2: "entailment"},
                  ["--labels", "weather,sport"], {"text": "It rains."},
                  "zero-shot-classification", "It rains.", {"candidate_labels": ["weather", "sport"]}),
    "generate": ("ForCausalLM", None, ["--max-new-tokens", "3"], {"text": "She opened"},
                 "text-generation", "She opened",
                 {"max_new_tokens": 3, "do_sample": False, "add_special_tokens": False}),
}  # fmt: skip


def save_model(folder, architecture, labels):
    config = RobertaConfig.from_pretrained("roberta-tiny")
    config.num_hidden_layers, config.is_decoder = 1, architecture == "ForCausalLM"
    if labels is not None:
        config.id2label = labels
    checkpoints.save(folder, config, architecture, dict(draw(config, architecture)))
    RobertaTokenizerFast.from_pretrained("roberta-tiny").save_pretrained(folder)
    return folder


def list_numbers(value):
    """Return the numbers and texts in a result, whatever holds them."""
    if hasattr(value, "tolist"):
        return list_numbers(value.tolist())
    if isinstance(value, dict):
        return [one for name in sorted(value) for one in list_numbers(value[name])]
    if isinstance(value, str | int | float | None):
        return [value]
    return [one for part in value for one in list_numbers(part)]


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_prints_what_the_pipeline_returns(command, capsys, tmp_path):
    architecture, labels, further, row, task, inputs, options = COMMANDS[command]
    folder = save_model(tmp_path / "model", architecture, labels)
    (tmp_path / "rows.jsonl").write_text(json.dumps(row) + "\n")
    with pytest.raises(SystemExit) as end:
        main([command, "--model", str(folder), *further, "--framework", "pt", "--json", str(tmp_path / "rows.jsonl")])
    assert not end.value.code
    printed = list_numbers(json.loads(capsys.readouterr().out))
    wanted = list_numbers(pipeline(task, model=str(folder), framework="pt")(inputs, **options))
    assert wanted
    numbers = [value for value in printed if type(value) is float]
    for value in wanted:
        assert value in printed if type(value) is not float else pytest.approx(value, abs=1e-6) in numbers, value
