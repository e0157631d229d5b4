"""What? Pure rules: templates and the prompts they make."""
