"""Configuration: TOML files and the environment in, validated frozen models out. Knows no part of the running phone."""
