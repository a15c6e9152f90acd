"""audfprint's side of bench-dedup_audio, run by the Python of its own environment.

    python -m benchmarks.peers.audfprint_match JOB.json RESULT.json

A job names `originals` and `copies`, lists of WAV files at 11,025 Hz, the rate it works at (it has ffmpeg make them
otherwise). The originals go into its hash table, and every file is looked up in it, with its command's defaults: four
sub-frame shifts of what is looked up. The result has the pairs (file, original) of at least its `threshcount` aligned
hashes, and the CPU seconds of the originals' fingerprints.
"""

import json
import sys
import time

from audfprint2.core.analyzer import Analyzer
from audfprint2.core.hash_table import HashTable
from audfprint2.core.matcher import Matcher
from audfprint2.utils import audio


def main():
    with open(sys.argv[1]) as file:
        job = json.load(file)
    audio.HAVE_FFMPEG = False
    analyzer, matcher, table = Analyzer(), Matcher(), HashTable()
    analyzer.wavfile2hashes(job["originals"][0])
    began = time.process_time()
    for path in job["originals"]:
        table.store(path, analyzer.wavfile2hashes(path))
    fingerprints_s = time.process_time() - began
    analyzer.shifts = 4
    pairs = []
    for path in job["originals"] + job["copies"]:
        looked_up = analyzer.wavfile2hashes(path)
        if not len(looked_up):
            continue
        for row in matcher.match_hashes(table, looked_up):
            original = table.names[int(row[0])]
            if int(row[1]) >= matcher.threshcount and original != path:
                pairs.append([path, original])
    with open(sys.argv[2], "w") as file:
        json.dump({"pairs": pairs, "cpu_s": fingerprints_s}, file)


if __name__ == "__main__":
    main()
