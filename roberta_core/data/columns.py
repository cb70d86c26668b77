"""The columns of published data sets that hold the texts of a classification."""

SINGLES = ("text", "sentence", "content")
PAIRS = (
    ("text", "text_pair"), ("sentence1", "sentence2"), ("premise", "hypothesis"), ("question1", "question2"),
    ("question", "sentence"),
)  # fmt: skip
