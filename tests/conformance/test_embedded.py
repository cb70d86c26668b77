"""The embedded model gives the same predictions in the three frameworks."""

from roberta_core import backend
from roberta_core.training.evaluation import Evaluation

TEXT = """
She opened the door and went in. The old man, who had been sitting by the fire, rose slowly from his chair. "You have
come at last," he said, "and it is late." She did not answer, but looked at the letter which lay upon the table.

The function returns a list of names. If the argument is not a string, an exception is raised. This PEP proposes a new
syntax for annotations, and describes how existing code can be changed. The reference implementation is available.
"""


def test_the_score_is_the_same_in_every_framework(tmp_path):
    (tmp_path / "text.txt").write_text(TEXT * 20)
    evaluation = Evaluation("roberta-tiny", [str(tmp_path / "text.txt")], "roberta-tiny")
    scores = [evaluation.of_model(backend.load(name)) for name in ("pt", "tf", "flax")]
    assert len({score.count for score in scores}) == 1
    assert len({f"{score.accuracy:.4f}" for score in scores}) == 1
    assert max(score.loss for score in scores) - min(score.loss for score in scores) < 1e-4
    assert scores[0].accuracy > 0.3
