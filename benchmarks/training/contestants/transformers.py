"""transformers in PyTorch, with the optimiser that its Trainer uses."""

import numpy as np
import torch
import transformers

RATE = 1e-4
MULTIPLE = 1  # its collator pads to the longest sentence
IGNORED = -100


def version(name):
    """Return the version of the library."""
    return transformers.__version__


def load(name, folder, precision, dropout):
    """Return a function that runs an AdamW step on the loss of masked tokens."""
    take_step = build_step(transformers.RobertaForMaskedLM, folder, precision, dropout)

    def step(ids, positions, labels):
        given = np.full_like(ids, IGNORED)
        rows, places = np.nonzero(labels != IGNORED)
        given[rows, positions[rows, places]] = labels[rows, places]
        return take_step(ids, np.ones_like(ids), given)

    return step


def load_classifier(name, folder, precision, dropout):
    """Return a function that runs an AdamW step on the loss of labelled sentences."""
    return build_step(transformers.RobertaForSequenceClassification, folder, precision, dropout)


def build_step(kind, folder, precision, dropout):
    """Return a function of ids, mask and labels that runs an AdamW step, with weight decay on matrices only."""
    rates = {"hidden_dropout_prob": dropout, "attention_probs_dropout_prob": dropout}
    model = kind.from_pretrained(folder, **rates).train()
    named = list(model.named_parameters())
    groups = [
        {"params": [value for _, value in named if value.dim() > 1], "weight_decay": 0.01},
        {"params": [value for _, value in named if value.dim() == 1], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=RATE, betas=(0.9, 0.98), eps=1e-6, fused=True)

    def step(ids, mask, labels):
        tensors = [torch.from_numpy(array) for array in (ids, mask, labels)]
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
            loss = model(tensors[0], attention_mask=tensors[1], labels=tensors[2]).loss
        loss.backward()
        torch.nn.utils.get_total_norm([value.grad for _, value in named])
        optimizer.step()
        optimizer.zero_grad()
        return loss.item()

    return step
