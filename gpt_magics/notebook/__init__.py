"""The screen: magics, their options, displays and the panel. Parse, call, show; nothing else."""
