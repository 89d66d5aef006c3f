"""One file per stage: what is learned, from what loss, judged by what."""
