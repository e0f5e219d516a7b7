"""The report bundle: what was found, the evidence for it and who vouches for it."""
