"""The limits of the server, checked on construction."""

from dataclasses import dataclass, field, fields

from roberta_core.tasks.base import BUDGET


@dataclass(frozen=True)
class ServerSettings:
    """What the server accepts, and how long it waits.

    Args:
        max_batch_tokens: tokens per batch, padding counted; a longer row has a batch to itself.
        max_queue: inputs of all requests that may wait or run at a time for one network; more are answered 429.
        max_inputs: inputs of one request.
        max_rows: rows for the model that one request may need, such as the windows of long texts.
        max_characters: characters of one text.
        max_numbers: numbers that one answer may contain.
        max_body: bytes of a request's body.
        max_held: bytes of the bodies of all requests that are not answered yet; more are answered 429.
        max_header: bytes of a request's header.
        max_connections: open connections; more are answered 503.
        max_new_tokens: tokens that one request may generate.
        timeout: seconds after which a request gets the answer 504.
        read_timeout: seconds in which a client must send its header, and then its body, or read an answer.
        api_key: key that requests must send as `Authorization: Bearer KEY`; empty for none.
        cors: origins whose pages may call the server from a browser.

    Raises:
        ValueError: a limit is below 1, or `max_queue` is below `max_inputs`.
    """

    max_batch_tokens: int = BUDGET
    max_queue: int = 512
    max_inputs: int = 128
    max_rows: int = 2048
    max_characters: int = 100_000
    max_numbers: int = 2**22
    max_body: int = 2_000_000
    max_held: int = 64_000_000
    max_header: int = 16_384
    max_connections: int = 512
    max_new_tokens: int = 512
    timeout: float = 30.0
    read_timeout: float = 10.0
    api_key: str = field(default="", repr=False)
    cors: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for one in fields(self):
            value, least = getattr(self, one.name), 1 if one.type in (int, "int") else 0
            if isinstance(value, int | float) and (value < least or value == 0):
                raise ValueError(f"{one.name} is {value}; it must be {'at least 1' if least else 'above 0'}")
        if self.max_queue < self.max_inputs:
            raise ValueError(
                f"max_queue is {self.max_queue}, but one request may have {self.max_inputs} inputs (max_inputs): "
                "raise max_queue or lower max_inputs"
            )
