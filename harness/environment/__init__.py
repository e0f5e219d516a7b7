"""Where containers run: the service graph stood up, watched and taken down."""
