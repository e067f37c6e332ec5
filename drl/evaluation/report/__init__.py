"""The evaluation report: one self-contained HTML file without scripts, the same bytes for the same inputs."""
