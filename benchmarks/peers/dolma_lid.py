"""Makes dolma's fastText language taggers read a local model, named by LID_MODEL, for they can only download theirs."""

import os

from dolma.taggers.language import FastTextAllLanguagesDocumentTagger

FastTextAllLanguagesDocumentTagger.MODEL_PATH = os.environ["LID_MODEL"]
