"""The embedded models' own process: it hears PCM and sees RGB, and meets nothing else."""
