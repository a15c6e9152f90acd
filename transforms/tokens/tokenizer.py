"""The tokenizer: byte-level BPE from a folder, a `tokenizer.json`, a `.tiktoken` file or the Hugging Face hub."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np

from schemas.chat import ChatFormat
from schemas.chat_template import TEMPLATE_NAME, chat_template
from schemas.control_tokens import END_OF_TEXT, FAMILY, QWEN, QWEN_RANKS, is_control
from schemas.errors import SluiceError
from transforms.tokens.engine import Engine, choose
from transforms.tokens.ranks import BYTE_CHARS, QWEN_PATTERN, bpe_model, byte_level, read_ranks, tokenizer_json

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[\w.-]+)?")


class Tokenizer:
    """A byte-level BPE with the family's control tokens.

    Text is only ever text: control tokens written out in it (a web page quoting `<|endoftext|>`) become the ids of
    their characters. Control ids are placed by code, from `special_ids`.

    special_ids: control token -> id · vocab_size: highest id + 1 · fingerprint: sha256 (hex) of the canonical
    tokenizer.json, which is also the file `save` writes.

    engine: "auto" uses the fast engine if it encodes a fixed set of texts, and those in `sample`, like the reference;
    "reference" never does. `engine_name` and `engine_reason` say what came of it.
    """

    def __init__(
        self,
        definition: dict[str, Any],
        *,
        where: str = "tokenizer",
        engine: Literal["auto", "reference"] = "auto",
        sample: Iterable[str] = (),
    ) -> None:
        """`definition`: a parsed tokenizer.json; `where`: its name in errors. Raises SluiceError if it cannot serve."""
        self._where = where
        self._definition = _canonical(definition, where)
        self._wanted = engine
        self._sample = tuple(sample)
        added = self._definition["added_tokens"]
        self.special_ids: dict[str, int] = {
            t["content"]: t["id"] for t in added if is_control(t["content"], t["special"])
        }
        self.vocab_size: int = 1 + max([*self._definition["model"]["vocab"].values(), *(t["id"] for t in added)])
        self.json = json.dumps(self._definition, ensure_ascii=False, separators=(",", ":"))
        self.fingerprint = hashlib.sha256(self.json.encode()).hexdigest()

    @classmethod
    def load(
        cls, spec: str | Path, *, engine: Literal["auto", "reference"] = "auto", sample: Iterable[str] = ()
    ) -> Tokenizer:
        """A tokenizer by folder, tokenizer.json, .tiktoken file (Qwen's pattern) or hub id; SluiceError if none.

        "bytes" is the one that needs no file: byte b has id b, and nothing was learned (as ByT5).
        """
        if spec == "bytes":
            made = byte_level(QWEN_PATTERN) | {"model": bpe_model({char: b for b, char in BYTE_CHARS.items()}, [])}
            return cls(made, where="bytes", engine=engine, sample=sample)
        path = Path(spec)
        if path.suffix == ".tiktoken" and path.is_file():
            return cls.from_tiktoken(path, engine=engine, sample=sample)
        if path.is_dir():
            path = path / "tokenizer.json"
            if not path.is_file():
                raise SluiceError(f"{spec} is a folder without a tokenizer.json; point at one that has it")
        if path.is_file():
            return _read(path.read_bytes(), str(path), engine, tuple(sample))
        if path.suffix in (".json", ".tiktoken") or not _HUB_ID.fullmatch(str(spec)):
            raise SluiceError(f"there is no tokenizer at {spec}; give a folder, a tokenizer.json or a .tiktoken file")
        return cls(_from_hub(str(spec)), where=str(spec), engine=engine, sample=sample)

    @classmethod
    def from_tiktoken(
        cls,
        path: str | Path,
        *,
        pattern: str = QWEN_PATTERN,
        nfc: bool = True,
        engine: Literal["auto", "reference"] = "auto",
        sample: Iterable[str] = (),
    ) -> Tokenizer:
        """From a tiktoken rank file. The file has no pattern; the default is Qwen's, with its NFC.

        The released Qwen vocabulary gets all its control tokens at their published ids, others the family's.
        """
        ranks = read_ranks(Path(path))
        made = tokenizer_json(ranks, pattern, nfc)
        if len(ranks) == QWEN_RANKS and max(ranks.values()) == QWEN_RANKS - 1:
            made["added_tokens"] = [_added(name, QWEN_RANKS + n) for n, name in enumerate(QWEN)]
        return cls(made, where=str(path), engine=engine, sample=sample)

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (self.json, self._where, self._wanted, self._sample)

    @cached_property
    def _engine(self) -> tuple[Engine, str]:
        added = [token for token in self._definition["added_tokens"] if token["content"] not in self.special_ids]
        plain = _with_fixed_ids(self._definition | {"added_tokens": added})
        engine, reason = _chosen(json.dumps(plain, ensure_ascii=False), self._wanted, self._sample)
        ids, _ = engine.encode([f" {name}{name} a{name}b\n{name}" for name in self.special_ids])
        leaked = sorted(set(ids.tolist()) & set(self.special_ids.values()))
        if leaked:
            raise SluiceError(
                f"{self._where} builds the control token {self._names(leaked)} from ordinary characters, so any web "
                "page could forge it; use a vocabulary whose control tokens are added tokens only"
            )
        return engine, reason

    @property
    def engine_name(self) -> str:
        """The engine in use: "fast" or "reference"."""
        return self._engine[0].name

    @property
    def engine_reason(self) -> str:
        """Why it is in use, for the run's record."""
        return self._engine[1]

    def encode(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """(ids int32 [n], offsets int64 [len(texts) + 1]); text i is ids[offsets[i]:offsets[i + 1]].

        Runs on the calling thread alone, and gives each text the same ids whatever is encoded with it.
        """
        return self._engine[0].encode(texts)

    def decode(self, ids: Iterable[int]) -> str:
        """The text of some ids, control tokens written out; broken UTF-8 becomes U+FFFD, an unknown id nothing."""
        table = self._bytes
        return b"".join(table.get(int(token), b"") for token in ids).decode("utf-8", errors="replace")

    def save(self, folder: str | Path, chat_format: ChatFormat = "instruct") -> None:
        """Writes tokenizer.json and what `transformers` wants beside it; the folder is made if need be.

        `chat_format` is that of the chat template, which whoever opens the tokenizer writes conversations with.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        ordered = sorted(self.special_ids, key=self.special_ids.__getitem__)
        marks = {"eos_token": END_OF_TEXT, "pad_token": END_OF_TEXT}
        more = {"additional_special_tokens": [name for name in ordered if name != END_OF_TEXT]}
        config = {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "add_prefix_space": False,
            "clean_up_tokenization_spaces": False,
            "model_max_length": 10**30,
            "added_tokens_decoder": {
                str(token["id"]): {name: value for name, value in token.items() if name != "id"}
                for token in self._definition["added_tokens"]
            },
        }
        (folder / "tokenizer.json").write_text(self.json, encoding="utf-8")
        (folder / TEMPLATE_NAME).write_text(chat_template(chat_format), encoding="utf-8")
        for name, content in (
            ("tokenizer_config.json", config | marks | more),
            ("special_tokens_map.json", marks | more),
        ):
            (folder / name).write_text(json.dumps(content, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")

    @cached_property
    def _bytes(self) -> dict[int, bytes]:
        chars = {char: byte for byte, char in BYTE_CHARS.items()}
        table = {}
        for token, number in self._definition["model"]["vocab"].items():
            try:
                table[number] = bytes(chars[char] for char in token)
            except KeyError:  # not spelled in bytes: a control token that is part of the vocabulary
                table[number] = token.encode()
        return table | {token["id"]: token["content"].encode() for token in self._definition["added_tokens"]}

    def _names(self, ids: list[int]) -> str:
        return ", ".join(name for name, number in self.special_ids.items() if number in ids)


@lru_cache(maxsize=2)
def _chosen(tokenizer_json: str, wanted: str, sample: tuple[str, ...]) -> tuple[Engine, str]:
    # Building and checking takes seconds for a large vocabulary, and a process may unpickle a tokenizer many times.
    return choose(tokenizer_json, wanted, sample)


@lru_cache(maxsize=2)
def _read(data: bytes, where: str, engine: Literal["auto", "reference"], sample: tuple[str, ...]) -> Tokenizer:
    # By content, for a run loads the same tokenizer at several places, and the file may be another next time.
    return Tokenizer(_parse(data, where), where=where, engine=engine, sample=sample)


def _rebuild(text: str, where: str, engine: Literal["auto", "reference"], sample: tuple[str, ...]) -> Tokenizer:
    return Tokenizer(json.loads(text), where=where, engine=engine, sample=sample)


def _parse(data: bytes, where: str) -> dict[str, Any]:
    try:
        found = json.loads(data)
    except ValueError as error:
        raise SluiceError(f"{where} is not JSON ({error}); a tokenizer.json made by `tokenizers` is needed") from error
    if not isinstance(found, dict) or not isinstance(found.get("model"), dict):
        raise SluiceError(f"{where} has no `model`; a tokenizer.json made by `tokenizers` is needed")
    return found


def _from_hub(name: str) -> dict[str, Any]:
    import tokenizers

    try:
        return _parse(tokenizers.Tokenizer.from_pretrained(name).to_str().encode(), name)
    except SluiceError:
        raise
    except Exception as error:
        # huggingface_hub raises its own errors, requests', httpx' or plain ones, by version; all mean the same here.
        raise SluiceError(
            f"there is no file or folder {name!r} here, and as a Hugging Face hub id it cannot be downloaded "
            f"({type(error).__name__}: {str(error)[:200]}); check the spelling and the network, or download its "
            "tokenizer.json and give the path"
        ) from error


def _canonical(definition: dict[str, Any], where: str) -> dict[str, Any]:
    """The definition in the one form that is hashed and saved, with the family's control tokens."""
    model = definition["model"]
    # Old files carry no model type; only BPE has merges.
    if model.get("type", "BPE") != "BPE" or "merges" not in model:
        raise SluiceError(
            f"{where} is a {model.get('type')} tokenizer; sluice needs a byte-level BPE (GPT-2, Llama 3, Qwen)"
        )
    vocab: dict[str, int] = model["vocab"]
    missing = [char for char in BYTE_CHARS.values() if char not in vocab]
    if missing:
        raise SluiceError(
            f"{where} lacks {len(missing)} of the 256 byte tokens, so it is not a byte-level BPE and would lose text; "
            "use one of that kind (GPT-2, Llama 3, Qwen)"
        )
    merges = [merge.split(" ") if isinstance(merge, str) else list(merge) for merge in model["merges"]]
    ordered = dict(sorted(vocab.items(), key=lambda item: item[1]))
    plain = {name: value for name, value in model.items() if name not in ("vocab", "merges")}
    # Dropout would make a text's ids a matter of chance; truncation and padding belong to batches, not to text.
    canonical_model = {"type": "BPE"} | plain | {"dropout": None, "vocab": ordered, "merges": merges}
    settled = definition | {"truncation": None, "padding": None, "model": canonical_model}
    settled["added_tokens"] = _with_family(definition.get("added_tokens") or [], vocab)
    settled = _with_fixed_ids(settled)
    return {name: settled[name] for name in ("version", *sorted(settled.keys() - {"version", "model"}), "model")}


def _with_fixed_ids(definition: dict[str, Any]) -> dict[str, Any]:
    """The definition such that `tokenizers` gives every added token the id it declares.

    On loading, an added token takes its id from the vocabulary, else the next free one after it; the declared id is
    not looked at. Where that would differ, the added tokens are listed in the vocabulary too.
    """
    vocab = definition["model"]["vocab"]
    added = definition["added_tokens"]
    if [token["id"] for token in added] == list(range(len(vocab), len(vocab) + len(added))):
        return definition
    full = vocab | {token["content"]: token["id"] for token in added}
    ordered = dict(sorted(full.items(), key=lambda item: item[1]))
    return definition | {"model": definition["model"] | {"vocab": ordered}}


def _with_family(added: list[dict[str, Any]], vocab: dict[str, int]) -> list[dict[str, Any]]:
    tokens = {token["content"]: dict(token) for token in added}
    top = max([*vocab.values(), *(token["id"] for token in added)])
    for name in FAMILY:
        if name not in tokens:
            top += name not in vocab
            tokens[name] = _added(name, vocab.get(name, top))
        tokens[name]["special"] = True
    return sorted(tokens.values(), key=lambda token: token["id"])


def _added(content: str, number: int) -> dict[str, Any]:
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    return {"id": number, "content": content} | flags
