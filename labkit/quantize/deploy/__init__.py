"""What to deploy on this machine: candidates, measured side by side, and a choice in words."""
