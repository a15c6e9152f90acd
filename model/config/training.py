"""How a model is trained: the groups of settings in a training configuration, as in recipes/train_nano.yaml."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

#: what of a model is trained, as names a person would use
Part = Literal["decoder", "embeddings", "head", "vision", "audio", "projectors"]


@dataclass(frozen=True, kw_only=True)
class OptimizerConfig:
    """Muon for the hidden matrices, AdamW for the rest; the rate warms up linearly, then follows `schedule`.

    `matrix_learning_rate` 0 gives every parameter to AdamW (see model.train.optim for sources).
    """

    learning_rate: float = 2e-3
    matrix_learning_rate: float = 0.04
    #: of Muon's products; auto: bfloat16 where the machine multiplies it faster than float32, weights stay float32
    matrix_precision: Literal["auto", "float32", "bfloat16"] = "auto"
    betas: tuple[float, float] = (0.9, 0.95)
    weight_decay: float = 0.01
    max_grad_norm: float = 1.0
    warmup_steps: int = 20
    #: wsd: a plateau, then linear to the minimum over the last `decay_ratio` of the run (Hu et al. 2024, MiniCPM;
    #: Hägele et al. 2024); cosine and linear: from the end of warm-up to the end of the run; constant: no decay
    schedule: Literal["wsd", "cosine", "linear", "constant"] = "wsd"
    decay_ratio: float = 0.6
    #: the share of the peak that the rate ends at
    min_ratio: float = 0.0


@dataclass(frozen=True, kw_only=True)
class AdapterConfig:
    """Low-rank adapters (Hu et al. 2021, LoRA) in place of training the weights themselves; rank 0: none.

    `quantize: nf4` keeps the frozen weights in 4 bits (Dettmers et al. 2023, QLoRA).
    """

    rank: int = 0
    alpha: float = 16.0
    dropout: float = 0.0
    #: the last part of the adapted modules' names; `experts` adapts every expert of a layer; a tower's modules have its
    #: name in front: visual.qkv, audio_tower.q_proj
    targets: tuple[str, ...] = ("q_proj", "k_proj", "v_proj", "o_proj", "experts")
    quantize: Literal["none", "nf4"] = "none"


@dataclass(frozen=True, kw_only=True)
class ParallelConfig:
    """How ranks share the work; all ranks take part in data parallelism, `expert` of them share a layer's experts."""

    #: ranks that hold different experts of one layer; must divide the number of ranks
    expert: int = 1
    #: parameters, gradients and optimizer state are spread over the data-parallel ranks (FSDP2)
    shard: bool = True


@dataclass(frozen=True, kw_only=True)
class GuardConfig:
    """When a run stops by itself: a loss or gradient that is not a number, or one far above what it was."""

    #: a loss this many standard deviations above its recent mean is a spike; 0: not watched
    spike_deviations: float = 8.0
    #: steps that the mean and the deviation are of
    window_steps: int = 64
    #: spikes in a row after which the run stops; a single bad batch passes
    patience: int = 3


@dataclass(frozen=True, kw_only=True)
class ObjectiveConfig:
    """What is learned: the next token; preferences by DPO; rewards that a program can check, by GRPO."""

    use: Literal["next_token", "dpo", "grpo"] = "next_token"
    #: DPO, GRPO: how strongly the model is held to the one it started from; GRPO can do without, 0
    beta: float = 0.1
    #: DPO, GRPO: rows with more tokens (of prompt and answer, or of the prompt to be answered) are passed over
    max_tokens: int = 2048
    #: GRPO: answers sampled for one prompt, at this temperature and at most this long
    group_size: int = 8
    temperature: float = 1.0
    max_new_tokens: int = 64
    #: GRPO: steps taken on the answers once sampled
    updates: int = 1
    #: GRPO: the importance ratio is clipped to [1 - clip, 1 + clip]; without effect in the first of the updates
    clip: float = 0.2
    #: GRPO: added to the reward of an answer that thinks in one closed block and then says something
    format_reward: float = 0.0


@dataclass(frozen=True, kw_only=True)
class LoaderConfig:
    """How batches are made ahead of training. Nothing here changes what a batch holds, or their order."""

    #: threads that read, decode and collate; 0: done by the training thread itself
    threads: int = 2
    #: steps that are made ahead, at most
    steps_ahead: int = 2
    #: decoded images and clips kept in memory for the next time they come up
    cache_mib: int = 256


@dataclass(frozen=True, kw_only=True)
class CaptionEvalConfig:
    """Scoring of captions against held-out pairs, at the end of a run."""

    #: a WebDataset tar of png/jpg/webp (or wav/flac) + txt, or a folder of them; relative to the working directory
    path: str = ""
    max_images: int = 200
    max_new_tokens: int = 48


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """A training run, as in recipes/train_nano.yaml. `model` names a preset; `init`, a checkpoint to start from."""

    train: int = 1
    name: str
    model: str = "nano"
    #: a run's folder or a checkpoint; the model's shape is its own then, and `model` is not looked at
    init: str = ""
    seed: int = 17
    steps: int
    #: of one batch: packed sequences; DPO: pairs; GRPO: prompts
    batch_sequences: int
    #: batches whose gradients are added up for one step
    accumulate: int = 1
    #: of the forward and backward pass; the optimizer always keeps float32 weights
    precision: Literal["float32", "bfloat16"] = "float32"
    #: `layers`: keep only the inputs of decoder layers, recompute the rest in the backward pass
    activation_checkpointing: Literal["none", "layers"] = "none"
    compile: bool = False
    #: what is trained; the rest is frozen
    train_parts: tuple[Part, ...] = ("decoder", "embeddings", "head", "vision", "audio", "projectors")
    #: train as if the weights had been quantised (QAT), by a torchao scheme
    qat: Literal["none", "int8_dynamic_int4"] = "none"
    #: how often an epoch holds documents with images or audio; those of text alone are held once
    media_repeats: int = 1
    holdout_ratio: float = 0.02
    #: held-out sequences scored at an evaluation, at most
    max_holdout_sequences: int = 32
    log_every_steps: int = 10
    evaluate_every_steps: int = 100
    checkpoint_every_steps: int = 100
    keep_checkpoints: int = 2
    tensorboard: bool = True
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    objective: ObjectiveConfig = field(default_factory=ObjectiveConfig)
    adapter: AdapterConfig = field(default_factory=AdapterConfig)
    parallel: ParallelConfig = field(default_factory=ParallelConfig)
    guard: GuardConfig = field(default_factory=GuardConfig)
    loader: LoaderConfig = field(default_factory=LoaderConfig)
    captions: CaptionEvalConfig = field(default_factory=CaptionEvalConfig)
