"""Build the small checkpoints of CamemBERT and XLM-RoBERTa in this folder, with transformers 4.57.6 and torch.

`python tests/relatives/make.py FOLDER` writes one folder per model: a Unigram tokenizer trained by the `tokenizers`
library, the weights of each class, and `expected.json` with the results of transformers on a few texts. All sizes that
could be confused differ, and the weights are large enough to show a mistake.
"""

import json
import sys
from pathlib import Path

import torch
import transformers
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

CORPUS = [
    "Le camembert est un fromage à pâte molle, et la fille de l'été l'aime bien.",
    "The cheese is soft, and the summer's daughter likes it well; she'll have some more.",
    "Der Käse ist weich, und die Tochter des Sommers mag ihn sehr gern: 3,14 Stück.",
] * 4
TEXTS = [
    "Le camembert est <mask> bon !", "  l'été,\tla fille", "The ﬁlm\u2019s cheese", "日本 Käse 🤗", "", "a <s> b</s>",
    "x\n\ny",
]  # fmt: skip
PAIR = ("la fille aime", "the soft cheese, 3,14")
# model type -> (class prefix, first entries of the vocabulary, ids of <s>, <pad>, </s>, <unk>)
UNUSED = ["<s>NOTUSED", "<pad>", "</s>NOTUSED", "<unk>", "<unk>NOTUSED", "<s>", "</s>"]
LAYOUTS = {
    "camembert": ("Camembert", UNUSED, (5, 1, 6, 3)),
    "xlm-roberta": ("XLMRoberta", ["<s>", "<pad>", "</s>", "<unk>"], (0, 1, 2, 3)),
}
CLASSES = (
    "Model", "ForMaskedLM", "ForCausalLM", "ForSequenceClassification", "ForTokenClassification", "ForMultipleChoice",
    "ForQuestionAnswering",
)  # fmt: skip


def tokenizer_of(first, ids):
    """Train a Unigram tokenizer with the published layout of special tokens."""
    trained = Tokenizer(models.Unigram())
    trained.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.UnigramTrainer(vocab_size=90, special_tokens=["<unk>"], unk_token="<unk>", show_progress=False)
    trained.train_from_iterator(CORPUS, trainer)
    pieces = [(piece, score) for piece, score in json.loads(trained.to_str())["model"]["vocab"] if piece != "<unk>"]
    vocabulary = [
        *((token, 0.0) for token in first),
        *sorted(pieces, key=lambda entry: (-entry[1], entry[0])),
        ("<mask>", 0.0),
    ]
    whole = Tokenizer(models.Unigram(vocabulary, unk_id=ids[3], byte_fallback=False))
    whole.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace("\t", " ")])
    whole.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()])
    whole.decoder = decoders.Metaspace()
    whole.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", ids[0]), ("</s>", ids[2])]
    )
    return whole


def drawn(model, seed):
    """Return the model with large weights and biases, norm weights around 1, and zero rows for the pad."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, value in sorted(model.named_parameters()):
            value.copy_(torch.randn(value.shape, generator=generator) * 0.4 + float("LayerNorm.weight" in name))
            if "word_embeddings" in name or "position_embeddings" in name:
                value[1] = 0
    model.tie_weights()
    return model.eval()


def config_of(kind, size, ids, class_name):
    """Return a configuration with the published fields and small sizes."""
    return getattr(transformers, f"{kind}Config")(
        vocab_size=size, hidden_size=12, num_hidden_layers=2, num_attention_heads=3, intermediate_size=20,
        max_position_embeddings=40, type_vocab_size=1, layer_norm_eps=1e-5, bos_token_id=ids[0],
        num_labels=2 if class_name == "ForQuestionAnswering" else 4,
        pad_token_id=ids[1], eos_token_id=ids[2], is_decoder=class_name == "ForCausalLM",
    )  # fmt: skip


def encodings(tokenizer):
    """Return the results of transformers for the texts."""
    found = []
    for text in TEXTS:
        one = tokenizer(text, return_offsets_mapping=True)
        words = tokenizer(text.split(), is_split_into_words=True)
        found.append({
            "text": text, "input_ids": one["input_ids"], "offset_mapping": one["offset_mapping"],
            "tokens": one.tokens(), "word_ids": one.word_ids(), "decoded": tokenizer.decode(one["input_ids"]),
            "skipped": tokenizer.decode(one["input_ids"], skip_special_tokens=True), "words": words["input_ids"],
        })  # fmt: skip
    window = {"truncation": "only_second", "max_length": 24, "stride": 1, "return_overflowing_tokens": True}
    batch = tokenizer(TEXTS[:3], padding=True)
    return {
        "texts": found, "pair": tokenizer(*PAIR, return_offsets_mapping=True).data,
        "windows": tokenizer(*PAIR, **window)["input_ids"], "batch": batch.data,
        "specials": {role: getattr(tokenizer, f"{role}_token_id") for role in ("bos", "eos", "unk", "pad", "mask")},
    }  # fmt: skip


def make(target, model_type):
    """Write the folder of one model."""
    kind, first, ids = LAYOUTS[model_type]
    folder = target / model_type
    whole = tokenizer_of(first, ids)
    folder.mkdir(parents=True)
    whole.save(str(folder / "whole.json"))
    tokenizer = getattr(transformers, f"{kind}TokenizerFast")(tokenizer_file=str(folder / "whole.json"))
    (folder / "whole.json").unlink()
    tokenizer.save_pretrained(folder / "tokenizer")
    expected = {"transformers": transformers.__version__, "pair": PAIR, **encodings(tokenizer), "outputs": {}}
    inputs = tokenizer(["la fille aime le <mask>", "the cheese"], padding=True, return_tensors="pt")
    expected["inputs"] = {name: value.tolist() for name, value in inputs.items()}
    for number, class_name in enumerate(CLASSES):
        config = config_of(kind, len(tokenizer), ids, class_name)
        model = drawn(getattr(transformers, f"{kind}{class_name}")(config), number)
        model.save_pretrained(folder / class_name)
        several = class_name == "ForMultipleChoice"
        given = {name: value[None] if several else value for name, value in inputs.items()}
        with torch.no_grad():
            outputs = model(**given)
        names = ("last_hidden_state", "pooler_output", "logits", "start_logits", "end_logits")
        expected["outputs"][class_name] = {
            name: getattr(outputs, name).tolist() for name in names if getattr(outputs, name, None) is not None
        }
    (folder / "expected.json").write_text(json.dumps(expected, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    for one in LAYOUTS:
        make(Path(sys.argv[1]), one)
