"""The embedded model on text that it was not trained on."""

from roberta_core.training.evaluation import Evaluation
from roberta_pt.backend import BACKEND


def test_a_fifth_of_the_masked_tokens_of_wikitext_are_right(shared):
    wikitext = shared / "data" / "corpus" / "wikitext2raw" / "wiki.test.raw"
    found = Evaluation("roberta-tiny", [str(wikitext)], "roberta-tiny", blocks=400).of_model(BACKEND)
    assert found.accuracy >= 0.2
    assert found.loss < 5.5
