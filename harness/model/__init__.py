"""The nouns of the project: definitions that users write, the plan, the history and the findings. No I/O."""
