"""Values of answers that come back in later requests: found in a recording, taken from the live answer at replay."""
