"""Configuration: TOML files and the environment in, validated frozen models out. It knows no part of the running phone."""
