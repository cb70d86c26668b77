"""What follows the encoder in a sentence-transformers model, in NumPy: pooling, linear layers, normalisation.

Shapes: S sequence, D hidden, E embedding, N number of vectors.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

TINY = 1e-12  # the shortest length that a vector is divided by
TANH = "torch.nn.modules.activation.Tanh"

# Each returns a vector [D] from hidden states [S, D] and the positions [S] of their tokens in the text, from 1.
POOLINGS: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "cls": lambda states, positions: states[0],
    "max": lambda states, positions: states.max(axis=0),
    "mean": lambda states, positions: states.mean(axis=0),
    "mean_sqrt_len_tokens": lambda states, positions: states.sum(axis=0) / math.sqrt(len(states)),
    "weightedmean": lambda states, positions: positions @ states / positions.sum(),
    "lasttoken": lambda states, positions: states[-1],
}
SHORT_NAMES = {"mean_sqrt_len": "mean_sqrt_len_tokens"}


def list_poolings() -> str:
    """Return the names of poolings, as a caller writes them."""
    short = {long: name for name, long in SHORT_NAMES.items()}
    return f"{', '.join(short.get(name, name) for name in POOLINGS)}, or several joined by +, such as mean+max"


# By the class names that configuration files contain.
ACTIVATIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    TANH: np.tanh,
    "torch.nn.modules.activation.ReLU": lambda x: np.maximum(x, 0),
    "torch.nn.modules.activation.Sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "torch.nn.modules.activation.SiLU": lambda x: x / (1 + np.exp(-x)),
    "torch.nn.modules.activation.GELU": lambda x: x / 2 * (1 + np.vectorize(math.erf)(x / math.sqrt(2))),
    "torch.nn.modules.linear.Identity": lambda x: x,
}


def lower(text: str) -> str:
    """Return a text in lower case, converted by character as the tokenizers library does."""
    return "".join(map(str.lower, text))


def check_activation(name: object, place: str) -> str:
    """Return the name of an activation function; raise `ValueError` if it is not in `ACTIVATIONS`."""
    if not isinstance(name, str) or name not in ACTIVATIONS:
        known = ", ".join(one.rpartition(".")[2] for one in ACTIVATIONS)
        raise ValueError(f"{place} has the activation function {name!r}; supported are those of torch.nn: {known}")
    return name


@dataclass(frozen=True)
class Pooling:
    """One vector from the hidden states of a text.

    Args:
        modes: names in `POOLINGS`; several vectors are concatenated in this order.
        include_prompt: whether the tokens of the prompt are pooled too.

    Raises:
        ValueError: there is no mode, or one is unknown.
    """

    modes: tuple[str, ...] = ("mean",)
    include_prompt: bool = True

    def __post_init__(self) -> None:
        modes = (self.modes,) if isinstance(self.modes, str) else self.modes
        modes = tuple(SHORT_NAMES.get(mode, mode) for mode in modes)
        unknown = [mode for mode in modes if mode not in POOLINGS]
        if unknown or not modes:
            raise ValueError(f"pooling is {unknown[0] if unknown else 'empty'!r}; expected {list_poolings()}")
        object.__setattr__(self, "modes", modes)

    def __call__(self, states: np.ndarray, skip: int = 0) -> np.ndarray:
        """Return a vector [modes * D].

        Args:
            states: the hidden states [S, D] of a text without padding.
            skip: the number of tokens at the beginning that belong to the prompt.
        """
        first = 0 if self.include_prompt else skip
        positions = np.arange(1, len(states) + 1, dtype=np.float64)[first:]
        kept = states[first:].astype(np.float64)
        if not len(kept):
            raise ValueError(f"the text has no tokens besides the {skip} of its prompt, which are not pooled")
        return np.concatenate([POOLINGS[mode](kept, positions) for mode in self.modes])


@dataclass(frozen=True, eq=False)
class Dense:
    """A linear layer with an activation function.

    Args:
        weight: [E, D].
        bias: [E], or None.
        activation: a name in `ACTIVATIONS`.
        residual: None, or the matrix [E, D] of the residual connection; the string "input" adds the input itself.
    """

    weight: np.ndarray
    bias: np.ndarray | None = None
    activation: str = TANH
    residual: np.ndarray | str | None = None

    def __call__(self, vector: np.ndarray) -> np.ndarray:
        """Return a vector [E] of a vector [D]."""
        made = self.weight.astype(np.float64) @ vector
        made = ACTIVATIONS[self.activation](made if self.bias is None else made + self.bias.astype(np.float64))
        if self.residual is None:
            return made
        return made + (vector if isinstance(self.residual, str) else self.residual.astype(np.float64) @ vector)


@dataclass(frozen=True)
class Normalize:
    """Scaling of a vector to length 1."""

    def __call__(self, vector: np.ndarray) -> np.ndarray:
        """Return the vector scaled to length 1; one that is all zeros stays as it is."""
        return vector / max(float(np.linalg.norm(vector)), TINY)


@dataclass(frozen=True, eq=False)
class SentenceModules:
    """The modules of a sentence-transformers model after its encoder, and its settings.

    Args:
        pooling: from hidden states to a vector.
        layers: `Dense` and `Normalize` layers, in order.
        prompts: texts by name that are put before an input.
        default_prompt_name: the prompt that is used where a call names none.
        max_length: the most tokens of a text, or None.
        lower_case: whether texts are converted to lower case.
        similarity: a name in `SIMILARITIES`.
        dimensions: the number of values that are kept of a vector; None keeps all.
    """

    pooling: Pooling = Pooling()
    layers: tuple[Dense | Normalize, ...] = ()
    prompts: Mapping[str, str] = field(default_factory=dict)
    default_prompt_name: str | None = None
    max_length: int | None = None
    lower_case: bool = False
    similarity: str = "cosine"
    dimensions: int | None = None

    def check_size(self, hidden: int) -> None:
        """Raise `ValueError` unless the layers fit together, for hidden states of this size."""
        size = hidden * len(self.pooling.modes)
        for layer in self.layers:
            if isinstance(layer, Dense):
                if layer.weight.shape[1] != size:
                    raise ValueError(
                        f"a Dense module takes vectors of {layer.weight.shape[1]} values, but gets {size} from "
                        f"{'+'.join(self.pooling.modes)} pooling of {hidden} hidden values"
                    )
                size = layer.weight.shape[0]

    def find_prompt(self, name: str | None) -> str:
        """Return the prompt of a name, or the default prompt for None; raise `ValueError` if there is none."""
        name = self.default_prompt_name if name is None else name
        if name is None:
            return ""
        if name not in self.prompts:
            if not self.prompts:
                raise ValueError(f"prompt_name is {name!r}, but this model's folder defines no prompts")
            raise ValueError(f"prompt_name is {name!r}; the prompts of this model are {', '.join(self.prompts)}")
        return self.prompts[name]

    def embed(self, states: np.ndarray, skip: int = 0) -> np.ndarray:
        """Return the float32 vector [E] of a text.

        Args:
            states: the hidden states [S, D] without padding.
            skip: the number of tokens at the beginning that belong to the prompt.
        """
        vector = self.pooling(states, skip)
        for layer in self.layers:
            vector = layer(vector)
        return vector[: self.dimensions].astype(np.float32)


def _normalize(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), TINY)


def _differences(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    return first[:, None] - second[None]


# Each returns a matrix [N, M], larger for more similar vectors, from vectors [N, E] and [M, E].
SIMILARITIES: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "cosine": lambda first, second: _normalize(first) @ _normalize(second).T,
    "dot": lambda first, second: first @ second.T,
    "euclidean": lambda first, second: -np.sqrt((_differences(first, second) ** 2).sum(axis=-1)),
    "manhattan": lambda first, second: -np.abs(_differences(first, second)).sum(axis=-1),
}
