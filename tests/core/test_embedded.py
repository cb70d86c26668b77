"""The files and the card of the embedded model."""

import json
import re

import numpy as np
import pytest

from roberta_core.checkpoints import safetensors_file
from roberta_core.checkpoints.source import EMBEDDED, resolve
from roberta_core.config import RobertaConfig
from roberta_core.parameters import parameters
from roberta_core.training.pretrain_run import Vocabulary
from roberta_core.training.recipe import Recipe

FOLDER = EMBEDDED / "roberta-tiny"
CARD = (FOLDER / "README.md").read_text(encoding="utf-8")
CONFIG = RobertaConfig.from_pretrained(FOLDER)
TENSORS = safetensors_file.read(FOLDER)


def read_tables():
    """Return the score tables of the card: for each table, (loss, accuracy) by the name of the row."""
    found, rows = [], None
    for line in CARD.splitlines():
        if re.match(r"\| *\| *loss *\| *accuracy *\|", line):
            found.append(rows := {})
        elif rows is not None and (cells := re.match(r"\| *([^|]+?) *\| *([\d.]+) *\| *([\d.]+)% *\|", line)):
            rows[cells[1]] = float(cells[2]), float(cells[3]) / 100
        elif not line.startswith("|"):
            rows = None
    return found


def test_it_is_found_by_its_name():
    assert resolve("roberta-tiny") == FOLDER


def test_its_size_is_at_most_twelve_megabytes():
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) <= 12_000_000


def test_its_tensors_are_complete_finite_and_in_half_precision():
    table = parameters(CONFIG, "ForMaskedLM")
    assert {name: array.shape for name, array in TENSORS.items()} == {name: one.shape for name, one in table.items()}
    assert {array.dtype for array in TENSORS.values()} == {np.dtype(np.float16)}
    assert all(np.isfinite(array).all() for array in TENSORS.values())
    assert safetensors_file.metadata(FOLDER) == {"format": "pt"}


def test_no_weight_is_lost_to_half_precision():
    """A trained model has few values below the normal range of float16; many values would mean a wrong scale."""
    values = np.concatenate([np.abs(array.astype(np.float32)).ravel() for array in TENSORS.values()])
    assert (values < 2.0**-14).mean() < 0.01


def test_it_was_trained_with_the_built_in_recipes():
    first, second = Recipe.load("roberta-tiny"), Recipe.load("roberta-tiny-continued")
    assert Recipe.from_dict(json.loads((FOLDER / "recipe.json").read_text())) == second
    assert (second.data, second.masking) == (first.data, first.masking)
    expected = first.config(vocab_size=8192)
    assert {**CONFIG.to_diff_dict(), "dtype": None, "architectures": None} == {
        **expected.to_diff_dict(),
        "dtype": None,
        "architectures": None,
    }


def test_its_tokenizer_has_the_ids_of_the_configuration():
    vocabulary = Vocabulary.from_folder(FOLDER)
    assert vocabulary.size == CONFIG.vocab_size == 8192
    assert (vocabulary.first, vocabulary.pad, vocabulary.last) == (
        CONFIG.bos_token_id,
        CONFIG.pad_token_id,
        CONFIG.eos_token_id,
    )
    assert vocabulary.mask == CONFIG.vocab_size - 1


@pytest.mark.parametrize("name", ["vocab.json", "merges.txt", "tokenizer_config.json", "special_tokens_map.json"])
def test_the_files_of_both_tokenizers_exist(name):
    assert (FOLDER / name).is_file()


def test_the_card_reports_an_accuracy_of_a_fifth_and_a_loss_below_the_baselines():
    assert len(read_tables()) == 2  # held-out documents, wikitext
    for rows in read_tables():
        loss, accuracy = rows["roberta-tiny"]
        assert accuracy >= 0.2
        assert loss < rows["neighbour counts, added"][0]
        assert loss < rows["most frequent token"][0]
        assert accuracy > rows["most frequent token"][1]


def test_the_card_names_the_documents_held_out():
    for name in Recipe.load("roberta-tiny").data.held_out:
        word = {"Blackmore_Lorna_1869.txt": "Lorna Doone", "James_Roderick_1875.txt": "Roderick Hudson"}.get(name)
        assert (word or str(int(re.sub(r"\D", "", name)))) in CARD


def test_the_card_reports_what_is_counted():
    assert f"{sum(one.size for one in parameters(CONFIG, 'ForMaskedLM').values()):,}" in CARD
    assert f"{(FOLDER / 'model.safetensors').stat().st_size / 1e6:.1f} MB" in CARD
