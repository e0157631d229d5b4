"""Many prompts: a job over the rows of a source."""
