"""Where containers run: one seam (`base.Driver`), Docker the first implementation (`docker.DockerDriver`)."""
