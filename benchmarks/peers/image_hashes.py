"""Perceptual hashes of the peers; runs in an environment of its own.

    python image_hashes.py FOLDER RESULT.json

Hashes of every file of a folder by imagehash.phash and by imagededup's PHash, in hexadecimal, with the CPU seconds.
"""

import json
import sys
import time
from pathlib import Path

import imagehash
from imagededup.methods import PHash
from PIL import Image


def main(folder, result):
    files = sorted(folder.iterdir())
    found = {}
    hasher = PHash(verbose=False)
    ways = {
        "imagehash": lambda path: str(imagehash.phash(Image.open(path))),
        "imagededup": lambda path: hasher.encode_image(image_file=path),
    }
    for name, way in ways.items():
        way(files[0])
        began = time.process_time()
        hashes = {path.name: way(path) for path in files}
        found[name] = {"hashes": hashes, "cpu_s": time.process_time() - began}
    result.write_text(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
