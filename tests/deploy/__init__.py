"""The files of deployment, checked with real tools as far as this goes without Docker."""
